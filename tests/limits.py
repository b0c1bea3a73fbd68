"""How long tests wait for what must come. What they conclude, they conclude from what came."""

from __future__ import annotations

LIMIT_S = 240.0
"""Far more than anything here takes: a slow and busy machine must not fail a test."""
