"""Who may send requests: consumers, and the index from a credential's key to its owner.

Auth plugins look keys up in ``Snapshot.identities``; ``attach`` is the one way to make a
consumer a request's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.core.exchange import Exchange
from gateway.core.fields import Pair

CONSUMER_FIELDS = (b"x-consumer-username", b"x-credential-identifier", b"x-consumer-custom-id")
"""Fields only the gateway may set. Clients' own are dropped from every request."""
_CONSUMER_FIELDS = frozenset(CONSUMER_FIELDS)


@frozen
class ConsumerEntry:
    """
    A consumer, compiled.

    Attributes:
        plugins: Its plugins but those of the type auth; they run over the route's own.
        group_plugins: Those of its consumer group, under its own; None if the group it names is missing.
        adds: Whether its requests meet more than the route's own plugins.
        wire_username, wire_custom_id: Field values for the upstream; the latter None if it
            has no label ``custom_id``.
    """

    username: str
    group_id: str | None
    labels: Mapping[str, str]
    plugins: Mapping[str, Mapping[str, Any]] = field(repr=False)
    wire_username: bytes
    wire_custom_id: bytes | None
    group_plugins: Mapping[str, Mapping[str, Any]] | None = field(factory=dict, repr=False)
    adds: bool = field(init=False)

    @adds.default
    def _adds(self) -> bool:
        return bool(self.plugins or self.group_plugins or self.group_plugins is None)


@frozen(eq=False)
class Identity:
    """
    What a key leads to. The same object as long as neither consumer nor credential changes, so
    a cached verification is valid for as long as the index still holds the same one.

    Attributes:
        credential_id: None if the credential is kept on the consumer itself, and for the anonymous one.
        credential: What the plugin made of its credential settings.
        told: What the upstream is told of it.
    """

    consumer: ConsumerEntry
    credential_id: str | None
    credential: Any = field(repr=False)
    told: tuple[Pair, ...] = field(init=False, repr=False)

    @told.default
    def _told(self) -> tuple[Pair, ...]:
        consumer = self.consumer
        told = [(b"x-consumer-username", consumer.wire_username)]
        if self.credential_id is not None:
            told.append((b"x-credential-identifier", self.credential_id.encode("ascii", "replace")))
        if consumer.wire_custom_id is not None:
            told.append((b"x-consumer-custom-id", consumer.wire_custom_id))
        return tuple(told)


def attach(exchange: Exchange, identity: Identity) -> None:
    """
    Make *identity* the one who sent this request, and tell the upstream.

    Source:
        jwt-auth contract §6: the three fields are set or removed on every success.
    """
    exchange.consumer = identity.consumer
    exchange.credential_id = identity.credential_id
    exchange.fields.replace(_CONSUMER_FIELDS, identity.told)
