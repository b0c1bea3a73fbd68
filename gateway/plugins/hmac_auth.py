"""hmac-auth: a request is from whoever owns the secret it is signed with."""

from __future__ import annotations

import hmac
from collections.abc import Coroutine, Mapping
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core import auth, http_signature
from gateway.core.consumers import Identity, attach
from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.core.http_signature import Signature
from gateway.core.reasons import BODY_TOO_LARGE
from gateway.core.variables import getter
from gateway.factories import AuthFactory
from gateway.interfaces import Clock, IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

NAME = "hmac-auth"

_ROUTE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "work with route or service object",
    "properties": {
        "allowed_algorithms": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": list(http_signature.ALGORITHMS)},
            "default": list(http_signature.ALGORITHMS),
            "description": "Algorithms that a signature may have.",
        },
        "clock_skew": {
            "type": "integer",
            "minimum": 1,
            "default": 300,
            "description": "Seconds that the Date field may differ from the gateway's clock.",
        },
        "signed_headers": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 50},
            "default": ["date"],
            "description": "Fields that a signature has to cover.",
        },
        "validate_request_body": {
            "type": "boolean",
            "default": False,
            "description": "Check the content against the Digest field.",
        },
        "max_req_body_size": {
            "type": "integer",
            "minimum": 1,
            "default": 67108864,
            "description": "Bytes of content that are held for that; more is answered 413.",
        },
        "hide_credentials": auth.HIDE_CREDENTIALS,
        "realm": auth.realm_schema("hmac"),
        "anonymous_consumer": auth.ANONYMOUS_CONSUMER,
    },
}

_CREDENTIAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "work with consumer object",
    "properties": {
        "key_id": {"type": "string", "minLength": 1, "maxLength": 256, "description": "Names the secret."},
        "secret_key": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "description": "What requests are signed with.",
        },
    },
    "required": ["key_id", "secret_key"],
}

_INVALID = "client request can't be validated"
MESSAGES: Mapping[str, str] = {
    "hmac_missing": f"{_INVALID}: missing Authorization header",
    "hmac_scheme_unknown": f"{_INVALID}: Authorization header does not start with 'Signature'",
    "hmac_incomplete": _INVALID,
    "hmac_key_unknown": _INVALID,
    "hmac_algorithm_not_allowed": _INVALID,
    "hmac_date_invalid": _INVALID,
    "hmac_clock_skew": _INVALID,
    "hmac_header_unsigned": _INVALID,
    "hmac_signature_invalid": _INVALID,
    "hmac_digest_invalid": _INVALID,
}
"""Reason code → what the client is told (plugin contract §1)."""

_request_uri = getter("request_uri")


