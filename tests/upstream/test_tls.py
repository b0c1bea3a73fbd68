"""TLS towards upstreams, over real sockets."""

from __future__ import annotations

from typing import Any

import treq
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.ssl import trustRootFromCertificates
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from gateway.core import reasons
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import Peer
from gateway.upstream.tls import ClientTLS
from tests.upstream.certificates import certificate, public
from tests.upstream.memory import prepared

NAME = "up.example"


class _Hello(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"hello"


class HandshakeTests(TestCase):
    def setUp(self) -> None:
        self.names: list[bytes | None] = []
        context = certificate(NAME).options()
        context.getContext().set_tlsext_servername_callback(
            lambda connection: self.names.append(connection.get_servername())
        )
        self.port: Any = reactor.listenSSL(0, Site(_Hello()), context, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.agent = UpstreamAgent(reactor, trust_root=trustRootFromCertificates([public(NAME)]))
        self.addCleanup(self.agent.close)

    def peer(self, name: str | None, verify: bool) -> Peer:
        return Peer("https", "127.0.0.1", self.port.getHost().port, name, verify)

    async def fetch(self, name: str | None, verify: bool) -> bytes:
        response = await self.agent.request(b"GET", b"", prepared(peer=self.peer(name, verify)))
        return await treq.content(response)  # type: ignore[no-any-return]

    async def test_not_verified(self) -> None:
        """Without verification any certificate will do, and the name is sent as SNI all the same."""
        self.assertEqual(await self.fetch("other.example", False), b"hello")
        self.assertEqual(self.names, [b"other.example"])

    async def test_kept(self) -> None:
        """Connections are kept, by name."""
        for name in (NAME, NAME, "other.example"):
            await self.fetch(name, False)
        self.assertEqual(self.names, [NAME.encode(), b"other.example"])

    async def test_no_name(self) -> None:
        """No SNI is sent where there is no name, or only an address."""
        await self.fetch(None, False)
        await self.fetch("127.0.0.1", False)
        self.assertEqual(self.names, [None, None])

    async def test_verified(self) -> None:
        """A valid certificate for the name is accepted."""
        self.assertEqual(await self.fetch(NAME, True), b"hello")
        self.assertEqual(self.names, [NAME.encode()])

    async def test_wrong_name(self) -> None:
        """A certificate for another name is a failure to connect; nothing was sent."""
        for name in ("other.example", None):
            error = await self.assertFailure(
                self.agent.request(b"GET", b"", prepared(peer=self.peer(name, True))), UpstreamError
            )
            self.assertEqual((error.kind, error.sent), (reasons.UPSTREAM_CONNECT_FAILED, False))

    async def test_untrusted(self) -> None:
        """A certificate nobody vouches for is a failure to connect."""
        agent = UpstreamAgent(reactor, trust_root=trustRootFromCertificates([public("x.example")]))
        error = await self.assertFailure(
            agent.request(b"GET", b"", prepared(peer=self.peer(NAME, True))), UpstreamError
        )
        self.assertEqual(error.kind, reasons.UPSTREAM_CONNECT_FAILED)


class CreatorTests(SynchronousTestCase):
    def test_contexts_are_shared(self) -> None:
        """Unverified connections share one context; verified ones share one per name, up to a limit."""
        tls = ClientTLS(trustRootFromCertificates([public(NAME)]))
        one, two = (tls.creator(Peer("https", "h", 443, name)) for name in ("a.example", "b.example"))
        self.assertIs(one.context, two.context)
        self.assertIsInstance(one.context, SSL.Context)
        verifying = Peer("https", "h", 443, "a.example", True)
        first = tls.creator(verifying)
        self.assertIs(tls.creator(verifying), first)
        for number in range(70):
            tls.creator(Peer("https", "h", 443, f"n{number}.example", True))
        self.assertLessEqual(len(tls._verified), 64)
        self.assertIsNot(tls.creator(verifying), first)
