"""csrf: a request that changes something must come from a page that could read our cookie."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core import csrf_tokens
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import configured_name
from gateway.factories import Factory
from gateway.interfaces import Clock, IAccessPhase, IHeaderFilterPhase, IPureHooks, PluginServices
from gateway.model.schema import fill, is_reference

_LATEST_S = 253_402_300_799
"""The end of the year 9999, the last that a date can tell."""
SAFE_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS"))

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "key": {"type": "string", "description": "Signs the tokens. Encrypted at rest."},
        "expires": {
            "type": "integer",
            "default": 7200,
            "description": "Seconds a token is good for; 0 or less: for ever.",
        },
        "name": {
            "type": "string",
            "default": "apisix-csrf-token",
            "description": "Name of the header and of the cookie.",
        },
    },
    "required": ["key"],
}

MESSAGES: Mapping[str, str] = {
    "csrf_header_missing": "no csrf token in headers",
    "csrf_cookie_missing": "no csrf cookie",
    "csrf_mismatch": "csrf token mismatch",
    "csrf_invalid": "Failed to verify the csrf token signature",
}
"""Reason code → what the client is told (plugin contract §2)."""


@implementer(IAccessPhase, IHeaderFilterPhase, IPureHooks)
@frozen(eq=False)
class CSRF:
    """
    csrf with one configuration.

    Attributes:
        lifetime_s: How long a token is good; 0 or less: for ever.
        cookie: The cookie's name, as cookies are read. header: the same as a field's name.
    """

    key: str = field(repr=False)
    lifetime_s: int
    header: bytes
    cookie: str
    clock: Clock = field(repr=False)

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``."""
        if exchange.method in SAFE_METHODS:
            return None
        sent = exchange.fields.get(self.header)
        if not sent:
            return _refuse("csrf_header_missing")
        kept = exchange.cookies().get(self.cookie)
        if not kept:
            return _refuse("csrf_cookie_missing")
        if not hmac.compare_digest(sent, kept.encode("latin-1")):
            return _refuse("csrf_mismatch")
        fault = csrf_tokens.fault(kept, self.key, int(self.clock.time()), self.lifetime_s)
        return None if fault is None else _refuse("csrf_invalid", fault)

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``. Every answer brings a fresh token."""
        now = int(self.clock.time())
        random = int.from_bytes(os.urandom(7), "big") / (1 << 56)
        cookie = f"{self.cookie}={csrf_tokens.make(self.key, now, random)};path=/;SameSite=Lax"
        if self.lifetime_s > 0:
            cookie += f";Expires={formatdate(min(now + self.lifetime_s, _LATEST_S), usegmt=True)}"
        exchange.response_fields.add(b"set-cookie", cookie.encode("latin-1"))


def _refuse(reason: str, detail: str = "") -> Reply:
    return Reply.json(401, {"error_msg": MESSAGES[reason]}, reason=reason, detail=detail)


def _check(config: Mapping[str, Any]) -> None:
    name = config.get("name")
    if name is not None and not is_reference(name):
        configured_name(name)
    if not config["key"]:
        raise ValueError("key is empty")


def _make(config: Mapping[str, Any], services: PluginServices) -> CSRF:
    filled = fill(_SCHEMA, config)
    key = filled["key"]
    if not key or is_reference(key):
        raise ValueError("key is empty, or a reference that was not resolved")
    header = configured_name(filled["name"])
    return CSRF(key, int(filled["expires"]), header, filled["name"], services.clock)


plugin = Factory(name="csrf", priority=2980, schema=_SCHEMA, check=_check, make=_make, secret_fields=("key",))
