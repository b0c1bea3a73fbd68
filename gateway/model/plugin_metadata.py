"""Plugin metadata: settings of a plugin that hold for all its configurations in a gateway group."""

from __future__ import annotations

from gateway.model.schema import Schema

SCHEMA: Schema = {"type": "object"}
"""Any object: what may be in it is for the plugin's own metadata schema to say (contract §3.5)."""
