"""key-auth: a request is from whoever owns the API key it carries."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import auth
from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import Pair
from gateway.factories import AuthFactory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

NAME = "key-auth"

_ROUTE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "header": {
            "type": "string",
            "default": "apikey",
            "description": "Request header to read the key from, first.",
        },
        "query": {
            "type": "string",
            "default": "apikey",
            "description": "Query argument to read it from, second.",
        },
        "hide_credentials": auth.HIDE_CREDENTIALS,
        "realm": auth.realm_schema("key"),
        "anonymous_consumer": auth.ANONYMOUS_CONSUMER,
    },
}

_CREDENTIAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"key": {"type": "string", "description": "The API key."}},
    "required": ["key"],
}

MESSAGES: Mapping[str, str] = {
    "key_missing": "Missing API key in request",
    "key_unknown": "Invalid API key in request",
}
"""Reason code → what the client is told (plugin contract §1)."""

_NOBODY: Mapping[str, Identity] = MappingProxyType({})


@frozen
class Config:
    """Settings on a route or service; the schema explains and defaults them."""

    header: bytes
    query: str
    hide_credentials: bool
    challenge: tuple[Pair, ...]
    anonymous_consumer: str | None

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Config:
        """Read settings that fit the schema; ValueError if a resolved reference does not."""
        filled = fill(_ROUTE_SCHEMA, config)
        return cls(
            header=auth.field_name(filled["header"]),
            query=filled["query"],
            hide_credentials=filled["hide_credentials"],
            challenge=auth.challenge("apikey", filled["realm"]),
            anonymous_consumer=filled.get("anonymous_consumer"),
        )


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class KeyAuth:
    """key-auth with one configuration."""

    config: Config

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``. Attaches the key's consumer, or the anonymous one, or answers 401."""
        config = self.config
        auth.redact_argument(exchange, config.query)
        value = exchange.fields.get(config.header)
        in_header = value is not None
        if value is None and (query := exchange.query):
            values = auth.query_values(query, config.query)
            if values:
                # Said twice or without a value, it is nothing that could be a key.
                value = (values[0] or b"") if len(values) == 1 else b""
        # An empty key would let everybody in who sends an empty field; it never counts.
        if value:
            identities: Mapping[str, Identity] = exchange.snapshot.identities.get(NAME, _NOBODY)
            try:
                identity = identities.get(value.decode())
            except UnicodeDecodeError:
                identity = None  # Keys are text.
            if identity is not None:
                if config.hide_credentials:
                    if in_header:
                        exchange.fields.remove(config.header)
                    else:
                        auth.hide_argument(exchange, config.query)
                attach(exchange, identity)
                return None
        reason = "key_missing" if value is None else "key_unknown"
        failure = Reply.json(401, {"message": MESSAGES[reason]}, fields=config.challenge, reason=reason)
        if config.anonymous_consumer is None:
            return failure
        reply = auth.anonymous(exchange, config.anonymous_consumer, failure, config.challenge)
        if reply is None and config.hide_credentials:
            exchange.fields.remove(config.header)
            auth.hide_argument(exchange, config.query)
        return reply


def _make(config: Mapping[str, Any], services: PluginServices) -> KeyAuth:
    return KeyAuth(Config.parse(config))


def _credential(config: Mapping[str, Any]) -> None:
    # The key itself is all there is, and the index holds it.
    if not config["key"] or is_reference(config["key"]):
        raise ValueError("key is empty, or a reference that was not resolved")


plugin = AuthFactory(
    name=NAME,
    priority=2500,
    schema=_ROUTE_SCHEMA,
    make=_make,
    key_field="key",
    credential_schema=_CREDENTIAL_SCHEMA,
    credential_secret_fields=("key",),
    credential=_credential,
)
