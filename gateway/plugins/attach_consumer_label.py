"""attach-consumer-label: tells the upstream labels of the consumer that a request is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.core.fields import configured_name, configured_value
from gateway.factories import Factory
from gateway.interfaces import IBeforeProxyPhase, PluginServices

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "headers": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string", "pattern": r"^\$.*"},
            "description": "Header → $ and the name of a label.",
        }
    },
    "required": ["headers"],
}


@implementer(IBeforeProxyPhase)
@frozen(eq=False)
class AttachConsumerLabel:
    """
    attach-consumer-label with one configuration.

    Attributes:
        headers: Field name and name of the label.
    """

    headers: tuple[tuple[bytes, str], ...]

    def before_proxy(self, exchange: Exchange) -> None:
        """
        See ``IBeforeProxyPhase``.

        A field whose label the consumer does not have is removed, and all are if nobody is known: what a
        client sends is never taken for a label.
        """
        labels: Mapping[str, str] = {} if exchange.consumer is None else exchange.consumer.labels
        fields = exchange.fields
        for name, label in self.headers:
            value = labels.get(label)
            if value is None:
                fields.remove(name)
            else:
                fields.set(name, configured_value(value))


def _headers(config: Mapping[str, Any]) -> tuple[tuple[bytes, str], ...]:
    return tuple(
        (configured_name(name), label.removeprefix("$")) for name, label in config["headers"].items()
    )


def _check(config: Mapping[str, Any]) -> None:
    _headers(config)


def _make(config: Mapping[str, Any], services: PluginServices) -> AttachConsumerLabel:
    return AttachConsumerLabel(_headers(config))


plugin = Factory(name="attach-consumer-label", priority=2399, schema=_SCHEMA, check=_check, make=_make)
