"""An ``ssl``: certificates for names, or the certificate that is shown to upstreams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from gateway.model import fields, pem
from gateway.model.fields import Fragment, object_of
from gateway.model.problems import PathPart, Problem
from gateway.model.schema import Schema, fill, is_reference, without_defaults

PROTOCOLS = ("TLSv1.1", "TLSv1.2", "TLSv1.3")
"""The versions of TLS that an ssl can ask for."""
DEFAULT_PROTOCOLS = frozenset({"TLSv1.2", "TLSv1.3"})
"""Those that are spoken where nobody asks."""
RULE = "certificate"
"""The rule of problems whose message is the whole text in every dialect (``Problem.rule``)."""
SNI_PATTERN = r"^\*$|^\*?[0-9a-zA-Z-._]+$"

_REFERENCE: Fragment = {"type": "string", "pattern": r"^\$([sS][eE][cC][rR][eE][tT]|[eE][nN][vV])://"}
_CERT: Fragment = {"anyOf": [{"type": "string", "minLength": 128, "maxLength": 65536}, _REFERENCE]}
_KEY: Fragment = {"anyOf": [{"type": "string", "minLength": 64, "maxLength": 65536}, _REFERENCE]}
_SNI: Fragment = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": SNI_PATTERN}
_CLIENT = object_of(
    {
        "ca": _CERT,
        "depth": {"type": "integer", "minimum": 0, "maximum": 100, "default": 1},
        "skip_mtls_uri_regex": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1, "maxLength": 4096},
        },
    },
    required=("ca",),
)


def _schema(identifier: Fragment, description: Fragment, labels: Fragment) -> Schema:
    condition: dict[str, Any] = {
        "if": {"properties": {"type": {"enum": ["server"]}}},
        "then": {"oneOf": [{"required": ["sni", "key", "cert"]}, {"required": ["snis", "key", "cert"]}]},
        "else": {"required": ["key", "cert"]},
    }
    return object_of(
        {
            "id": identifier,
            "desc": description,
            "labels": labels,
            "type": {"type": "string", "enum": ["server", "client"], "default": "server"},
            "cert": _CERT,
            "key": _KEY,
            "sni": _SNI,
            "snis": {"type": "array", "minItems": 1, "items": _SNI},
            "certs": {"type": "array", "maxItems": 16, "items": _CERT},
            "keys": {"type": "array", "maxItems": 16, "items": _KEY},
            "client": _CLIENT,
            "status": {"type": "integer", "enum": [1, 0], "default": 1},
            "ssl_protocols": {
                "type": "array",
                "maxItems": 3,
                "uniqueItems": True,
                "items": {"type": "string", "enum": list(PROTOCOLS)},
            },
        },
        **condition,
    )


APISIX_SCHEMA = _schema(
    {**fields.identifier, "maxLength": 64},
    {"type": "string", "maxLength": 256},
    {
        "type": "object",
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^\S+$"},
    },
)
"""As the apisix dialect has it (Admin API contract §5.5); its defaults are stored."""
SCHEMA: Schema = without_defaults(_schema(fields.identifier, fields.description, fields.labels))
"""As the enterprise dialect has it (Admin API contract §3.5): nothing is added to what was sent (§6.4)."""


@frozen
class KeyPair:
    """
    A certificate (chain) and its private key: PEM, or references to secrets.

    Attributes:
        where: The members of the document they stand in.
    """

    cert: str = field(repr=False)
    key: str = field(repr=False)
    where: tuple[tuple[PathPart, ...], tuple[PathPart, ...]] = field(eq=False, default=(("cert",), ("key",)))


@frozen
class ClientAuth:
    """
    What clients have to show.

    Attributes:
        ca: The authorities whose certificates are good: PEM, or a reference to a secret.
        depth: How many intermediate authorities may stand between; the authority itself is not counted.
        skip_mtls_uri_regex: Where one of them is found in the request's URI, no certificate is needed.
    """

    ca: str = field(repr=False)
    depth: int = 1
    skip_mtls_uri_regex: tuple[str, ...] = ()


@frozen
class Ssl:
    """
    Attributes:
        type: ``server``: shown to clients; ``client``: shown to upstreams.
        pairs: ``cert`` and ``key`` first, then ``certs`` and ``keys``: one for each kind of key.
        snis: The names it is for, lower-case, no dot at their end; ``*.x.test`` and ``*`` are patterns.
        client: Whether and how clients have to authenticate themselves, or None.
        enabled: ``status`` 1.
        protocols: The versions of TLS to speak.
    Source:
        Admin API contract §3.5, §5.5; data-plane contract §12.
    """

    id: str
    type: str
    pairs: tuple[KeyPair, ...]
    snis: tuple[str, ...] = ()
    client: ClientAuth | None = None
    enabled: bool = True
    protocols: frozenset[str] = DEFAULT_PROTOCOLS

    @classmethod
    def parse(cls, id: str, document: Mapping[str, Any]) -> Ssl:
        """Read a document that fits a schema of this module and passed ``problems``."""
        full = fill(APISIX_SCHEMA, document)
        client = full.get("client")
        return cls(
            id=id,
            type=full["type"],
            pairs=tuple(_pairs(full)),
            snis=tuple(dict.fromkeys(plain_name(name) for name in _snis(full))),
            client=None
            if client is None
            else ClientAuth(client["ca"], int(client["depth"]), tuple(client.get("skip_mtls_uri_regex", ()))),
            enabled=full["status"] == 1,
            protocols=frozenset(full.get("ssl_protocols") or DEFAULT_PROTOCOLS),
        )

    @property
    def texts(self) -> list[str]:
        """The texts that may be references to secrets: certificates, keys and the clients' authority."""
        texts = [text for pair in self.pairs for text in (pair.cert, pair.key)]
        return texts if self.client is None else [*texts, self.client.ca]


