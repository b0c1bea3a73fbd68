"""A secret provider: a manager outside the gateway whose secrets ``$secret://…`` refers to."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import fields
from gateway.model.fields import Fragment, object_of
from gateway.model.schema import Schema

_TEXT: Fragment = {"type": "string", "minLength": 1}
_ANSWERED = {"id": {"type": "string"}}

MANAGERS: Mapping[str, Schema] = {
    "vault": object_of(
        {**_ANSWERED, "uri": _TEXT, "prefix": _TEXT, "token": _TEXT, "namespace": {"type": "string"}},
        required=("uri", "prefix", "token"),
    ),
    "aws": object_of(
        {
            **_ANSWERED,
            "access_key_id": _TEXT,
            "secret_access_key": _TEXT,
            "session_token": {"type": "string"},
            # Not stored where it is not sent; whoever asks AWS reads it from here.
            "region": {"type": "string"},
            "endpoint_url": {"type": "string"},
        },
        required=("access_key_id", "secret_access_key"),
    ),
    "gcp": object_of(
        {
            **_ANSWERED,
            "auth_config": object_of(
                {
                    "client_email": _TEXT,
                    "private_key": _TEXT,
                    "project_id": _TEXT,
                    "token_uri": _TEXT,
                    "scope": {"type": "array", "items": {"type": "string"}},
                    "entries_uri": _TEXT,
                },
                required=("client_email", "private_key", "project_id"),
            ),
            "auth_file": _TEXT,
            "ssl_verify": {"type": "boolean"},
        },
        oneOf=[{"required": ["auth_config"]}, {"required": ["auth_file"]}],
    ),
    "kubernetes": {"type": "object"},
}
"""
Manager → what its settings look like (Admin API contract §3.1, §5.6). What a Kubernetes provider
holds is not public, so any object is taken.
"""

SCHEMA: Schema = {"type": "object"}
"""What all managers have in common."""

SECRETS = frozenset({"token", "secret_access_key", "session_token", "private_key"})
"""Members that hold a secret themselves."""

ID: Schema = fields.identifier
"""The part of an id after ``<manager>/``."""
