"""A tunnel: after a 101 answer, bytes pass both ways between a client and an upstream, and nobody reads them.

Each side holds the other back while it takes no more. What either side ends, the other one sees
ended, after everything that was sent before: a side that only says it has no more to send still
gets what the other has to say, where the transport can tell (an upstream's TLS cannot).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.core import reasons
from gateway.core.exchange import Exchange, Outcome
from gateway.upstream.connection import Flow


class TunnelClient(Protocol):
    """The client's end, as an HTTP server shows it that can change the protocol of a connection."""

    def switch(self, tunnel: Tunnel) -> None:
        """After ``respond`` with 101: send that; what the client sends from here on is the tunnel's."""

    def write(self, data: bytes) -> None:
        """Send it to the client."""

    def pause_client(self) -> None:
        """Read no more from the client for now."""

    def resume_client(self) -> None:
        """Read on."""

    def end_writing(self) -> bool:
        """Tell the client that nothing more comes. Returns False where only closing tells that."""

    def register(self, producer: IPushProducer) -> None:
        """Name the source of ``write`` calls."""

    def unregister(self) -> None:
        """The source has no more to write."""

    def finish(self) -> None:
        """Close, once everything written is sent."""

    def abort(self) -> None:
        """Cut the connection."""


class TunnelFlow(Flow, Protocol):
    """The upstream's end: ``gateway.http1.client.HTTP1Client``."""

    def switch(self, idle_s: float, source: IPushProducer) -> None:
        """
        Bytes pass from here on.

        Args:
            idle_s: Longest time in which nothing passes, either way.
            source: Where the bytes to ``send_bytes`` come from; paused while the upstream takes none.
        """

    def send_bytes(self, data: bytes) -> None:
        """Send it to the upstream."""

    def end_sending(self) -> bool:
        """Tell the upstream that nothing more comes. Returns False where only closing tells that."""

    def close(self) -> None:
        """Close, once everything is sent."""


@implementer(IPushProducer)
class _FromClient:
    """The client as the source of what the upstream is sent."""

    def __init__(self, client: TunnelClient) -> None:
        self._client = client

    def pauseProducing(self) -> None:
        self._client.pause_client()

    def resumeProducing(self) -> None:
        self._client.resume_client()

    def stopProducing(self) -> None:
        """The upstream's connection is lost; it says so itself."""


@implementer(IPushProducer)
class Tunnel:
    """
    One tunnel. It takes what comes from the upstream (``ContentTaker``) and is the source of what the
    client is sent.
    """

    def __init__(
        self, exchange: Exchange, client: TunnelClient, flow: TunnelFlow, ended: Callable[[Outcome], None]
    ) -> None:
        """
        Args:
            exchange: Counts the bytes. ended: Called once, when both sides are closed or closing.
        """
        self._exchange = exchange
        self._client = client
        self._flow = flow
        self._ended = ended
        self._over = False
        self._client_done = False
        self._upstream_done = False

    def start(self, idle_s: float, content: bytes) -> None:
        """
        Begin, once the client was answered.

        Args:
            idle_s: Longest time in which nothing passes, either way.
            content: What the upstream has sent already.
        """
        self._flow.switch(idle_s, _FromClient(self._client))
        self._client.register(self)
        self._client.switch(self)
        if content:
            self.response_content(content)

    def stop(self, reason: str) -> None:
        """Cut both sides."""
        if not self._over:
            self._flow.abort()
            self._client.unregister()
            self._client.abort()
            self._end("gateway", reason)

    # -- from the client

    def client_data(self, data: bytes) -> None:
        """The client has sent something."""
        if not self._over:
            self._exchange.bytes_received += len(data)
            self._flow.send_bytes(data)

    def client_ended(self) -> None:
        """The client sends no more, and still takes what comes."""
        if self._over or self._client_done:
            return
        self._client_done = True
        if self._upstream_done or not self._flow.end_sending():
            self._close()

    def client_gone(self) -> None:
        """The client's connection is closed."""
        if not self._over:
            self._client.unregister()
            self._flow.close()
            self._end("upstream", reasons.OK)

    # -- from the upstream (ContentTaker)

    def response_content(self, data: bytes) -> None:
        """The upstream has sent something."""
        if not self._over:
            self._exchange.bytes_sent += len(data)
            self._client.write(data)

    def upstream_ended(self) -> None:
        """The upstream sends no more, and still takes what comes."""
        if self._over or self._upstream_done:
            return
        self._upstream_done = True
        if self._client_done or not self._client.end_writing():
            self._close()

    def response_ended(self) -> None:
        """The upstream's connection is closed."""
        if not self._over:
            self._close()

    def response_failed(self, kind: str, detail: str, cause: Failure | None) -> None:
        """The upstream's connection is cut, by its end or because nothing passed for too long."""
        if self._over:
            return
        self._client.unregister()
        if kind == reasons.UPSTREAM_READ_TIMEOUT:
            self._client.finish()
            self._end("gateway", reasons.TUNNEL_IDLE, "nothing passed, either way")
        else:
            self._client.abort()
            self._end("upstream", kind, detail)

    # -- IPushProducer, for the client's side

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        if not self._over:
            self._flow.pause()

    def resumeProducing(self) -> None:
        """It has caught up."""
        if not self._over:
            self._flow.resume()

    def stopProducing(self) -> None:
        """The client's connection is lost; it says so itself."""

    # -- endings

    def _close(self) -> None:
        self._flow.close()
        self._client.unregister()
        self._client.finish()
        self._end("upstream", reasons.OK)

    def _end(self, by: str, reason: str, detail: str = "") -> None:
        self._over = True
        self._ended(Outcome(self._exchange.status, by, reason, detail))
