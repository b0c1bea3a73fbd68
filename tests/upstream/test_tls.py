"""TLS towards upstreams, over real sockets."""

from __future__ import annotations

from typing import Any

import treq
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from gateway.core import reasons
from gateway.proxy.tls_contexts import ContextLoader
from gateway.upstream.agent import UpstreamAgent
from gateway.upstream.errors import UpstreamError
from gateway.upstream.identity import Authority, ClientIdentity
from gateway.upstream.request import Peer
from gateway.upstream.tls import ClientTLS
from tests import certs
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
        """There is one context for each combination of authorities and certificate, whatever the name."""
        tls = ClientTLS(trustRootFromCertificates([public(NAME)]))
        ca, other = certs.authority(), certs.authority("other.test")
        mine = certs.pair("gateway.test")
        shown = ClientIdentity.load(mine.cert, mine.key)
        trusted = (Authority.load(ca.cert),)
        contexts = []
        for verify, identity, authorities in (
            (False, None, ()),
            (True, None, ()),
            (True, None, trusted),
            (True, None, (Authority.load(other.cert),)),
            (True, shown, trusted),
            (False, shown, ()),
        ):
            one, two = (
                tls.creator(Peer("https", "h", 443, name, verify, identity, authorities)).context
                for name in ("a.example", "b.example")
            )
            self.assertIs(one, two)
            contexts.append(one)
        self.assertEqual(len(set(map(id, contexts))), len(contexts))
        # Who is not verified needs nobody's word.
        again = tls.creator(Peer("https", "h", 443, "a.example", False, None, trusted))
        self.assertIs(again.context, contexts[0])

    def test_limits(self) -> None:
        """Neither contexts nor sessions are kept without end."""
        tls = ClientTLS(trustRootFromCertificates([public(NAME)]))
        session: Any = object()
        for number in range(2000):
            tls.keep(Peer("https", "h", 443, f"n{number}.example", True), session)
        self.assertEqual(len(tls.sessions), 1024)
        self.assertNotIn(Peer("https", "h", 443, "n0.example", True), tls.sessions)


CA = certs.authority("upstreams.test")
NODE = certs.pair(NAME, issuer=CA)
MINE = certs.pair("gateway.test", issuer=CA)


class ClientCertificateTests(TestCase):
    """An upstream that asks for certificates."""

    def setUp(self) -> None:
        self.shown: list[str | None] = []
        self.versions: list[int] = []

    def listen(self, version: int = SSL.TLS1_3_VERSION) -> None:
        case = self

        class Say(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                handle = request.transport.getHandle()
                case.assertEqual(handle.get_alpn_proto_negotiated(), b"http/1.1")
                peer = handle.get_peer_certificate()
                case.shown.append(None if peer is None else peer.get_subject().CN)
                return b"hello"

        context = ContextLoader({}, "ALL").context([(NODE.cert, NODE.key)], ca=CA.cert, needed=False)
        context.set_verify(SSL.VERIFY_PEER, lambda conn, shown, error, depth, good: bool(good))
        context.set_max_proto_version(version)
        # The upstream resumes sessions; tickets are on, and so is its cache.
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        self.handshakes = 0

        def count(connection: Any, where: int, code: int) -> None:
            # Only a full handshake shows the certificate anew; this counts all of them.
            if where & SSL.SSL_CB_HANDSHAKE_START:
                self.handshakes += 1

        context.set_info_callback(count)
        context.set_alpn_select_callback(lambda conn, offered: offered[0])

        @implementer(IOpenSSLServerConnectionCreator)
        class Creator:
            def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
                return SSL.Connection(context, None)

        port: Any = reactor.listenSSL(0, Site(Say()), Creator(), interface="127.0.0.1")
        self.port: int = port.getHost().port
        self.addCleanup(port.stopListening)
        self.agent = UpstreamAgent(reactor)
        self.addCleanup(lambda: self.agent.close())

    async def fetch(self, **more: Any) -> None:
        peer = Peer(
            "https", "127.0.0.1", self.port, NAME, True, authorities=(Authority.load(CA.cert),), **more
        )
        response = await self.agent.request(b"GET", b"", prepared(peer=peer))
        self.assertEqual(await treq.content(response), b"hello")

    async def test_shown(self) -> None:
        """The certificate is shown where there is one; connections with and without are kept apart."""
        self.listen()
        identity = ClientIdentity.load(MINE.cert, MINE.key)
        for more in ({"identity": identity}, {}, {"identity": identity}, {}):
            await self.fetch(**more)
        self.assertEqual(self.shown, ["gateway.test", None, "gateway.test", None])
        self.assertEqual(self.handshakes, 2)

    async def test_resumed(self) -> None:
        """A new connection to a peer resumes the session of an earlier one."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.listen(version)
            await self.fetch()
            await deferLater(reactor, 0)  # The answer is delivered before the session is looked at.
            (peer,) = self.agent.stats()
            kept = self.agent.network.tls.sessions[peer]
            self.agent.pool(prepared(peer=peer)).close_idle()
            made: list[Any] = []
            real = SSL.Connection.set_session

            def note(connection: Any, session: Any, made: list[Any] = made, real: Any = real) -> None:
                made.append(session)
                real(connection, session)

            self.patch(SSL.Connection, "set_session", note)
            await self.fetch()
            self.assertEqual(made, [kept])
            await self.agent.close()
