"""The HTTP/1.1 wire: a codec without I/O, and thin Protocols around it."""
