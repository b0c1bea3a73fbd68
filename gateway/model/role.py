"""Roles that people make, and the permission policies that say what they may do (Admin API contract §3.6)."""

from __future__ import annotations

from gateway.model import fields
from gateway.model.fields import Fragment, object_of

MAX_STATEMENTS = 100
MAX_PATTERNS = 100
MAX_POLICIES = 100

_NAME: Fragment = {"type": "string", "minLength": 1, "maxLength": 256}
_PATTERN: Fragment = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^([^<>]|<\.\*>)+$"}
_PATTERNS: Fragment = {"type": "array", "minItems": 1, "maxItems": MAX_PATTERNS, "items": _PATTERN}
policies: Fragment = {
    "type": "array",
    "maxItems": MAX_POLICIES,
    "uniqueItems": True,
    "items": fields.identifier,
}

POLICY = object_of(
    {
        "id": fields.identifier,
        "name": _NAME,
        "description": fields.description,
        "desc": fields.description,
        "labels": fields.labels,
        "statement": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_STATEMENTS,
            "items": object_of(
                {
                    "effect": {"type": "string", "enum": ["allow", "deny"], "default": "allow"},
                    "actions": _PATTERNS,
                    "resources": _PATTERNS,
                },
                required=("actions", "resources"),
            ),
        },
    },
    required=("name", "statement"),
)
"""A permission policy. ``*`` and ``<.*>`` in actions and resources stand for any text."""

ROLE = object_of(
    {
        "id": fields.identifier,
        "name": _NAME,
        "description": fields.description,
        "desc": fields.description,
        "labels": fields.labels,
        "permission_policies": policies,
    },
    required=("name",),
)

ATTACHED = object_of({"permission_policies": policies}, required=("permission_policies",))
"""What ``PUT /api/roles/{id}/permission_policies`` takes."""
