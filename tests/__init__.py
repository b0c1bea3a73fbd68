"""Tests of the gateway."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long it takes to think of examples says something about the machine, nothing about the gateway.
settings.register_profile("gateway", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")
