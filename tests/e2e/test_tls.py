"""TLS end to end: certificates through the Admin API, replaced under load; upstreams that speak TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

from cryptography import x509

from tests import certs
from tests.e2e.gateway_process import LIMIT_S, AdminClient, EndToEndCase, GatewayProcess, wait_for
from tests.e2e.raw_upstream import OK, Peer, RawUpstream

CA = certs.authority("clients.test")
FRIEND = certs.pair("friend.test", issuer=CA)
NODE = certs.pair("node.test", issuer=CA)


class TLSCase(EndToEndCase):
    """A gateway that listens for HTTPS, with no certificate of its own."""

    workers = "0"

    def setUp(self) -> None:
        super().setUp()
        self.served = self.start()
        self.admin = self.enterContext(AdminClient(self.served))

    def start(self, **environ: str) -> GatewayProcess:
        settings = {
            "GATEWAY_PROXY_TLS_LISTEN": "127.0.0.1:0",
            "GATEWAY_PROXY_WORKERS": self.workers,
            # The certificates of tests live for two days.
            "GATEWAY_GATEWAY_CERTIFICATE_NOTICE_DAYS": "1",
        }
        return self.gateway(environ={**settings, **environ}).start()

    def put(self, path: str, body: Any) -> None:
        status, answer = self.admin.call("PUT", f"/apisix/admin/{path}", body)
        self.assertEqual(status, 200, answer)

    def ssl(self, id: str, pair: certs.Pair, *snis: str, **more: Any) -> None:
        self.put(f"ssls/{id}", {"cert": pair.cert, "key": pair.key, "snis": list(snis), **more})

    def file(self, text: str) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return str(path)

    def connect(
        self,
        name: str,
        identity: certs.Pair | None = None,
        *,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """A TLS connection that asks for *name*, whoever answers."""
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if identity is not None:
            context.load_cert_chain(self.file(identity.cert), self.file(identity.key))
        plain = socket.create_connection(("127.0.0.1", self.served.ports["proxy_tls"]), timeout=LIMIT_S)
        try:
            made = context.wrap_socket(plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise
        self.addCleanup(made.close)
        return made

    def serial(self, name: str) -> int:
        shown = self.connect(name).getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number

    def get(self, connection: ssl.SSLSocket, host: str, path: str = "/") -> int:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        return response.status

    def raw_upstream(self, behaviour: Any = OK, context: ssl.SSLContext | None = None) -> RawUpstream:
        """An upstream; with *context* it speaks TLS."""

        def behave(upstream: RawUpstream, peer: Peer) -> None:
            assert context is not None
            peer.socket = context.wrap_socket(peer.socket, server_side=True)
            names.append(peer.socket.getpeercert())
            behaviour(upstream, peer)

        names: list[Any] = []
        made = RawUpstream(behaviour if context is None else behave)
        self.addCleanup(made.close)
        made.shown = names  # type: ignore[attr-defined]
        return made


class CertificateTests(TLSCase):
    def test_life(self) -> None:
        """Served when it is written, replaced, taken back; its key is never shown."""
        first, second = certs.pair("a.test"), certs.pair("a.test", tag="second")
        self.assertRaises(ssl.SSLError, self.connect, "a.test")
        self.ssl("one", first, "a.test")
        self.assertEqual(self.serial("a.test"), first.serial)
        old = self.connect("a.test")
        self.assertEqual(self.get(old, "a.test"), 404)
        self.ssl("one", second, "a.test", "*.b.test")
        self.assertEqual([self.serial(name) for name in ("a.test", "x.b.test")], [second.serial] * 2)
        self.assertRaises(ssl.SSLError, self.connect, "y.x.b.test")
        self.assertEqual(self.get(old, "a.test"), 404)
        _, answer = self.admin.call("GET", "/apisix/admin/ssls/one")
        self.assertNotIn("key", answer["value"])
        database = (self.served.data_dir / "gateway.db").read_bytes()
        self.assertNotIn(second.key.splitlines()[1].encode(), database)
        self.assertEqual(self.admin.call("DELETE", "/apisix/admin/ssls/one")[0], 200)
        self.assertRaises(ssl.SSLError, self.connect, "a.test")

    def test_refused(self) -> None:
        """What cannot be served is refused with the reason, and what is served stays."""
        good = certs.pair("a.test")
        self.ssl("one", good, "a.test")
        small, other = certs.pair("a.test", kind="small"), certs.pair("b.test")
        for cert, key, words in (
            (small.cert, small.key, "ee key too small"),
            (good.cert, other.key, "cert and key do not match"),
            ("x" * 128, good.key, "failed to parse cert: "),
            (good.cert, "x" * 128, "failed to parse key: "),
        ):
            body = {"cert": cert, "key": key, "snis": ["a.test"]}
            status, answer = self.admin.call("PUT", "/apisix/admin/ssls/one", body)
            self.assertEqual(status, 400)
            self.assertIn(words, answer["error_msg"])
        self.assertEqual(self.serial("a.test"), good.serial)

    def test_client_certificates(self) -> None:
        """A host that asks for client certificates is served to those that show one, and to that name."""
        self.ssl(
            "m", certs.pair("m.test"), "m.test", client={"ca": CA.cert, "skip_mtls_uri_regex": ["^/open"]}
        )
        self.ssl("o", certs.pair("o.test"), "o.test")
        for name, identity, host, path, status in (
            ("m.test", FRIEND, "m.test", "/", 404),
            ("m.test", None, "m.test", "/", 400),
            ("m.test", None, "m.test", "/open", 404),
            ("o.test", FRIEND, "m.test", "/", 400),
            ("o.test", None, "o.test", "/", 404),
        ):
            self.assertEqual(self.get(self.connect(name, identity), host, path), status, (name, host, path))

    def test_resumed(self) -> None:
        """A client resumes its session under the same name, and under no other, if it may at all."""
        self.ssl("one", certs.pair("a.test"), "a.test", "b.test")
        self.ssl("m", certs.pair("m.test"), "m.test", client={"ca": CA.cert})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.file(FRIEND.cert), self.file(FRIEND.key))

        def resumes(first: str, second: str) -> bool:
            made = self.connect(first, context=context)
            self.assertEqual(self.get(made, first), 404)
            again = self.connect(second, context=context, session=made.session)
            self.assertEqual(self.get(again, second), 404)
            return bool(again.session_reused)

        self.assertFalse(resumes("a.test", "a.test"))
        self.served.environ["GATEWAY_PROXY_TLS_SESSION_TIMEOUT_S"] = "600"
        self.served.end()
        self.served.start()
        for first, second, resumed in (
            ("a.test", "a.test", True),
            ("a.test", "b.test", False),
            ("a.test", "m.test", False),
            ("m.test", "m.test", False),
            ("m.test", "a.test", False),
        ):
            self.assertIs(resumes(first, second), resumed, (first, second))

    def test_expiring(self) -> None:
        """Certificates that expire soon are logged and told; which those are is a setting that can change."""
        self.ssl("one", certs.pair("a.test"), "a.test")

        def notices() -> list[Any]:
            return self.admin.call("GET", "/api/status")[1]["value"]["notices"]  # type: ignore[no-any-return]

        self.assertEqual(notices(), [])
        self.served.environ["GATEWAY_GATEWAY_CERTIFICATE_NOTICE_DAYS"] = "3"
        self.served.end()
        self.served.start()
        self.admin = self.enterContext(AdminClient(self.served))
        (notice,) = notices()
        self.assertEqual((notice["kind"], notice["id"]), ("ssl", "one"))
        self.assertRegex(notice["why"], r"^its certificate expires on \d{4}-\d\d-\d\d, (in|within) a day$")
        wait_for(lambda: "ssl/one: its certificate expires on" in self.served.logs(), "the warning")

    def test_restart(self) -> None:
        """After a restart it is served again, from what is encrypted in the store."""
        pair = certs.pair("a.test")
        self.ssl("one", pair, "a.test")
        self.served.end()
        self.served.start()
        self.assertEqual(self.serial("a.test"), pair.serial)


class UnderLoadTests(TLSCase):
    workers = "2"

    def test_swap(self) -> None:
        """Certificates are replaced while clients come and go, and not one handshake or request fails."""
        pairs = [certs.pair("a.test", tag=str(number)) for number in range(4)]
        self.ssl("one", pairs[0], "a.test")
        failures: list[BaseException] = []
        seen: set[int] = set()
        stop = threading.Event()

        def client() -> None:
            try:
                while not stop.is_set():
                    with self.connect("a.test") as connection:
                        shown = connection.getpeercert(binary_form=True)
                        assert shown is not None
                        seen.add(x509.load_der_x509_certificate(shown).serial_number)
                        for _ in range(3):
                            assert self.get(connection, "a.test") == 404
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(12):
                pair = pairs[number % len(pairs)]
                self.ssl("one", pair, "a.test")
                # Answered, so every worker serves it: whichever takes this connection.
                self.assertEqual(self.serial("a.test"), pair.serial)
        finally:
            stop.set()
            for thread in threads:
                thread.join(LIMIT_S)
        self.assertEqual(failures, [])
        self.assertLessEqual(seen, {pair.serial for pair in pairs})


class UpstreamTests(TLSCase):
    def context(self, *, asks: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file(NODE.cert), self.file(NODE.key))
        if asks:
            context.load_verify_locations(cadata=CA.cert)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def serve(self, upstream: RawUpstream, **more: Any) -> None:
        nodes = [{"host": "127.0.0.1", "port": upstream.port, "weight": 1}]
        body = {"name": "s", "upstream": {"scheme": "https", "nodes": nodes, **more}}
        self.put("services/s", body)
        self.put("routes/r", {"name": "r", "service_id": "s", "paths": ["/*"]})

    def status(self, host: str = "node.test") -> int:
        return self.served.get("/", headers={"Host": host}).status

    def notices(self) -> list[str]:
        return [notice["why"] for notice in self.admin.call("GET", "/api/status")[1]["value"]["notices"]]

    def test_verified(self) -> None:
        """By default nobody is verified, and that is told; with an authority the name must fit."""
        upstream = self.raw_upstream(context=self.context())
        self.serve(upstream)
        self.assertEqual(self.status("other.test"), 200)
        self.assertTrue(any("not verified" in why for why in self.notices()), self.notices())
        self.put("ca_certificates/ca", {"cert": CA.cert})
        self.serve(upstream, tls_verify=True, ca_certificates=["ca"])
        self.assertEqual(self.notices(), [])
        self.assertEqual((self.status(), self.status("other.test")), (200, 502))
        self.put("ca_certificates/ca", {"cert": certs.authority("other.test").cert})
        self.assertEqual(self.status(), 502)

    def test_certificate_shown(self) -> None:
        """A node that asks is shown the certificate of the ssl that is named, as it is now."""
        upstream = self.raw_upstream(context=self.context(asks=True))
        self.serve(upstream)
        self.assertEqual(self.status(), 502)
        self.put("ssls/mine", {"type": "client", "cert": FRIEND.cert, "key": FRIEND.key})
        self.serve(upstream, tls={"client_cert_id": "mine"})
        self.assertEqual([self.status(), self.status()], [200, 200])
        shown: Any = upstream
        self.assertEqual(dict(x[0] for x in shown.shown[-1]["subject"])["commonName"], "friend.test")
        stranger = certs.pair("stranger.test")
        self.put("ssls/mine", {"type": "client", "cert": stranger.cert, "key": stranger.key})
        self.assertEqual(self.status(), 502)
        # The ssl is off: there is nothing to show.
        self.put("ssls/mine", {"type": "client", "cert": FRIEND.cert, "key": FRIEND.key, "status": 0})
        self.assertEqual(self.status(), 502)
        self.served.end()
        line = (self.served.data_dir / "access.log").read_text().splitlines()[-1]
        self.assertTrue(line.endswith("balancer certificate_missing"), line)
