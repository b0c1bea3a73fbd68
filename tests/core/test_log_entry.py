"""Tests for gateway.core.log_entry."""

from __future__ import annotations

import gzip
import json
from typing import Any

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Attempt, Exchange, Outcome
from gateway.core.fields import Fields
from gateway.core.log_entry import EntryMaker, upstream_seconds
from gateway.testing.exchanges import consumer, exchange
from tests.slow_regex import PATTERN, TEXT, short_limit

NOW = 1_700_000_000.25


@frozen
class Route:
    id: str = "r1"
    name: str = "cart"
    service_id: str | None = "s1"


class Source:
    recorded = b"request content"

    def __init__(self) -> None:
        self.limits: list[int] = []

    def record(self, max_bytes: int) -> None:
        self.limits.append(max_bytes)


def ended(target: str = "/cart?a=1&jwt=secret", *, route: Any = Route()) -> Exchange:
    made = exchange("POST", target, [("Host", "shop.example"), ("X-A", "1"), ("Authorization", "Bearer t")])
    made.route = route
    made.outcome = Outcome(200, "upstream", "ok")
    made.status, made.bytes_sent = 200, 5
    made.response_fields = Fields([(b"content-type", b"text/plain"), (b"set-cookie", b"s=1")])
    made.attempts.append(Attempt("10.0.0.1:80", 200, 0.1, "ok"))
    made.from_upstream, made.answered_at = True, 50.0
    made.consumer = consumer("jack")
    source: Any = Source()
    made.source = source
    return made


def entry(
    config: dict[str, Any], made: Exchange, metadata: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return EntryMaker.parse(config, metadata or {}, **more).entry(made, NOW, 50.05)


class DefaultTests(SynchronousTestCase):
    def test_everything(self) -> None:
        """The default entry tells all there is, and no credential."""
        found = entry({}, ended(), hostname="host", version="0.1")
        size = found["request"].pop("size")
        self.assertGreater(size, 60)
        self.assertEqual(
            found,
            {
                "request": {
                    "url": "http://shop.example:9080/cart?a=1&jwt=***",
                    "uri": "/cart?a=1&jwt=***",
                    "method": "POST",
                    "headers": {"host": "shop.example", "x-a": "1", "authorization": "Bearer ***"},
                    "querystring": {"a": "1", "jwt": "***"},
                },
                "response": {
                    "status": 200,
                    "headers": {"content-type": "text/plain", "set-cookie": "***"},
                    "size": 19 + len("content-type: text/plain\r\nset-cookie: s=1\r\n") + 5,
                },
                "server": {"hostname": "host", "version": "0.1"},
                "upstream": "10.0.0.1:80",
                "route_id": "r1",
                "service_id": "s1",
                "consumer": {"username": "jack"},
                "client_ip": "127.0.0.1",
                "start_time": 1_700_000_000_000,
                "latency": 250.0,
                "upstream_latency": 150.0,
                "apisix_latency": 100.0,
            },
        )

    def test_no_route(self) -> None:
        """Without a route the host stands for the service."""
        made = exchange("GET", "/x", [("Host", "a.example")])
        found = entry({}, made, no_route="no-matched")
        self.assertEqual((found["service_id"], found["route_id"]), ("a.example", "no-matched"))
        self.assertNotIn("route_id", entry({}, made))
        self.assertNotIn("upstream_latency", found)
        self.assertIsNone(upstream_seconds(made, 0.0))

    def test_extra(self) -> None:
        """More can be added, and nothing replaced."""
        extra = {"log_format_extra": {"env": "prod", "client_ip": "no", "arg": "$arg_a"}}
        found = entry(extra, ended())
        self.assertEqual((found["env"], found["client_ip"], found["arg"]), ("prod", "127.0.0.1", "1"))
        found = entry({}, ended(), extra)
        self.assertEqual(found["env"], "prod")

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=40), st.binary(max_size=20))
    def test_arbitrary_bytes(self, target: bytes, value: bytes) -> None:
        """Whatever a request holds, the entry is JSON."""
        made = ended("/" + target.decode("latin-1"))
        made.request.fields[1:2]  # The fields of a request are never changed.
        made.response_fields.add(b"x", value)
        json.dumps(entry({}, made)).encode("ascii")
        json.dumps(entry({"log_format": {"u": "$uri", "q": "$args", "all": "a $request_uri"}}, made)).encode()


