"""client-control: how much content a client may send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.reasons import BODY_TOO_LARGE
from gateway.factories import Factory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "max_body_size": {
            "type": "integer",
            "minimum": 0,
            "description": "Bytes of a request's content; 0 is no limit of its own.",
        }
    },
}

_TOO_LARGE = Reply(413, None, (), BODY_TOO_LARGE)


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class ClientControl:
    """
    client-control with one configuration.

    Attributes:
        max_body_bytes: 0 for no limit.
    """

    max_body_bytes: int

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """
        See ``IRewritePhase``.

        What is announced to be too large, or has arrived and is, is refused here; from now on whoever reads
        the content keeps count of it.
        """
        limit = self.max_body_bytes
        if not limit:
            return None
        exchange.max_body_bytes = limit
        length = exchange.fields.get(b"content-length")
        # The server in front has checked that it is a number.
        announced = int(length) if length is not None and length.isdigit() else 0
        arrived = 0 if exchange.source is None else exchange.source.received
        return _TOO_LARGE if max(announced, arrived) > limit else None


def _make(config: Mapping[str, Any], services: PluginServices) -> ClientControl:
    return ClientControl(int(config.get("max_body_size", 0)))


plugin = Factory(name="client-control", priority=22000, schema=_SCHEMA, make=_make)
