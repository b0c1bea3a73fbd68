"""Secret managers in the apisix dialect, by name (Admin API contract §5.6)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model.apisix import fields
from gateway.model.apisix.fields import Fragment
from gateway.model.schema import Schema

_TEXT: Fragment = {"type": "string"}
_URL: Fragment = {"type": "string", "pattern": r"^[^\/]+:\/\/([\da-zA-Z.-]+|\[[\da-fA-F:]+\])(:\d+)?"}
_ID: Fragment = {"type": "string"}


def _manager(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: object) -> Schema:
    return fields.object_of(
        {"id": _ID, **properties, "create_time": fields.time, "update_time": fields.time}, required, **more
    )


MANAGERS: Mapping[str, Schema] = {
    "vault": _manager(
        {"uri": _URL, "prefix": _TEXT, "token": _TEXT, "namespace": _TEXT},
        ("uri", "prefix", "token"),
    ),
    "aws": _manager(
        {
            "access_key_id": _TEXT,
            "secret_access_key": _TEXT,
            "session_token": _TEXT,
            "region": {**_TEXT, "default": "us-east-1"},
            "endpoint_url": _URL,
        },
        ("access_key_id", "secret_access_key"),
    ),
    "gcp": _manager(
        {
            "auth_config": fields.object_of(
                {
                    "client_email": _TEXT,
                    "private_key": _TEXT,
                    "project_id": _TEXT,
                    "token_uri": _TEXT,
                    "scope": {"type": "array", "items": _TEXT},
                    "entries_uri": _TEXT,
                },
                required=("client_email", "private_key", "project_id"),
            ),
            "auth_file": _TEXT,
            "ssl_verify": {"type": "boolean", "default": True},
        },
        oneOf=[{"required": ["auth_config"]}, {"required": ["auth_file"]}],
    ),
}
"""Manager → its schema; the id of a stored one is ``<manager>/<id>``."""