def plain_name(name: str) -> str:
    """A host name as names are compared: lower-case, without a dot at its end."""
    return name.lower().removesuffix(".")


def _snis(document: Mapping[str, Any]) -> Sequence[str]:
    if "snis" in document:
        snis: Sequence[str] = document["snis"]
        return snis
    return (document["sni"],) if "sni" in document else ()


def _pairs(document: Mapping[str, Any]) -> Iterator[KeyPair]:
    yield KeyPair(document["cert"], document["key"])
    more = zip(document.get("certs", ()), document.get("keys", ()), strict=False)
    for index, (cert, key) in enumerate(more):
        yield KeyPair(cert, key, (("certs", index), ("keys", index)))


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """
    What a schema cannot say about an ssl that fits it: whether its PEM texts can be used.

    References to secrets are passed over: nobody knows yet what they lead to.

    Source:
        Admin API contract §5.5 has the words.
    """
    found: list[Problem] = []
    for index, pair in enumerate(_pairs(document)):
        prefix = f"failed to handle cert-key pair[{index}]: " if index else ""
        found += pair_problems(pair, prefix)
    certs, keys = (document.get(name, ()) for name in ("certs", "keys"))
    if len(certs) != len(keys):
        text = "mismatched number of certs and keys"
        found.append(Problem(("keys" if "keys" in document else "certs",), RULE, text))
    client = document.get("client")
    if isinstance(client, Mapping):
        found += _client_problems(client)
    return found


def pair_problems(pair: KeyPair, prefix: str = "") -> Iterator[Problem]:
    """What is wrong with a certificate and its key; *prefix* says which pair it is."""
    certificate = key = None
    if not is_reference(pair.cert):
        try:
            certificate = pem.certificates(pair.cert)[0]
        except pem.PemError as error:
            yield Problem(pair.where[0], RULE, f"{prefix}failed to parse cert: {error}")
    if not is_reference(pair.key):
        try:
            key = pem.private_key(pair.key)
        except pem.PemError as error:
            yield Problem(pair.where[1], RULE, f"{prefix}failed to parse key: {error}")
    if certificate is not None and key is not None and not pem.belong_together(certificate, key):
        yield Problem(pair.where[1], RULE, f"{prefix}failed to parse key: cert and key do not match")


def _client_problems(client: Mapping[str, Any]) -> Iterable[Problem]:
    if not is_reference(client["ca"]):
        try:
            pem.certificates(client["ca"])
        except pem.PemError as error:
            text = f"failed to validate client_cert: failed to parse cert: {error}"
            yield Problem(("client", "ca"), RULE, text)
    for index, pattern in enumerate(client.get("skip_mtls_uri_regex", ())):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            where = ("client", "skip_mtls_uri_regex", index)
            yield Problem(where, "pattern", f"not a regular expression: {error}")
