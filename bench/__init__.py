"""Measuring the gateway beside its peers: ratios of CPU time per request, not promises.

``python -m bench --help`` says how; ``docs/performance.md`` has what came out.
"""
