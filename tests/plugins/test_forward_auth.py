"""Tests for gateway.plugins.forward_auth."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.interfaces import HttpAnswer, HttpCallFailed, KeepAlive
from gateway.plugins.forward_auth import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems
from gateway.testing.services import FakeHttp, FakeLog, services

URI = "http://auth.internal:9000/check?a=b"
OK = HttpAnswer(200, [(b"x-user", b"jack"), (b"x-role", b"a"), (b"x-role", b"b")], b"fine")


class Case(SynchronousTestCase):
    def access(self, sent: Exchange, answer: HttpAnswer | HttpCallFailed = OK, **config: Any) -> Reply | None:
        self.http, self.log = FakeHttp([answer]), FakeLog()
        bound = bind(plugin, {"uri": URI, **config}, services(http=self.http, log=self.log))
        assert bound.access is not None
        return finish(bound.access(sent))


class AccessTests(Case):
    def test_asked(self) -> None:
        """The service is asked about the request in X-Forwarded fields, whatever the client says in them."""
        sent = exchange(
            "DELETE",
            "/a?b=c",
            [
                ("Host", "Shop.example:81"),
                ("X-Forwarded-Host", "evil"),
                ("Authorization", "t"),
                ("Cookie", "c"),
            ],
            client_ip="192.0.2.7",
            tls=True,
        )
        self.assertIsNone(
            self.access(sent, timeout=1500, ssl_verify=False, request_headers=["Authorization"])
        )
        (call,) = self.http.calls
        self.assertEqual((call.method, call.url, call.content), ("GET", URI, None))
        self.assertEqual((call.timeout_s, call.verify), (1.5, False))
        self.assertEqual(
            dict(call.fields),
            {
                b"x-forwarded-proto": b"https",
                b"x-forwarded-method": b"DELETE",
                b"x-forwarded-host": b"shop.example",
                b"x-forwarded-uri": b"/a?b=c",
                b"x-forwarded-for": b"192.0.2.7",
                b"authorization": b"t",
            },
        )

    def test_request_headers(self) -> None:
        """Client headers are copied as often as they came, but neither framing nor what the gateway says."""
        sent = exchange(
            headers=[("X-A", "1"), ("X-A", "2"), ("X-Forwarded-For", "6.6.6.6"), ("Content-Length", "3")]
        )
        self.access(sent, request_headers=["X-A", "X-Forwarded-For", "Content-Length", "X-None"])
        (call,) = self.http.calls
        self.assertEqual([v for n, v in call.fields if n == b"x-a"], [b"1", b"2"])
        self.assertEqual(call.field(b"x-forwarded-for"), b"127.0.0.1")
        self.assertIsNone(call.field(b"content-length"))

    def test_request_host(self) -> None:
        """The client's Host is copied if it is listed, unless more headers name another; there is one."""
        listed: dict[str, Any] = {"request_headers": ["Host"]}
        for config, want in (
            (listed, [b"Shop.example:8080"]),
            ({**listed, "extra_headers": {"host": "auth.example"}}, [b"auth.example"]),
            ({}, []),
        ):
            self.access(exchange(headers=[("Host", "Shop.example:8080")]), **config)
            (call,) = self.http.calls
            self.assertEqual([value for name, value in call.fields if name == b"host"], want, config)

    def test_keepalive(self) -> None:
        """Connections are kept as the settings say."""
        for config, want in (
            ({}, KeepAlive(5, 60.0)),
            ({"keepalive_pool": 2, "keepalive_timeout": 1500}, KeepAlive(2, 1.5)),
            ({"keepalive": False, "keepalive_timeout": 10**18}, KeepAlive(0, 86400.0)),
        ):
            self.access(exchange(), **config)
            self.assertEqual(self.http.calls[0].keep, want)

    def test_extra_headers(self) -> None:
        """More headers are templates; they cannot break a line."""
        sent = exchange(target="/?t=a%0D%0Ab")
        self.access(sent, extra_headers={"X-Tenant": "$arg_t on $host", "X-N": 5, "X-F": 2.0})
        (call,) = self.http.calls
        self.assertEqual([call.field(n) for n in (b"x-tenant", b"x-n", b"x-f")], [b"ab on", b"5", b"2"])

    def test_extra_framing(self) -> None:
        """More headers may name another host, but not say where the call ends."""
        extra = {
            "Host": "auth.example",
            "Content-Length": 3,
            "Transfer-Encoding": "chunked",
            "Connection": "x",
        }
        self.access(exchange(), extra_headers=extra)
        (call,) = self.http.calls
        told = [call.field(name.lower().encode()) for name in extra]
        self.assertEqual(told, [b"auth.example", None, None, None])

    def test_upstream_headers(self) -> None:
        """The upstream is told headers of the answer; what is listed and not there is removed."""
        sent = exchange(
            headers=[("X-User", "root"), ("X-Role", "root"), ("X-Admin", "root"), ("X-Other", "1")]
        )
        self.assertIsNone(self.access(sent, upstream_headers=["X-User", "X-Role", "X-Admin"]))
        self.assertEqual(
            sent.fields.pairs,
            [(b"x-other", b"1"), (b"x-user", b"jack"), (b"x-role", b"a"), (b"x-role", b"b")],
        )

    def test_refused(self) -> None:
        """From 300 on the answer goes to the client: status, content, and the headers that are listed."""
        for status in (300, 302, 403, 500):
            answer = HttpAnswer(
                status,
                [
                    (b"location", b"/login"),
                    (b"x-secret", b"s"),
                    (b"content-type", b"a/b"),
                    (b"content-length", b"4"),
                ],
                b"nope",
            )
            reply = self.access(exchange(), answer, client_headers=["Location", "X-None"])
            assert reply is not None
            self.assertEqual(
                (reply.status, reply.body, reply.reason), (status, b"nope", "forward_auth_denied")
            )
            self.assertEqual(reply.fields, ((b"location", b"/login"), (b"content-type", b"a/b")))
        self.assertIsNone(self.access(exchange(), HttpAnswer(299, [], b"")))

    def test_refused_without_content(self) -> None:
        """An answer without content stays without, and one without a type is text."""
        reply = self.access(exchange(), HttpAnswer(401, [], b""))
        assert reply is not None
        self.assertEqual((reply.body, reply.fields), (b"", ()))
        reply = self.access(exchange(), HttpAnswer(401, [], b"no"))
        assert reply is not None
        self.assertEqual(reply.fields, ((b"content-type", b"text/plain; charset=utf-8"),))

    def test_unreachable(self) -> None:
        """While the service cannot be reached nobody passes, unless the route says so."""
        for config, status in (({}, 403), ({"status_on_error": 503}, 503)):
            reply = self.access(exchange(), HttpCallFailed("refused"), **config)
            assert reply is not None
            self.assertEqual(
                (reply.status, reply.body, reply.reason), (status, None, "forward_auth_unreachable")
            )
            self.assertEqual(self.log.events, [("warn", "failed to process forward auth, err: refused")])
        sent = exchange(headers=[("X-User", "root")])
        self.assertIsNone(self.access(sent, HttpCallFailed("slow", True), allow_degradation=True))

    def test_explained(self) -> None:
        """Whom it would ask is told, without what may be secret in the address; nobody is asked."""
        http = FakeHttp()
        uri = "http://user:pass@127.0.0.1:9/auth?key=secret"
        for method in ("GET", "POST"):
            bound = bind(plugin, {"uri": uri, "request_method": method}, services(http=http))
            assert bound.explain is not None
            self.assertEqual(
                bound.explain(exchange(), "access"),
                Explanation(None, f"would ask {method} http://127.0.0.1:9/auth", sure=False),
            )
        self.assertEqual(http.calls, [])


