"""Schema fragments for the field types that several resources share, under their field names.

Limits are those of the enterprise dialect (Admin API contract §2.8, §3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model.schema import Schema

Fragment = dict[str, Any]

ID_PATTERN = r"^[a-zA-Z0-9-_.]+$"
HOST_PATTERN = r"^\*?[0-9a-zA-Z-._]+$"
USERNAME_PATTERN = r"^[a-zA-Z0-9_\-]+$"

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE")

identifier: Fragment = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": ID_PATTERN}
name: Fragment = {"type": "string", "minLength": 1, "maxLength": 65536}
description: Fragment = {"type": "string", "maxLength": 65536}
labels: Fragment = {
    "type": "object",
    "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 65536, "pattern": r"^.+$"},
}
username: Fragment = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": USERNAME_PATTERN}
plugins: Fragment = {"type": "object", "additionalProperties": {"type": "object"}}
host: Fragment = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": HOST_PATTERN}
hosts: Fragment = {"type": "array", "minItems": 1, "maxItems": 32, "uniqueItems": True, "items": host}
path: Fragment = {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": r"^/"}


def seconds(default: float) -> Fragment:
    """A positive number of seconds."""
    return {"type": "number", "exclusiveMinimum": 0, "default": default}


timeout: Fragment = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"connect": seconds(60), "send": seconds(60), "read": seconds(60)},
}


def object_of(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object schema that knows exactly *properties*."""
    schema: Fragment = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    if required:
        schema["required"] = list(required)
    return schema


def reference(document: Mapping[str, Any], member: str) -> str | None:
    """The id that a member names, as text: the APISIX dialect has whole numbers for ids too."""
    value = document.get(member)
    return None if value is None else str(value)