class FormatTests(SynchronousTestCase):
    def test_own_form(self) -> None:
        """A form of one's own holds text, variables and objects; route and service are added."""
        form = {
            "host": "$host",
            "text": "plain",
            "number": 5,
            "mixed": "$request_method $uri",
            "absent": "$arg_none",
            "status": "${status}",
            "nested": {"a": {"time": "$request_time", "key": "$arg_jwt"}},
        }
        found = entry({"log_format": form}, ended(), {"log_format": {"other": "x"}})
        self.assertEqual(
            found,
            {
                "host": "shop.example",
                "text": "plain",
                "number": 5,
                "mixed": "POST /cart",
                "status": "200",
                "nested": {"a": {"time": "0.250", "key": "***"}},
                "route_id": "r1",
                "service_id": "s1",
            },
        )
        self.assertEqual(entry({}, ended(), {"log_format": {"other": "x"}})["other"], "x")

    def test_without_service(self) -> None:
        """A form of one's own names a service only where there is one; the default entry always does."""
        bare = Route(service_id=None)
        self.assertEqual(entry({"log_format": {"a": "b"}}, ended(route=bare)), {"a": "b", "route_id": "r1"})
        self.assertEqual(entry({}, ended(route=bare))["service_id"], "")

    def test_depth(self) -> None:
        """A form is nested five levels deep at most."""
        form: dict[str, Any] = {"a": "x"}
        for _ in range(4):
            form = {"a": form}
        EntryMaker.parse({"log_format": form}, {})
        self.assertRaises(ValueError, EntryMaker.parse, {"log_format": {"a": form}}, {})


class ContentTests(SynchronousTestCase):
    def test_request(self) -> None:
        """The request's content is recorded where it is wanted, and cut."""
        maker = EntryMaker.parse({"include_req_body": True, "max_req_body_bytes": 7}, {})
        made = ended()
        maker.watch(made)
        source: Any = made.source
        self.assertEqual(source.limits, [7])
        self.assertEqual(maker.entry(made, NOW, 50.0)["request"]["body"], "request")
        silent = EntryMaker.parse({}, {})
        silent.watch(made)
        self.assertEqual(source.limits, [7])
        self.assertNotIn("body", silent.entry(made, NOW, 50.0)["request"])

    def test_request_in_a_form(self) -> None:
        """A form may name the request's content: it is recorded then, and stands nowhere else."""
        for form in ({"b": "$request_body"}, {"a": {"b": "${request_body}"}}):
            for config in ({"log_format": form}, {"log_format_extra": form}):
                maker = EntryMaker.parse({**config, "max_req_body_bytes": 7}, {})
                self.assertTrue(maker.with_content)
                made = ended()
                maker.watch(made)
                source: Any = made.source
                self.assertEqual(source.limits, [7])
                found = maker.entry(made, NOW, 50.0)
                self.assertEqual(found.get("a", found)["b"], "request")
                self.assertNotIn("body", found.get("request", {}))
        self.assertFalse(EntryMaker.parse({"log_format": {"a": "$request_bodyless"}}, {}).with_content)

    def test_answer(self) -> None:
        """Of the answer's content the beginning is kept, by each logger as much as it wants."""
        made = ended()
        short = EntryMaker.parse({"include_resp_body": True, "max_resp_body_bytes": 3}, {}, key="a")
        long = EntryMaker.parse({"include_resp_body": True, "log_format": {"b": "$resp_body"}}, {}, key="b")
        for piece in (b"ab", b"cd\xff", b"ef"):
            short.tap(made, piece)
            long.tap(made, piece)
        self.assertEqual(short.entry(made, NOW, 50.0)["response"]["body"], "abc")
        found = long.entry(made, NOW, 50.0)
        self.assertEqual((found["b"], found["response"]["body"]), ("abcd\ufffdef", "abcd\ufffdef"))

    def test_coded_answer(self) -> None:
        """Content that is coded with gzip is logged as it reads, cut after that."""
        coded = gzip.compress(b"hello " * 100)
        for limit, wanted in ((1000, "hello " * 100), (len(coded), ("hello " * 100)[: len(coded)])):
            made = ended()
            made.response_fields.add(b"content-encoding", b"gzip")
            maker = EntryMaker.parse({"include_resp_body": True, "max_resp_body_bytes": limit}, {})
            maker.tap(made, coded)
            self.assertEqual(maker.entry(made, NOW, 50.0)["response"]["body"], wanted)

    def test_expressions(self) -> None:
        """Content can be logged for some requests only."""
        config = {
            "include_req_body": True,
            "include_req_body_expr": [["arg_a", "==", "2"]],
            "include_resp_body": True,
            "include_resp_body_expr": [["status", "==", 200]],
        }
        made = ended()
        maker = EntryMaker.parse(config, {})
        maker.tap(made, b"x")
        found = maker.entry(made, NOW, 50.0)
        self.assertNotIn("body", found["request"])
        self.assertEqual(found["response"]["body"], "x")
        bad = {"include_req_body_expr": [["a", "?", 1]]}
        error = self.assertRaises(ValueError, EntryMaker.parse, bad, {})
        self.assertIn("include_req_body_expr", str(error))


class LimitTests(SynchronousTestCase):
    def test_slow_expressions(self) -> None:
        """Where it takes too long to tell whether content is logged, the entry goes without."""
        short_limit(self)
        config = {"include_req_body": True, "include_req_body_expr": [["arg_a", "~~", PATTERN]]}
        self.assertIn("body", entry(config, ended("/?a=a"))["request"])
        self.assertNotIn("body", entry(config, ended(f"/?a={TEXT}"))["request"])
