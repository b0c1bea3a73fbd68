"""Values: the resources a gateway is configured with, and the JSON Schemas that declare them.

Nothing here does I/O or imports Twisted. One module a resource; ``schema`` turns a
JSON Schema into a checker, ``problems`` is what a checker finds.
"""
