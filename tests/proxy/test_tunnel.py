from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons
from gateway.core.compiler import Compiler
from gateway.core.exchange import Outcome
from gateway.proxy.tunnel import Tunnel
from tests.core.configs import FakePlugins, ask


class Side:
    """One end of a tunnel that writes down what is asked of it."""

    def __init__(self, *, half: bool = True) -> None:
        self.half = half
        self.calls: list[Any] = []
        self.source: Any = None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> bool:
            self.calls.append((name, *args) if args else name)
            return self.half

        return call

    def switch(self, *args: Any) -> None:
        self.source = args[-1]

    def register(self, producer: Any) -> None:
        self.source = producer


class TunnelTests(SynchronousTestCase):
    def open(self, *, half: bool = True) -> None:
        self.exchange = ask(Compiler(FakePlugins(), "default").empty(), "/x")
        self.exchange.status = 101
        self.client: Any = Side(half=half)
        self.upstream: Any = Side(half=half)
        self.ended: list[Outcome] = []
        self.tunnel = Tunnel(self.exchange, self.client, self.upstream, self.ended.append)
        self.tunnel.start(60.0, b"first")

    def check(self, client: list[Any], upstream: list[Any], *outcomes: tuple[str, str]) -> None:
        self.assertEqual((self.client.calls, self.upstream.calls), (client, upstream))
        self.assertEqual([(one.decided_by, one.reason) for one in self.ended], list(outcomes))
        self.assertEqual({one.status for one in self.ended} - {101}, set())
        self.client.calls.clear()
        self.upstream.calls.clear()

    def test_bytes(self) -> None:
        """Bytes pass both ways as they are, and are counted."""
        self.open()
        self.tunnel.client_data(b"hello")
        self.tunnel.response_content(b"hi")
        self.check([("write", b"first"), ("write", b"hi")], [("send_bytes", b"hello")])
        self.assertEqual((self.exchange.bytes_sent, self.exchange.bytes_received), (7, 5))

    def test_back_pressure(self) -> None:
        """A side that takes no more holds the other one back."""
        self.open()
        self.client.calls.clear()
        self.client.source.pauseProducing()
        self.client.source.resumeProducing()
        self.upstream.source.pauseProducing()
        self.upstream.source.resumeProducing()
        self.check(["pause_client", "resume_client"], ["pause", "resume"])

    def test_half(self) -> None:
        """The end of one direction is passed on alone; with the second all is over."""
        for first, second, client, upstream in (
            ("client_ended", "upstream_ended", [], ["end_sending"]),
            ("upstream_ended", "client_ended", ["end_writing"], []),
        ):
            self.open()
            self.client.calls.clear()
            getattr(self.tunnel, first)()
            getattr(self.tunnel, first)()
            self.check(client, upstream)
            getattr(self.tunnel, second)()
            self.check(["unregister", "finish"], ["close"], ("upstream", "ok"))

    def test_no_halves(self) -> None:
        """Where one direction cannot end alone the end of one is the end of both."""
        for event, name in (("client_ended", "end_sending"), ("upstream_ended", "end_writing")):
            self.open(half=False)
            self.client.calls.clear()
            getattr(self.tunnel, event)()
            called = [name]
            client = called if name == "end_writing" else []
            upstream = called if name == "end_sending" else []
            self.check([*client, "unregister", "finish"], [*upstream, "close"], ("upstream", "ok"))

    def test_ends(self) -> None:
        """However it ends, the other side is closed or cut, once, and the reason is told."""
        failed = ("tunnel_idle", reasons.UPSTREAM_READ_TIMEOUT), ("upstream_closed", reasons.UPSTREAM_CLOSED)
        for event, client, upstream, outcome in (
            (lambda t: t.client_gone(), ["unregister"], ["close"], ("upstream", "ok")),
            (lambda t: t.response_ended(), ["unregister", "finish"], ["close"], ("upstream", "ok")),
            (
                lambda t: t.response_failed(failed[0][1], "", None),
                ["unregister", "finish"],
                [],
                ("gateway", failed[0][0]),
            ),
            (
                lambda t: t.response_failed(failed[1][1], "", None),
                ["unregister", "abort"],
                [],
                ("upstream", failed[1][0]),
            ),
            (
                lambda t: t.stop("shutting_down"),
                ["unregister", "abort"],
                ["abort"],
                ("gateway", "shutting_down"),
            ),
        ):
            self.open()
            self.client.calls.clear()
            event(self.tunnel)
            self.check(client, upstream, outcome)
            for late in (
                self.tunnel.client_gone,
                self.tunnel.client_ended,
                self.tunnel.upstream_ended,
                self.tunnel.response_ended,
                self.client.source.pauseProducing,
                self.client.source.resumeProducing,
                self.client.source.stopProducing,
                self.upstream.source.stopProducing,
            ):
                late()
            self.tunnel.client_data(b"late")
            self.tunnel.response_content(b"late")
            self.tunnel.response_failed(reasons.UPSTREAM_CLOSED, "", None)
            self.tunnel.stop("late")
            self.check([], [], outcome)
