"""What goes on to the upstream and to the client, and what stops here."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.fields import Fields, Pair
from gateway.core.forwarded import (
    node_host,
    port_of,
    request_fields,
    response_fields,
    response_kind,
    strip_consumer_fields,
    upstream_host_value,
)
from gateway.model.upstream import Node, Upstream

OWN = [
    (b"x-real-ip", b"192.0.2.1"),
    (b"x-forwarded-for", b"192.0.2.1"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-host", b"Shop.example:8080"),
    (b"x-forwarded-port", b"8080"),
]
"""What the gateway says about a client that says nothing itself."""


def lines(*texts: str) -> list[Pair]:
    """``name: value`` as pairs."""
    return [
        (name.lower().encode(), value.strip().encode())
        for name, _, value in (text.partition(":") for text in texts)
    ]


def told(pairs: list[Pair]) -> tuple[list[Pair], int | None]:
    """``response_fields`` of lines as they are read."""
    return response_fields([(pair, response_kind(pair[0])) for pair in pairs])


class RequestTestCase(SynchronousTestCase):
    def send(
        self, pairs: list[Pair], trusted: bool | None = None, added: list[Pair] | None = None, **more: Any
    ) -> list[Pair]:
        """What is sent of a client's *pairs* and of what plugins *added*."""
        facts: dict[str, Any] = {
            "host": b"node",
            "client_host": b"Shop.example:8080",
            "client_ip": b"192.0.2.1",
            "scheme": b"http",
            "port": b"8080",
            "trusted": trusted,
            "received": tuple(pairs),
        }
        return request_fields(Fields([*pairs, *(added or [])]), **{**facts, **more})

    def passed(self, pairs: list[Pair], **more: Any) -> list[Pair]:
        """The same, without what the gateway says itself."""
        sent = self.send(pairs, **more)
        self.assertEqual((sent[0], sent[-5:]), ((b"host", b"node"), OWN))
        return sent[1:-5]

    def said(self, pairs: list[Pair], **more: Any) -> dict[str, str]:
        """The forwarding fields that are sent; each only once."""
        sent = [(n.decode(), v.decode()) for n, v in self.send(pairs, **more) if b"forwarded" in n]
        self.assertEqual(len(sent), len(dict(sent)))
        return {name.removeprefix("x-forwarded-"): value for name, value in sent}


