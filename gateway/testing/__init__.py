"""For plugin authors and for our own tests: a gateway in memory, exchanges, tokens."""
