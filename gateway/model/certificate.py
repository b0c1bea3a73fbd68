"""Certificates, CA certificates and the names they are served for: the newer split of an SSL object.

What the documents hold is not public beyond the names of list filters (Admin API contract §2.5,
§3.1); the members here are those of an SSL object, one object a concern.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model import fields, pem
from gateway.model.fields import Fragment, object_of
from gateway.model.problems import Problem
from gateway.model.ssl import RULE

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


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """What a schema cannot say about a certificate that fits it: whether it can be used."""
    found: list[Problem] = []
    certificate = key = None
    try:
        certificate = pem.certificates(document["cert"])[0]
    except pem.PemError as error:
        found.append(Problem(("cert",), RULE, f"failed to parse cert: {error}"))
    if "key" in document:
        try:
            key = pem.private_key(document["key"])
        except pem.PemError as error:
            found.append(Problem(("key",), RULE, f"failed to parse key: {error}"))
    if certificate is not None and key is not None and not pem.belong_together(certificate, key):
        found.append(Problem(("key",), RULE, "failed to parse key: cert and key do not match"))
    return found


def expires_at(document: Mapping[str, Any]) -> int | None:
    """Unix seconds at which a certificate ends; None if it cannot be read."""
    try:
        return int(pem.certificates(document["cert"])[0].not_valid_after_utc.timestamp())
    except pem.PemError:
        return None
