"""Schema fragments that several resources of the apisix dialect share, under their field names.

Source: Admin API contract §5.
"""

from __future__ import annotations

from typing import Any

from gateway.model.fields import ID_PATTERN, METHODS, USERNAME_PATTERN
from gateway.model.fields import Fragment as Fragment
from gateway.model.fields import object_of as object_of
from gateway.model.schema import Schema

HOST_PATTERN = r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$"

identifier: Fragment = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 64, "pattern": ID_PATTERN},
        {"type": "integer", "minimum": 1},
    ]
}
name: Fragment = {"type": "string", "minLength": 1, "maxLength": 256}
description: Fragment = {"type": "string", "maxLength": 256}
labels: Fragment = {
    "type": "object",
    "patternProperties": {".*": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^\S+$"}},
}
username: Fragment = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": USERNAME_PATTERN}
plugins: Fragment = {"type": "object"}
host: Fragment = {"type": "string", "pattern": HOST_PATTERN}
hosts: Fragment = {"type": "array", "minItems": 1, "uniqueItems": True, "items": host}
port: Fragment = {"type": "integer", "minimum": 1, "maximum": 65535}
methods: Fragment = {"type": "string", "enum": list(METHODS)}
time: Fragment = {"type": "integer"}

_OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_IPV6 = r"[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){1,7}(:|([0-9a-fA-F:]*:)?" + _IPV4 + ")?"
address: Fragment = {
    "anyOf": [
        {"title": "IPv4", "type": "string", "pattern": f"^{_IPV4}$"},
        {"title": "IPv4/CIDR", "type": "string", "pattern": f"^{_IPV4}/([12]?[0-9]|3[0-2])$"},
        {"title": "IPv6", "type": "string", "pattern": f"^{_IPV6}$"},
        {
            "title": "IPv6/CIDR",
            "type": "string",
            "pattern": f"^{_IPV6}/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])$",
        },
    ]
}
"""An IP address or a CIDR block. Not all that has this form of IPv6 is one: see ``is_address``."""

certificate: Fragment = {"type": "string", "minLength": 128, "maxLength": 65536}
private_key: Fragment = {"type": "string", "minLength": 64, "maxLength": 65536}

_seconds: Fragment = {"type": "number", "exclusiveMinimum": 0}
timeout: Schema = object_of(
    {"connect": _seconds, "send": _seconds, "read": _seconds}, required=("connect", "send", "read")
)

TIMES = ("create_time", "update_time")
"""Set by the gateway. A patch alone may set them."""


def resource(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    """The schema of a stored document: *properties*, its id and its times."""
    return object_of(
        {"id": identifier, **properties, "create_time": time, "update_time": time}, required, **more
    )
