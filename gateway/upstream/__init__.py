"""Dialling upstreams: an ``IAgent`` with keep-alive pools, and the treq client for proxied traffic."""
