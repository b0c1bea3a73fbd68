"""Exchanges for tests: what a plugin's hook is given, without a gateway around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed

from gateway.core.consumers import ConsumerEntry, Identity
from gateway.core.exchange import Connection, ContentTooLarge, Exchange, RequestHead
from gateway.core.fields import Fields
from gateway.core.hosts import split_port, without_dot
from gateway.core.opening import open_exchange
from gateway.core.owners import entry_of
from gateway.model.consumer import Consumer


@frozen
class FakeSnapshot:
    """The part of a snapshot that plugins read."""

    identities: dict[str, dict[str, Identity]] = field(factory=dict)
    consumers: dict[str, ConsumerEntry] = field(factory=dict)
    revision: int = 1


@define
class FakeContent:
    """Content that has arrived (``gateway.core.exchange.ContentSource``)."""

    data: bytes = field(repr=False)
    recorded: bytes = field(default=b"", repr=False)

    @property
    def received(self) -> int:
        return len(self.data)

    def record(self, max_bytes: int, then: Callable[[bytes | None], None] | None = None) -> None:
        self.recorded = max(self.recorded, self.data[:max_bytes], key=len)
        if then is not None:
            then(None if len(self.data) > max_bytes else self.data)

    def gather(self, max_bytes: int) -> Deferred[bytes]:
        if len(self.data) > max_bytes:
            return fail(ContentTooLarge(max_bytes, len(self.data)))
        return succeed(self.data)


def consumer(username: str = "jack", **more: Any) -> ConsumerEntry:
    """A consumer as a snapshot holds it. *more*: ``labels``, ``plugins``, ``group_id``."""
    made = Consumer(username, more.get("plugins", {}), more.get("labels", {}), more.get("group_id"))
    return entry_of(made, lambda plugin: False)


def exchange(
    method: str = "GET",
    target: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    *,
    client_ip: str = "127.0.0.1",
    tls: bool = False,
    now: float = 1_700_000_000.0,
    identities: dict[str, dict[str, Identity]] | None = None,
    consumers: dict[str, ConsumerEntry] | None = None,
    path: str | None = None,
    content: bytes | None = None,
) -> Exchange:
    """
    An exchange as the runner hands it to the first hook.

    As for every request, the fields that only the gateway may set are gone from ``fields``.

    Args:
        target: The request target, as on the request line.
        headers: Names in any letter case; values as text (Latin-1).
        identities: plugin → key → identity, as ``Snapshot.identities``.
        path: The normalised path; by default *target* up to ``?``, undecoded.
        content: The request's content, all of which has arrived; None if it has none.
    """
    pairs = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    host = (Fields(pairs).get(b"host") or b"").decode("latin-1").lower()
    snapshot: Any = FakeSnapshot(identities or {}, consumers or {})
    made = open_exchange(
        RequestHead(method.encode(), target.encode("latin-1"), pairs),
        Connection(client_ip, 50000, "127.0.0.1", 9080, tls),
        snapshot,
        path=target.partition("?")[0] if path is None else path,
        host=without_dot(split_port(host)[0]),
        started_s=now,
        id="0123456789abcdef",
    )
    if content is not None:
        made.source = FakeContent(content)
        made.bytes_received = len(content)
    return made
