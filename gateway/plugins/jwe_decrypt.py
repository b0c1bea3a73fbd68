"""jwe-decrypt: decrypts a token that a client brings, so that the upstream gets what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import jwe
from gateway.core.consumers import Identity
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import configured_name, configured_value
from gateway.core.jose import decode_segment
from gateway.factories import AuthFactory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

NAME = "jwe-decrypt"

_ROUTE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "header": {
            "type": "string",
            "default": "Authorization",
            "description": "The header that the token stands in, perhaps behind Bearer.",
        },
        "forward_header": {
            "type": "string",
            "default": "Authorization",
            "description": "The header that its content is put into for the upstream.",
        },
        "strict": {
            "type": "boolean",
            "default": True,
            "description": "Whether a request without a token is refused.",
        },
    },
}

_CREDENTIAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "key": {"type": "string", "description": "What a token's kid must be."},
        "secret": {"type": "string", "description": "The secret tokens are encrypted with: 32 bytes."},
        "is_base64_encoded": {
            "type": "boolean",
            "default": False,
            "description": "The secret is base64url text and is decoded before use.",
        },
    },
    "required": ["key", "secret"],
}

MESSAGES: Mapping[str, tuple[int, str]] = {
    "jwe_missing": (403, "missing JWE token in request"),
    "jwe_malformed": (400, "JWE token invalid"),
    "jwe_key_missing": (400, "missing kid in JWE token"),
    "jwe_key_unknown": (400, "invalid kid in JWE token"),
    "jwe_undecipherable": (400, "failed to decrypt JWE token"),
}
"""Reason code → status and what the client is told (plugin contract §1)."""
_REFUSALS = {
    reason: Reply.json(status, {"message": message}, reason=reason)
    for reason, (status, message) in MESSAGES.items()
}


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class JweDecrypt:
    """jwe-decrypt with one configuration."""

    header: bytes
    forward_header: bytes
    strict: bool

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``. Nobody becomes the request's consumer by it."""
        value = exchange.fields.get(self.header)
        if value is None:
            # What only a token can say, nobody says without one.
            exchange.fields.remove(self.forward_header)
            return _REFUSALS["jwe_missing"] if self.strict else None
        if value[:7].lower() == b"bearer ":
            value = value[7:].lstrip(b" ")
        token = jwe.parse(value)
        if token is None:
            return _REFUSALS["jwe_malformed"]
        key = token.header.get("kid")
        if not key:
            return _REFUSALS["jwe_key_missing"]
        identities: Mapping[str, Identity] = exchange.snapshot.identities.get(NAME, {})
        identity = identities.get(key) if isinstance(key, str) else None
        if identity is None:
            return _REFUSALS["jwe_key_unknown"]
        content = jwe.decrypt(token, identity.credential)
        if content is None:
            return _REFUSALS["jwe_undecipherable"]
        exchange.fields.set(self.forward_header, configured_value(content.decode("utf-8", "surrogateescape")))
        return None


def _secret(config: Mapping[str, Any]) -> bytes:
    text: str = config["secret"]
    secret = text.encode("utf-8", "surrogatepass")
    if config.get("is_base64_encoded", False):
        # Padding is tolerated: people copy what their tools print.
        decoded = decode_segment(secret.rstrip(b"="))
        if decoded is None:
            raise ValueError("the secret is not base64url, which is_base64_encoded says it is")
        secret = decoded
    if len(secret) != jwe.KEY_BYTES:
        raise ValueError("the secret length should be 32 chars")
    return secret


def _check(config: Mapping[str, Any]) -> None:
    for member in ("header", "forward_header"):
        name = config.get(member)
        if name is not None and not is_reference(name):
            configured_name(name)


def _check_credential(config: Mapping[str, Any]) -> None:
    if not is_reference(config["secret"]):
        _secret(config)


def _credential(config: Mapping[str, Any]) -> bytes:
    if is_reference(config["key"]) or is_reference(config["secret"]):
        raise ValueError("key or secret is a reference that was not resolved")
    return _secret(config)


def _make(config: Mapping[str, Any], services: PluginServices) -> JweDecrypt:
    filled = fill(_ROUTE_SCHEMA, config)
    return JweDecrypt(
        configured_name(filled["header"]), configured_name(filled["forward_header"]), filled["strict"]
    )


plugin = AuthFactory(
    name=NAME,
    priority=2509,
    schema=_ROUTE_SCHEMA,
    check=_check,
    make=_make,
    key_field="key",
    credential_schema=_CREDENTIAL_SCHEMA,
    credential_secret_fields=("key", "secret"),
    check_credential=_check_credential,
    credential=_credential,
)
