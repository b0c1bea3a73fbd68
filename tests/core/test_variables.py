"""Tests for gateway.core.variables."""

from __future__ import annotations

import base64
import os
import time
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Attempt, Outcome
from gateway.core.variables import compile_template, getter, spell
from gateway.testing.exchanges import consumer, exchange


def route(**upstream: Any) -> Any:
    nodes = SimpleNamespace(**{"scheme": "http", "pass_host": "pass", "upstream_host": None, **upstream})
    held = SimpleNamespace(upstream=nodes)
    return SimpleNamespace(id="r1", name="one", service_id="s1", service_name="svc", upstream=held)


class GetterTests(SynchronousTestCase):
    def check(self, subject: Any, values: dict[str, object]) -> None:
        for name, want in values.items():
            self.assertEqual(getter(name)(subject), want, name)

    def test_request(self) -> None:
        """What a client sent can be asked for under the names nginx and APISIX users know."""
        subject = exchange(
            "PUT",
            "/a%20b//c?x=1&y=%C3%A9",
            [("Host", "Foo.com:8080"), ("Content-Type", "a/b"), ("Content-Length", "3")],
            path="/a b/c",
            client_ip="10.0.0.1",
        )
        subject.bytes_received, subject.bytes_sent, subject.status = 3, 17, 200
        subject.response_fields.add(b"a", b"b")
        lines = "PUT /a%20b//c?x=1&y=%C3%A9 HTTP/1.1"
        fields = "Host: Foo.com:8080\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\n"
        self.check(
            subject,
            {
                "uri": "/a b/c",
                "document_uri": "/a b/c",
                "request_uri": "/a b/c?x=1&y=%C3%A9",
                "real_request_uri": "/a%20b//c?x=1&y=%C3%A9",
                "args": "x=1&y=%C3%A9",
                "query_string": "x=1&y=%C3%A9",
                "is_args": "?",
                "host": "foo.com",
                "http_host": "Foo.com:8080",
                "scheme": "http",
                "https": None,
                "method": "PUT",
                "request_method": "PUT",
                "server_protocol": "HTTP/1.1",
                "request": lines,
                "request_line": lines,
                "request_length": str(len(lines + "\r\n" + fields) + 3),
                "content_type": "a/b",
                "content_length": "3",
                "remote_addr": "10.0.0.1",
                "remote_port": "50000",
                "realip_remote_addr": "10.0.0.1",
                "realip_remote_port": "50000",
                "server_addr": "127.0.0.1",
                "server_port": "9080",
                "bytes_sent": str(len("HTTP/1.1 200 OK\r\na: b\r\n\r\n") + 17),
                "body_bytes_sent": "17",
                "msec": "1700000000.000",
                "apisix_request_id": "0123456789abcdef",
                "request_id": "0123456789abcdef",
            },
        )
        sent = exchange(headers=[("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2")])
        sent.fields.remove(b"x-forwarded-for")
        self.check(sent, {"original_x_forwarded_for": "1.1.1.1, 2.2.2.2", "http_x_forwarded_for": None})
        subject.client_ip, subject.client_port = "192.0.2.7", 0
        self.check(
            subject, {"remote_addr": "192.0.2.7", "remote_port": None, "realip_remote_addr": "10.0.0.1"}
        )
        self.check(exchange(tls=True), {"scheme": "https", "https": "on", "is_args": "", "args": ""})
        self.assertIsInstance(getter("hostname")(subject), str)

    def test_arguments(self) -> None:
        """``arg_x`` is the first value of that name, decoded; names are case-sensitive."""
        subject = exchange(target="/?v=1&v=2&e&a%20b=%C3%A9+x&n-m=3&b=%ff")
        self.check(
            subject,
            {
                "arg_v": "1",
                "arg_e": "",
                "arg_a b": "é x",
                "arg_n-m": "3",
                "arg_V": None,
                "arg_b": "\udcff",
                "arg_": None,
            },
        )

    def test_fields(self) -> None:
        """``http_x_y`` is the field X-Y; several lines are joined; X_Y counts only where there is no X-Y."""
        subject = exchange(
            headers=[
                ("X-A", "1"),
                ("x-a", "2"),
                ("X_A", "3"),
                ("Y_B", "4"),
                ("Cookie", "a=1"),
                ("Cookie", "b=2"),
            ]
        )
        subject.fields.add(b"x-utf", "é".encode())
        subject.fields.add(b"x-raw", b"\xff")
        self.check(
            subject,
            {
                "http_x_a": "1, 2",
                "http_X_A": "1, 2",
                "http_y_b": "4",
                "http_cookie": "a=1; b=2",
                "http_x_utf": "é",
                "http_x_raw": "\udcff",
                "http_x_none": None,
                "http_none": None,
                "cookie_a": "1",
                "cookie_b": "2",
                "cookie_c": None,
            },
        )

    def test_fields_of_the_answer(self) -> None:
        """``sent_http_x_y`` is the answer's field X-Y; the length is known apart."""
        subject = exchange()
        self.check(subject, {"sent_http_a_b": None, "sent_http_content_length": None})
        subject.response_fields.add(b"a-b", b"1")
        subject.response_fields.add(b"a-b", b"\xc3\xa9")
        subject.response_length = 0
        self.check(
            subject, {"sent_http_a_b": "1, é", "sent_http_A_B": "1, é", "sent_http_content_length": "0"}
        )

    def test_plugins_changes_show(self) -> None:
        """Variables show the request as plugins have changed it."""
        subject = exchange(target="/?a=1", headers=[("X-A", "1")])
        subject.fields.set(b"x-a", b"2")
        subject.target, subject.method = b"/b?a=2", b"POST"
        self.check(subject, {"http_x_a": "2", "arg_a": "2", "method": "POST", "request_uri": "/?a=1"})

    def test_remote_user(self) -> None:
        """``remote_user`` is the user of Basic credentials, if they are any."""
        for value, want in [
            ("Basic " + base64.b64encode(b"bob:pa:ss").decode(), "bob"),
            ("bAsIc  " + base64.b64encode(b":x").decode(), ""),
            ("Basic Ym9iOng", "bob"),
            ("Basic " + base64.b64encode(b"bob").decode(), None),
            ("Basic !!!", None),
            ("Basic", None),
            ("Bearer x", None),
        ]:
            self.check(exchange(headers=[("Authorization", value)]), {"remote_user": want})
        self.check(exchange(), {"remote_user": None})

    def test_gateway_state(self) -> None:
        """Route, service, consumer, tries and outcome are there once they are known."""
        names = [
            *("status", "route_id", "route_name", "service_id", "service_name", "consumer_name", "outcome"),
            *(
                "consumer_group_id",
                "credential_id",
                "balancer_ip",
                "balancer_port",
                "upstream_addr",
                "reason",
            ),
            *(
                "upstream_status",
                "upstream_response_time",
                "upstream_scheme",
                "upstream_host",
                "upstream_uri",
            ),
            *("uri_param_id", "upstream_unresolved_host"),
        ]
        subject = exchange(target="/x?y", headers=[("Host", "foo.com")])
        self.check(subject, dict.fromkeys(names))
        subject.route = route()
        subject.consumer = consumer("jack", group_id="g")
        subject.credential_id = "c1"
        subject.path_params = {"id": "7"}
        subject.status = 200
        subject.attempts = [
            Attempt("10.0.0.1:80", 502, 0.0014, "upstream_closed"),
            Attempt("[::1]:81", 200, 1.5, "ok"),
        ]
        self.check(subject, {"status": "200"})
        subject.outcome = Outcome(499, "client", "client_gone")
        values = [
            *("499", "r1", "one", "s1", "svc", "jack", "client"),
            *("g", "c1", "::1", "81", "10.0.0.1:80, [::1]:81", "client_gone"),
            *("502, 200", "0.001, 1.500", "http", "foo.com", "/x?y"),
            *("7", "::1"),
        ]
        self.check(subject, dict(zip(names, values, strict=True)))
        self.check(subject, {"uri_arg_id": "7", "uri_param_other": None})
        subject.attempts = [Attempt("up.example:80", 200, 0.1, "ok")]
        self.check(subject, {"upstream_unresolved_host": "up.example"})

    def test_upstream_host(self) -> None:
        """``upstream_host`` is what the upstream gets as Host."""
        subject = exchange(headers=[("Host", "foo.com:1")])
        for held, want in [
            (route(), "foo.com:1"),
            (route(pass_host="rewrite", upstream_host="up.com"), "up.com"),
            (route(pass_host="node"), None),
        ]:
            subject.route = held
            self.check(subject, {"upstream_host": want})
        subject.attempts = [Attempt("n:80", 200, 0, "ok")]
        self.check(subject, {"upstream_host": "n:80"})
        subject.upstream_host = b"plugin.com"
        self.check(subject, {"upstream_host": "plugin.com"})
        subject.route.upstream = None  # type: ignore[union-attr, misc]
        self.check(subject, {"upstream_scheme": None, "upstream_host": "plugin.com"})

    def test_times(self) -> None:
        """Times are the server's local time, with its offset."""
        before = os.environ.get("TZ")

        def restore() -> None:
            if before is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        for zone, now, local, iso in [
            ("UTC0", 1_700_000_001.5, "14/Nov/2023:22:13:21 +0000", "2023-11-14T22:13:21+00:00"),
            ("XXX-5:30", 1_700_000_002.5, "15/Nov/2023:03:43:22 +0530", "2023-11-15T03:43:22+05:30"),
            ("XXX3", 1_700_000_003.5, "14/Nov/2023:19:13:23 -0300", "2023-11-14T19:13:23-03:00"),
        ]:
            os.environ["TZ"] = zone
            time.tzset()
            self.check(exchange(now=now), {"time_local": local, "time_iso8601": iso})

    def test_unknown(self) -> None:
        """A name that means nothing, or content that is not read yet, is absent."""
        subject = exchange("POST", "/?a=1", [("Content-Type", "application/x-www-form-urlencoded")])
        for name in [
            "",
            "nonsense",
            "post_arg_a",
            "post_arg.a.b",
            "graphql_name",
            "http_",
            "$uri",
            "__class__",
        ]:
            self.check(subject, {name: None})


class TemplateTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Templates put variables into text; absent ones leave nothing or their default."""
        subject = exchange("GET", "/x?a=1&e=", [("Host", "h")])
        for text, want in [
            ("", ""),
            ("plain", "plain"),
            ("$uri", "/x"),
            ("${uri}", "/x"),
            ("$remote_addr $http_host", "127.0.0.1 h"),
            ("a$arg_a-b", "a1-b"),
            ("${arg_a}b", "1b"),
            ("$arg_ab", ""),
            ("[$nope]", "[]"),
            ("${nope ?? dflt}", "dflt"),
            ("${ nope??a b }", "a b"),
            ("${arg_a ?? dflt}", "1"),
            ("${arg_e ?? dflt}", ""),
            ("${nope ??}", ""),
            (r"\$uri", "$uri"),
            (r"\\$uri", "\\/x"),
            (r"\\\$uri", r"\$uri"),
            (r"\d+\.", r"\d+\."),
            ("$", "$"),
            ("$$uri", "$/x"),
            ("5$ ${", "5$ ${"),
            ("${}", "${}"),
            ("$uri$uri", "/x/x"),
            ("${http_x-y}", ""),
        ]:
            self.assertEqual(compile_template(text)(subject), want, text)

    def test_paths(self) -> None:
        """A path into content follows post_arg; elsewhere a dot ends the name."""
        subject = exchange("POST", "/x", [("Host", "h"), ("Content-Type", "application/json")])
        subject.content = b'{"a": {"b": [1, 2]}, "c": "d"}'
        for text, want in [
            ("$post_arg.c", "d"),
            ("<$post_arg.a.b[1]>", "<2>"),
            ("$post_arg.c.", "d."),
            ("${post_arg.c}.x", "d.x"),
            ("$post_arg.nope", ""),
            ("$http_host.example", "h.example"),
        ]:
            self.assertEqual(compile_template(text)(subject), want, text)

    def test_resolve(self) -> None:
        """Whoever needs to know is told how many variables had a value."""
        subject = exchange("GET", "/x")
        template = compile_template("$uri-$nope-${nope ?? x}")
        self.assertEqual(template.names, ("uri", "nope", "nope"))
        self.assertEqual(template.resolve(subject), ("/x--x", 1))
        self.assertEqual(compile_template("constant").resolve(subject), ("constant", 0))

    def test_spell(self) -> None:
        """Values that are no text are spelled the way JSON users expect."""
        for value, want in [
            (["a", 1, None], "a, 1, "),
            (True, "true"),
            (False, "false"),
            (None, ""),
            (1.5, "1.5"),
        ]:
            self.assertEqual(spell(value), want)
