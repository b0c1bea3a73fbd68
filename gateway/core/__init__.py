"""Behaviour without I/O: routing, merging, chains, balancing, token checks.

Nothing here imports Twisted. Time and randomness arrive as arguments, so live traffic,
``explain`` and tests all run the same code.
"""
