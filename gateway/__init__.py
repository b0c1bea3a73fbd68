"""An API gateway on Twisted: Admin API, routing, plugins and proxying in one process.

The folders are the layers; ``docs/architecture.md`` says who may import whom, and
``tests/test_layers.py`` holds it.
"""

__version__ = "0.1.0"
