"""request-id: every request has an id that client, gateway and upstream share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core import request_ids
from gateway.core.exchange import Exchange
from gateway.core.fields import configured_name
from gateway.factories import Factory
from gateway.interfaces import Clock, IHeaderFilterPhase, IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

MAX_LOGGED = 256
"""A client's id that is longer than this goes on as it is, but is not the one the gateway's logs have."""
_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIGKLMNOPQRSTUVWXYZ0123456789"

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "header_name": {
            "type": "string",
            "minLength": 1,
            "default": "X-Request-Id",
            "description": "The header that holds the id.",
        },
        "include_in_response": {
            "type": "boolean",
            "default": True,
            "description": "Whether the client is told, too.",
        },
        "algorithm": {
            "type": "string",
            "enum": ["uuid", "nanoid", "range_id", "ksuid", "uuidv7"],
            "default": "uuid",
            "description": "How an id is made.",
        },
        "range_id": {
            "type": "object",
            "properties": {
                "length": {
                    "type": "integer",
                    "minimum": 6,
                    "maximum": 1024,
                    "default": 16,
                    "description": "Characters of an id.",
                },
                "char_set": {
                    "type": "string",
                    "minLength": 6,
                    "default": _CHARACTERS,
                    "description": "The characters it is made of: printable ASCII, no spaces.",
                },
            },
            "default": {},
            "description": "For the algorithm range_id.",
        },
    },
}


@implementer(IRewritePhase, IHeaderFilterPhase, IPureHooks)
@frozen(eq=False)
class RequestId:
    """
    request-id with one configuration.

    Attributes:
        make: Makes an id.
    """

    name: bytes
    include_in_response: bool
    make: Callable[[], str] = field(repr=False)
    _key: str = field(init=False, repr=False)

    @_key.default
    def _context_key(self) -> str:
        return f"request-id {self.name.decode()}"

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``. A client's own id counts; an empty one does not."""
        value = exchange.fields.get(self.name)
        if not value:
            value = self.make().encode("ascii", "replace")
            exchange.fields.set(self.name, value)
        exchange.context[self._key] = value
        if len(value) <= MAX_LOGGED and value.isascii():
            exchange.id = value.decode("ascii")

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``. An id that the upstream has put there stays."""
        if self.include_in_response and self.name not in exchange.response_fields:
            value = exchange.context.get(self._key)
            if value is not None:
                exchange.response_fields.add(self.name, value)


def _maker(algorithm: str, range_id: Mapping[str, Any], clock: Clock) -> Callable[[], str]:
    match algorithm:
        case "uuid":
            return lambda: request_ids.uuid4(os.urandom(16))
        case "uuidv7":
            return lambda: request_ids.uuid7(clock.time(), os.urandom(10))
        case "ksuid":
            return lambda: request_ids.ksuid(clock.time(), os.urandom(request_ids.KSUID_BYTES))
        case "nanoid":
            return _from(request_ids.NANOID_LENGTH, request_ids.NANOID_ALPHABET)
        case "range_id":
            return _from(int(range_id["length"]), range_id["char_set"])
    raise ValueError("algorithm is none that request-id knows")


def _from(length: int, alphabet: str) -> Callable[[], str]:
    size = request_ids.random_bytes_for(length, alphabet)

    def make() -> str:
        return request_ids.from_alphabet(int.from_bytes(os.urandom(size), "big"), length, alphabet)

    return make


def _check(config: Mapping[str, Any]) -> None:
    filled = fill(_SCHEMA, config)
    if not is_reference(filled["header_name"]):
        configured_name(filled["header_name"])
    characters = filled["range_id"].get("char_set", _CHARACTERS)
    if not is_reference(characters) and not all("!" <= character <= "~" for character in characters):
        raise ValueError("range_id.char_set: only printable ASCII characters can stand in a header")


def _make(config: Mapping[str, Any], services: PluginServices) -> RequestId:
    filled = fill(_SCHEMA, config)
    _check(filled)
    # Defaults inside a default object are not filled in.
    range_id = {"length": 16, "char_set": _CHARACTERS, **filled["range_id"]}
    if is_reference(range_id["char_set"]):
        raise ValueError("range_id.char_set is a reference that was not resolved")
    return RequestId(
        configured_name(filled["header_name"]),
        filled["include_in_response"],
        _maker(filled["algorithm"], range_id, services.clock),
    )


plugin = Factory(name="request-id", priority=12015, schema=_SCHEMA, check=_check, make=_make)
