"""Certificates, CA certificates and the names they are served for: the newer split of an SSL object.

What the documents hold is not public beyond the names of list filters (Admin API contract §2.5,
§3.1); the members here are those of an SSL object, one object a concern.
"""

from __future__ import annotations

from gateway.model import fields
from gateway.model.fields import Fragment, object_of

_PEM: Fragment = {"type": "string", "minLength": 1, "maxLength": 65536}
_SHARED = {
    "id": fields.identifier,
    "name": fields.name,
    "desc": fields.description,
    "labels": fields.labels,
}

CERTIFICATE = object_of({**_SHARED, "cert": _PEM, "key": _PEM}, required=("cert", "key"))
CA_CERTIFICATE = object_of({**_SHARED, "cert": _PEM}, required=("cert",))
SNI = object_of(
    {
        **_SHARED,
        "domain": fields.host,
        "certificate_id": fields.identifier,
        "mtls_enabled": {"type": "boolean"},
        "ca_certificates": {"type": "array", "items": fields.identifier, "uniqueItems": True},
    },
    required=("domain", "certificate_id"),
)
