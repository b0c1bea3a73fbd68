"""The Admin API: one resource service, and dialects that render it."""