@frozen
class Config:
    """Settings on a route or service; the schema explains and defaults them."""

    allowed_algorithms: frozenset[str]
    clock_skew: int
    signed_headers: tuple[str, ...]
    validate_request_body: bool
    max_req_body_size: int
    hide_credentials: bool
    refuse: auth.Refusals

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Config:
        """Read settings that fit the schema; ValueError if a resolved reference does not."""
        filled = fill(_ROUTE_SCHEMA, config)
        allowed = frozenset(filled["allowed_algorithms"])
        if not allowed <= set(http_signature.ALGORITHMS):
            raise ValueError("allowed_algorithms names one that hmac-auth does not know")
        return cls(
            allowed_algorithms=allowed,
            clock_skew=filled["clock_skew"],
            signed_headers=tuple(name.lower() for name in filled["signed_headers"]),
            validate_request_body=filled["validate_request_body"],
            max_req_body_size=int(filled["max_req_body_size"]),
            hide_credentials=filled["hide_credentials"],
            refuse=auth.Refusals(
                auth.challenge("hmac", filled["realm"]), MESSAGES, filled.get("anonymous_consumer")
            ),
        )


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class HmacAuth:
    """hmac-auth with one configuration."""

    config: Config
    clock: Clock = field(repr=False)

    def rewrite(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IRewritePhase``. Waits only where content has to be checked."""
        found = self._authenticate(exchange)
        if isinstance(found, tuple):
            return self._refuse(exchange, *found)
        if self.config.validate_request_body:
            return self._check_content(exchange, found)
        return self._accept(exchange, found)

    def _authenticate(self, exchange: Exchange) -> Identity | tuple[str, str]:
        """The identity, or reason code and words for the log; in the order of plugin contract §1."""
        config = self.config
        value = exchange.fields.get(b"authorization")
        if value is None:
            return "hmac_missing", ""
        signature = http_signature.parse(value)
        if signature is None:
            return "hmac_scheme_unknown", ""
        if not signature.key_id or not signature.signature:
            return "hmac_incomplete", "keyId or signature missing"
        if not signature.algorithm:
            return "hmac_incomplete", "algorithm missing"
        identities: Mapping[str, Identity] = exchange.snapshot.identities.get(NAME, {})
        identity = identities.get(_text(signature.key_id))
        if identity is None:
            return "hmac_key_unknown", f"failed to find consumer: key id {signature.key_id[:100]!r}"
        if signature.algorithm not in config.allowed_algorithms:
            return "hmac_algorithm_not_allowed", "Invalid algorithm"
        return (
            self._check_date(exchange)
            or self._check_list(signature)
            or self._check_signature(exchange, signature, identity.credential)
            or identity
        )

    def _check_date(self, exchange: Exchange) -> tuple[str, str] | None:
        date = exchange.fields.get(b"date")
        if date is None:
            return "hmac_date_invalid", "Date header missing. failed to validate clock skew"
        at = http_signature.parse_date(date)
        if at is None:
            return "hmac_date_invalid", "Invalid GMT format time"
        if abs(int(self.clock.time()) - at) > self.config.clock_skew:
            return "hmac_clock_skew", "Clock skew exceeded"
        return None

    def _check_list(self, signature: Signature) -> tuple[str, str] | None:
        if len(signature.headers) > http_signature.MAX_SIGNED:
            return "hmac_incomplete", "too many headers are signed"
        signed = {name.lower() for name in signature.headers}
        for name in self.config.signed_headers:
            if name not in signed:
                return "hmac_header_unsigned", f'expected header "{name}" missing in signing'
        return None

    def _check_signature(
        self, exchange: Exchange, signature: Signature, secret: bytes
    ) -> tuple[str, str] | None:
        request = exchange.request
        # Clients sign the target as they send it, or as it is after normalisation. Both name this request.
        targets = [request.target]
        normal = str(_request_uri(exchange)).encode("utf-8", "surrogateescape")
        if normal != request.target and http_signature.TARGET in signature.headers:
            targets.append(normal)
        for target in targets:
            text = http_signature.signed_text(signature, request.method, target, exchange.fields)
            if http_signature.matches(signature, secret, text):
                return None
        return "hmac_signature_invalid", "Invalid signature"

    async def _check_content(self, exchange: Exchange, identity: Identity) -> Reply | None:
        limit = self.config.max_req_body_size
        digest = exchange.fields.get(b"digest")
        if digest is None:
            return self._refuse(exchange, "hmac_digest_invalid", "Digest header missing")
        try:
            content = await exchange.read_content(limit)
        except ContentTooLarge as error:
            size = error.length if error.length is not None else max(exchange.bytes_received, limit + 1)
            text = f"request size {size} is greater than the maximum size {limit} allowed"
            return Reply.json(413, {"message": text}, reason=BODY_TOO_LARGE)
        if not hmac.compare_digest(digest, http_signature.digest_of(content)):
            return self._refuse(exchange, "hmac_digest_invalid", "Invalid digest")
        return self._accept(exchange, identity)

    def _accept(self, exchange: Exchange, identity: Identity) -> Reply | None:
        if self.config.hide_credentials:
            exchange.fields.remove(b"authorization")
        attach(exchange, identity)
        return None

    def _refuse(self, exchange: Exchange, reason: str, detail: str) -> Reply | None:
        reply = self.config.refuse(exchange, reason, detail)
        if reply is None and self.config.hide_credentials:
            exchange.fields.remove(b"authorization")
        return reply


def _text(key_id: str) -> str:
    """A key id as credentials spell it; the field was read byte by byte."""
    return key_id.encode("latin-1").decode("utf-8", "surrogateescape")


def _make(config: Mapping[str, Any], services: PluginServices) -> HmacAuth:
    return HmacAuth(Config.parse(config), services.clock)


def _credential(config: Mapping[str, Any]) -> bytes:
    if is_reference(config["key_id"]) or is_reference(config["secret_key"]):
        raise ValueError("key_id or secret_key is a reference that was not resolved")
    if not config["secret_key"]:
        raise ValueError("secret_key is empty")
    return str(config["secret_key"]).encode("utf-8", "surrogatepass")


plugin = AuthFactory(
    name=NAME,
    priority=2530,
    schema=_ROUTE_SCHEMA,
    make=_make,
    key_field="key_id",
    credential_schema=_CREDENTIAL_SCHEMA,
    credential_secret_fields=("secret_key",),
    credential=_credential,
)
