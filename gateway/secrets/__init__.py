"""Secret managers: what ``$secret://`` references in the configuration stand for."""