class RequestTests(RequestTestCase):
    def test_usual_request(self) -> None:
        """Host comes first, then the client's fields in order, then what the gateway says."""
        pairs = lines("Host: Shop.example:8080", "Accept: */*", "Cookie: a=b", "Accept: text/html")
        self.assertEqual(self.send(pairs), [(b"host", b"node"), *pairs[1:], *OWN])

    def test_fields_are_left_alone(self) -> None:
        """The request itself is not changed: the next try begins with the same fields."""
        pairs = lines("Host: a", "Connection: x-a", "X-A: 1")
        fields = Fields(pairs)
        request_fields(
            fields, host=b"h", client_host=b"a", client_ip=b"i", scheme=b"http", port=b"80", trusted=None
        )
        self.assertEqual(fields.pairs, pairs)

    def test_hop_by_hop(self) -> None:
        """Fields of one connection, the framing and credentials for proxies stop here."""
        dropped = lines(
            "Connection: close",
            "Proxy-Connection: keep-alive",
            "Keep-Alive: timeout=5",
            "TE: trailers",
            "Trailer: X-T",
            "Transfer-Encoding: chunked",
            "Upgrade: websocket",
            "Expect: 100-continue",
            "Content-Length: 3",
            "Proxy-Authorization: Basic eDp5",
            "Proxy: http://evil.example",
            "X-Real-IP: 10.9.9.9",
        )
        kept = lines("Authorization: Bearer x", "Content-Type: a/b")
        self.assertEqual(self.passed([*dropped, *kept]), kept)

    def test_spellings(self) -> None:
        """What an upstream could take for a field that the gateway vouches for stops here too."""
        dropped = lines(
            "X_Real_IP: 10.9.9.9",
            "X-Forwarded_For: 10.9.9.9",
            "X_Forwarded_Proto: https",
            "Transfer_Encoding: chunked",
            "Content_Length: 0",
        )
        self.assertEqual(self.passed([*dropped, *lines("X_Mine: 1")]), lines("X_Mine: 1"))

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    (
                        b"connection",
                        b"host",
                        b"x-a",
                        b"x-b",
                        b"te",
                        b"x-forwarded-for",
                        b"x_real_ip",
                        b"forwarded",
                    )
                ),
                st.sampled_from((b"", b"x-a", b"X-B , close", b"host, x-real-ip", b"x-forwarded-for", b"1")),
            )
        ),
        st.sampled_from((None, True, False)),
    )
    def test_always(self, pairs: list[Pair], trusted: bool | None) -> None:
        """Whatever a client sends, there is one Host, one address, nothing hop-by-hop; the peer is last."""
        sent = self.send(pairs, trusted)
        names = [name for name, _ in sent]
        for name in (b"host", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"):
            self.assertEqual(names.count(name), 1)
        self.assertEqual(set(names) & {b"connection", b"te", b"x_real_ip"}, set())
        found = dict(sent)
        self.assertEqual((found[b"host"], found[b"x-real-ip"]), (b"node", b"192.0.2.1"))
        self.assertEqual(found[b"x-forwarded-for"].split(b", ")[-1], b"192.0.2.1")


class ConnectionOptionTests(RequestTestCase):
    def test_named_fields(self) -> None:
        """A field named by Connection is not sent on (RFC 9110 section 7.6.1), wherever it stands."""
        pairs = lines(
            "X-A: 1", "Connection: close, X-A", "Accept: */*", "Connection: ,x-b ,", "X-B: 2", "x-a: 3"
        )
        self.assertEqual(self.passed(pairs), lines("Accept: */*"))

    def test_not_the_gateways_own(self) -> None:
        """Naming what the gateway says, or has acted on, removes nothing."""
        pairs = lines(
            "Connection: host, x-real-ip, x-forwarded-for, x-forwarded-proto, x-forwarded-host",
            "Connection: authorization, cookie, x-consumer-username, cache-control",
            "Authorization: Bearer x",
            "Cookie: a=b",
            "Cache-Control: no-cache",
        )
        added = lines("X-Consumer-Username: jack")
        self.assertEqual(self.passed(pairs, added=added), [*pairs[2:], *added])
        self.assertEqual(self.passed(pairs, added=added, received=None), [*pairs[2:], *added])

    def test_not_the_plugins(self) -> None:
        """A client cannot have a field removed that a plugin has set, even if it sent the same one itself."""
        pairs = lines("Connection: x-tenant", "X-Tenant: gold")
        added = lines("X-Tenant: gold")
        self.assertEqual(self.passed(pairs, added=added), added)


class TrustTests(RequestTestCase):
    TOLD = lines(
        "X-Forwarded-For: 198.51.100.7, 203.0.113.9",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: www.example",
        "X-Forwarded-Port: 443",
        "Forwarded: for=198.51.100.7",
        "Forwarded: for=10.0.0.1",
    )
    CHAIN = "198.51.100.7, 203.0.113.9, 10.0.0.1, 192.0.2.1"
    SEEN = {"proto": "http", "host": "Shop.example:8080", "port": "8080"}

    def test_nobody_said(self) -> None:
        """Without trusted addresses the chain is kept and continued; the rest is what the gateway saw."""
        self.assertEqual(self.said(self.TOLD), {"for": self.CHAIN, **self.SEEN})

    def test_trusted(self) -> None:
        """A trusted peer is believed."""
        want = {"for": self.CHAIN, "proto": "https", "host": "www.example", "port": "443"}
        want["forwarded"] = "for=198.51.100.7, for=10.0.0.1"
        self.assertEqual(self.said(self.TOLD, trusted=True), want)

    def test_trusted_with_gaps(self) -> None:
        """What a trusted peer leaves out or empty is what the gateway saw."""
        told = lines("X-Forwarded-Proto: https", "X-Forwarded-Host:", "X-Forwarded-For:", "Forwarded:")
        self.assertEqual(self.said(told, trusted=True), {"for": "192.0.2.1", **self.SEEN, "proto": "https"})

    def test_not_trusted(self) -> None:
        """Nothing that another peer says is passed on, its chain neither."""
        self.assertEqual(self.said(self.TOLD, trusted=False), {"for": "192.0.2.1", **self.SEEN})

    def test_plugins(self) -> None:
        """A plugin has the last word about scheme, host and port, whoever the peer is."""
        added = lines("X-Forwarded-Proto: https", "X-Forwarded-Host: api.example", "X-Forwarded-Port: 444")
        for trusted in (None, True, False):
            got = self.said(self.TOLD, trusted=trusted, added=added)
            self.assertEqual((got["proto"], got["host"], got["port"]), ("https", "api.example", "444"))

    def test_plugins_chain(self) -> None:
        """Also what a plugin put in the chain comes before the peer, which is last."""
        added = lines("X-Forwarded-For: 198.51.100.1")
        self.assertEqual(self.said(self.TOLD, trusted=False, added=added)["for"], "198.51.100.1, 192.0.2.1")


class PortTests(SynchronousTestCase):
    def test_port_of(self) -> None:
        """The port the client wrote, else the one it came in by."""
        for host, port in (
            (b"a:8080", b"8080"),
            (b"a", b"9080"),
            (b"a:", b"9080"),
            (b"", b"9080"),
            (b"[::1]", b"9080"),
            (b"[::1]:81", b"81"),
        ):
            self.assertEqual(port_of(host, 9080), port, host)


class ResponseTests(SynchronousTestCase):
    def test_usual_response(self) -> None:
        """Fields come through in order; the length is told apart."""
        pairs = lines("Date: now", "Set-Cookie: a=1", "Content-Length: 12", "Set-Cookie: b=2")
        self.assertEqual(
            told(pairs),
            ([pairs[0], pairs[1], pairs[3]], 12),
        )

    def test_dropped(self) -> None:
        """Fields of the upstream's connection, its Server and its orders to another proxy stop here."""
        pairs = lines(
            "Connection: keep-alive",
            "Keep-Alive: timeout=5",
            "Transfer-Encoding: chunked",
            "Trailer: X-T",
            "Upgrade: h2c",
            "Server: nginx",
            "X-Accel-Redirect: /etc/passwd",
            "Proxy-Authenticate: Basic",
            "X-Accelerated: yes",
        )
        self.assertEqual(
            told(pairs),
            (lines("X-Accelerated: yes"), None),
        )

    def test_named(self) -> None:
        """So do fields that Connection names, in any letter case and in several lines."""
        pairs = lines("X-A: 1", "Connection: X-A", "X-B: 2", "Connection: close , x-b", "ETag: c")
        self.assertEqual(told(pairs), (lines("ETag: c"), None))


class StripTests(SynchronousTestCase):
    def test_consumer_fields(self) -> None:
        """A client cannot say who it is: not in any spelling an upstream may take for the real one."""
        pairs = lines(
            "Accept: */*",
            "X-Consumer-Username: admin",
            "X_Consumer_Username: admin",
            "X-Consumer_Username: admin",
            "X-Credential-Identifier: c",
            "X_Credential_Identifier: c",
            "X-Consumer-Custom-Id: 1",
            "x_consumer_custom_id: 1",
            "X-Consumer: fine",
        )
        fields = Fields(pairs)
        self.assertFalse(strip_consumer_fields(fields))
        self.assertEqual(fields.pairs, [pairs[0], pairs[-1]])

    def test_nothing_to_strip(self) -> None:
        """Other fields stay as they are."""
        fields = Fields(lines("Accept: */*"))
        before = fields.pairs
        self.assertFalse(strip_consumer_fields(fields, b"x-real-ip"))
        self.assertIs(fields.pairs, before)

    def test_watched(self) -> None:
        """The field that is watched for is told of, and stays."""
        fields = Fields(lines("X-Consumer-Username: admin", "X-Real-IP: 192.0.2.7"))
        self.assertTrue(strip_consumer_fields(fields, b"x-real-ip"))
        self.assertEqual(fields.pairs, lines("X-Real-IP: 192.0.2.7"))


class HostTests(SynchronousTestCase):
    def host(
        self, node: Node, client_host: bytes = b"Shop.example:81", override: bytes | None = None, **more: Any
    ) -> bytes:
        upstream = Upstream.parse({"nodes": [], **more})
        return upstream_host_value(upstream, node, client_host=client_host, override=override)

    def test_pass(self) -> None:
        """By default the upstream sees the Host that the client sent, port and letter case included."""
        self.assertEqual(self.host(Node("n", 80, 1)), b"Shop.example:81")

    def test_pass_without_host(self) -> None:
        """A client that sent none (HTTP/1.0) gets the node's."""
        self.assertEqual(self.host(Node("n", 8000, 1), b""), b"n:8000")

    def test_pass_overridden(self) -> None:
        """A plugin's Host takes the place of the client's, and of nothing else."""
        node = Node("n", 80, 1)
        self.assertEqual(self.host(node, override=b"p"), b"p")
        self.assertEqual(self.host(node, override=b"p", pass_host="node"), b"n")
        self.assertEqual(self.host(node, override=b"p", pass_host="rewrite", upstream_host="r"), b"r")

    def test_node(self) -> None:
        """The node's name, with its port where that is not the scheme's own."""
        for scheme, host, port, wanted in (
            ("http", "n", 80, b"n"),
            ("http", "n", 443, b"n:443"),
            ("https", "n", 443, b"n"),
            ("grpcs", "n", 443, b"n"),
            ("grpc", "n", 50051, b"n:50051"),
            ("http", "::1", 80, b"[::1]"),
            ("http", "::1", 81, b"[::1]:81"),
        ):
            self.assertEqual(self.host(Node(host, port, 1), pass_host="node", scheme=scheme), wanted)

    def test_rewrite(self) -> None:
        """The Host that the upstream's configuration names."""
        self.assertEqual(
            self.host(Node("n", 81, 1), pass_host="rewrite", upstream_host="r.example"), b"r.example"
        )

    def test_odd_names(self) -> None:
        """A name that is none does not end in an exception."""
        self.assertEqual(node_host(Node("bücher", 80, 1), "http"), b"b\\xfccher")
