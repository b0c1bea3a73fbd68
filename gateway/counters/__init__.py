"""Counters for limits: in memory that all workers share, or in Redis."""