class ContentTests(Case):
    def test_post(self) -> None:
        """With POST the service gets the content, with its type and coding."""
        sent = exchange(
            "PUT", headers=[("Content-Type", "a/b"), ("Content-Encoding", "gzip")], content=b"abc"
        )
        self.assertIsNone(self.access(sent, request_method="POST"))
        (call,) = self.http.calls
        self.assertEqual((call.method, call.content), ("POST", b"abc"))
        self.assertEqual((call.field(b"content-type"), call.field(b"content-encoding")), (b"a/b", b"gzip"))
        self.assertEqual(call.field(b"x-forwarded-method"), b"PUT")

    def test_get(self) -> None:
        """With GET the content is not waited for."""
        self.access(exchange("PUT", headers=[("Content-Type", "a/b")], content=b"abc"))
        self.assertEqual(
            (self.http.calls[0].content, self.http.calls[0].field(b"content-type")), (None, None)
        )

    def test_too_large(self) -> None:
        """Content over the limit is refused and the service not asked."""
        reply = self.access(exchange("PUT", content=b"abc"), request_method="POST", max_req_body_size=2)
        assert reply is not None
        self.assertEqual((reply.status, reply.body, self.http.calls), (413, None, []))


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """The service's URL is needed, numbers are within limits, headers are headers."""
        told: Any
        for config, told in (
            ({}, ("/uri", "required")),
            ({"uri": "/auth"}, ("", "uri must be an absolute URL of http or https")),
            ({"uri": "ftp://a/"}, ("", "uri must be an absolute URL of http or https")),
            ({"uri": "http://a b/"}, ("", "uri must be an absolute URL of http or https")),
            ({"uri": "http://a:99999/"}, ("", "uri must be an absolute URL of http or https")),
            ({"uri": URI, "request_method": "PUT"}, ("/request_method", "enum")),
            ({"uri": URI, "timeout": 0}, ("/timeout", "minimum")),
            ({"uri": URI, "timeout": 60001}, ("/timeout", "maximum")),
            ({"uri": URI, "status_on_error": 600}, ("/status_on_error", "maximum")),
            ({"uri": URI, "keepalive_timeout": 999}, ("/keepalive_timeout", "minimum")),
            ({"uri": URI, "extra_headers": {"a": {}}}, ("/extra_headers/a", "type")),
            ({"uri": URI, "upstream_headers": ["a b"]}, ("", "'a b' is not the name of a header")),
        ):
            self.assertEqual(problems(plugin, config), [told])
        self.assertEqual(problems(plugin, {"uri": "$env://AUTH"}), [])
        self.assertRaises(ValueError, bind, plugin, {"uri": "$env://AUTH"}, environment={"AUTH": "x"})
        self.assertEqual(plugin.priority, 2002)
