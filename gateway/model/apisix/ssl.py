"""An ssl in the apisix dialect (Admin API contract §5.5)."""

from __future__ import annotations

from gateway.model.apisix import fields

_SNI = {"type": "string", "minLength": 1, "pattern": r"^\*$|^\*?[0-9a-zA-Z-._]+$"}

SCHEMA = fields.resource(
    {
        "desc": fields.description,
        "labels": fields.labels,
        "type": {"type": "string", "enum": ["server", "client"], "default": "server"},
        "cert": fields.certificate,
        "key": fields.private_key,
        "sni": _SNI,
        "snis": {"type": "array", "minItems": 1, "items": _SNI},
        "certs": {"type": "array", "items": fields.certificate},
        "keys": {"type": "array", "items": fields.private_key},
        "client": fields.object_of(
            {
                "ca": fields.certificate,
                "depth": {"type": "integer", "minimum": 0, "default": 1},
                "skip_mtls_uri_regex": {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": {"type": "string"},
                },
            },
            required=("ca",),
        ),
        "status": {"type": "integer", "enum": [1, 0], "default": 1},
        "ssl_protocols": {
            "type": "array",
            "maxItems": 3,
            "uniqueItems": True,
            "items": {"type": "string", "enum": ["TLSv1.1", "TLSv1.2", "TLSv1.3"]},
        },
        "validity_start": fields.time,
        "validity_end": fields.time,
    },
    (),
    **{
        "if": {"properties": {"type": {"enum": ["server"]}}},
        "then": {"oneOf": [{"required": ["sni", "key", "cert"]}, {"required": ["snis", "key", "cert"]}]},
        "else": {"required": ["key", "cert"]},
    },
)
