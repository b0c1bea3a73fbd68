"""basic-auth: a request is from whoever owns the user name and the password it carries (RFC 7617)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core import auth
from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Exchange, Reply
from gateway.factories import AuthFactory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

NAME = "basic-auth"

_ROUTE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "work with route or service object",
    "properties": {
        "hide_credentials": auth.HIDE_CREDENTIALS,
        "realm": auth.realm_schema("basic"),
        "anonymous_consumer": auth.ANONYMOUS_CONSUMER,
    },
}

_CREDENTIAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "work with consumer object",
    "properties": {
        "username": {"type": "string", "description": "The user name; without a colon."},
        "password": {"type": "string", "description": "The password."},
    },
    "required": ["username", "password"],
}

_WRONG = "Invalid user authorization"
MESSAGES: Mapping[str, str] = {
    "basic_missing": "Missing authorization in request",
    "basic_malformed": "Invalid authorization in request",
    "basic_user_unknown": _WRONG,
    "basic_password_wrong": _WRONG,
}
"""Reason code → what the client is told (plugin contract §1)."""


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class BasicAuth:
    """
    basic-auth with one configuration.

    Attributes:
        refuse: What happens to a request that fails.
    """

    hide_credentials: bool
    refuse: auth.Refusals

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``. Attaches the user's consumer, or the anonymous one, or answers 401."""
        found = self._authenticate(exchange)
        if isinstance(found, str):
            reply = self.refuse(exchange, found)
            if reply is None and self.hide_credentials:
                exchange.fields.remove(b"authorization")
            return reply
        if self.hide_credentials:
            exchange.fields.remove(b"authorization")
        attach(exchange, found)
        return None

    def _authenticate(self, exchange: Exchange) -> Identity | str:
        """The identity, or the reason code of the failure."""
        value = exchange.fields.get(b"authorization")
        if value is None:
            return "basic_missing"
        read = auth.parse_basic(value)
        if read is None:
            return "basic_malformed"
        user, password = read
        identities: Mapping[str, Identity] = exchange.snapshot.identities.get(NAME, {})
        identity = identities.get(user)
        # Compared all the same, so that the time of an answer does not tell whether a user exists.
        wanted: bytes = password + b"?" if identity is None else identity.credential
        right = hmac.compare_digest(password, wanted)
        if identity is None:
            return "basic_user_unknown"
        return identity if right else "basic_password_wrong"


def _make(config: Mapping[str, Any], services: PluginServices) -> BasicAuth:
    filled = fill(_ROUTE_SCHEMA, config)
    challenge = auth.challenge("Basic", filled["realm"])
    return BasicAuth(
        filled["hide_credentials"], auth.Refusals(challenge, MESSAGES, filled.get("anonymous_consumer"))
    )


def _check_credential(config: Mapping[str, Any]) -> None:
    if ":" in config["username"] and not is_reference(config["username"]):
        raise ValueError("username must not contain a colon, which ends it (RFC 7617)")


def _credential(config: Mapping[str, Any]) -> bytes:
    username, password = config["username"], config["password"]
    if is_reference(username) or is_reference(password):
        raise ValueError("username or password is a reference that was not resolved")
    if not username or not password:
        # An empty one would let everybody in who knows the user's name.
        raise ValueError("username or password is empty")
    return str(password).encode("utf-8", "surrogatepass")


plugin = AuthFactory(
    name=NAME,
    priority=2520,
    schema=_ROUTE_SCHEMA,
    make=_make,
    key_field="username",
    credential_schema=_CREDENTIAL_SCHEMA,
    credential_secret_fields=("password",),
    check_credential=_check_credential,
    credential=_credential,
)
