"""Tests for gateway.plugins.request_validation."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.core.regex_limits import MatchTimeout
from gateway.plugins import request_validation
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import finish
from tests.plugins.kit import PluginTestCase, Source
from tests.slow_regex import PATTERN, TEXT, short_limit

BODY = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 2}, "age": {"type": "integer", "minimum": 0}},
}
FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")


def sent(content: bytes = b"", *headers: tuple[str, str]) -> Exchange:
    made = exchange("POST", "/", headers)
    made.source = Source(content)
    return made


class RequestValidationTests(PluginTestCase):
    factory = request_validation.plugin

    def verdict(self, config: dict[str, Any], made: Exchange) -> Reply | None:
        return self.run_hook(self.make(config).rewrite(made))

    def refused(self, config: dict[str, Any], made: Exchange) -> tuple[int, bytes | None]:
        reply = self.verdict(config, made)
        assert reply is not None
        self.assertIn(reply.reason, ("request_headers_invalid", "request_body_invalid"))
        return reply.status, reply.body

    def test_interfaces(self) -> None:
        """It runs before authentication."""
        self.provides("request-validation", 2800)

    def test_headers(self) -> None:
        """Fields must fit their schema, whatever the letter case of their names."""
        schema = {
            "type": "object",
            "required": ["X-Id"],
            "properties": {"X-Id": {"type": "string", "pattern": "^[0-9]+$"}, "X-List": {"type": "array"}},
        }
        config = {"header_schema": schema}
        self.assertIsNone(self.verdict(config, sent(b"", ("x-ID", "5"), ("x-list", "a"), ("x-list", "b"))))
        self.assertEqual(self.refused(config, sent()), (400, b'property "X-Id" is required'))
        status, text = self.refused(config, sent(b"", ("X-Id", "a")))
        self.assertEqual(
            (status, text),
            (400, b'property "X-Id" validation failed: failed to match pattern "^[0-9]+$" with "a"'),
        )
        nested = {"header_schema": {"anyOf": [{"required": ["A"]}, {"not": {"required": ["B"]}}]}}
        self.assertIsNone(self.verdict(nested, sent(b"", ("a", "1"), ("b", "1"))))
        self.assertIsNotNone(self.verdict(nested, sent(b"", ("b", "1"))))

    def test_json(self) -> None:
        """Content must fit its schema; what was checked is what is sent."""
        made = sent(b'{ "name": "Jack", "name" : "J\xc3\xbcrgen", "age": 1e2 }')
        schema = {**BODY, "properties": {"name": {"type": "string"}}}
        self.assertIsNone(self.verdict({"body_schema": schema}, made))
        self.assertEqual(made.content, '{"name":"Jürgen","age":100.0}'.encode())
        config = {"body_schema": BODY}
        self.assertEqual(self.refused(config, sent(b"{}")), (400, b'property "name" is required'))
        self.assertEqual(
            self.refused(config, sent(b'{"name":"x"}'))[1],
            b'property "name" validation failed: string too short, expected at least 2, got 1',
        )

    def test_defaults(self) -> None:
        """What is not there and has a default is added, wherever in the content, before it is checked."""
        schema = {
            "type": "object",
            "required": ["kind"],
            "properties": {
                "kind": {"type": "string", "default": "book"},
                "tags": {"type": "array", "default": ["new"]},
                "parts": {"items": {"properties": {"count": {"default": 1, "x-default": 2}}}},
                "any": True,
            },
        }
        config = {"body_schema": schema}
        for content, wanted in (
            (b"{}", b'{"kind":"book","tags":["new"]}'),
            (
                b'{"kind":"map","parts":[{},{"count":2},3]}',
                b'{"kind":"map","parts":[{"count":1},{"count":2},3],"tags":["new"]}',
            ),
        ):
            made = sent(content)
            self.assertIsNone(self.verdict(config, made))
            self.assertEqual(made.content, wanted)
        self.assertEqual(self.refused(config, sent(b"[]"))[0], 400)
        self.assertIsNone(self.verdict(config, sent(b"a=1", FORM)))

    def test_formats(self) -> None:
        """Some formats are checked; the others say nothing."""
        for name, good, bad in (
            ("ipv4", "192.0.2.1", "192.0.2.256"),
            ("ipv6", "2001:db8::1", "2001:db8"),
            ("email", "a@example.com", "example.com"),
            ("hostname", "a-1.example.com", "-a.example.com"),
        ):
            config = {"body_schema": {"properties": {"a": {"format": name}}}}
            self.assertIsNone(self.verdict(config, sent(b'{"a":"%s"}' % good.encode())))
            self.assertIsNone(self.verdict(config, sent(b'{"a":5}')))
            text = f'property "a" validation failed: expect valid {name} format but got: {bad}'
            self.assertEqual(self.refused(config, sent(b'{"a":"%s"}' % bad.encode())), (400, text.encode()))
        config = {"body_schema": {"properties": {"a": {"format": "uri"}}}}
        self.assertIsNone(self.verdict(config, sent(b'{"a":"no uri"}')))
        headers = {"header_schema": {"properties": {"X-Ip": {"format": "ipv4"}}}}
        self.assertEqual(self.refused(headers, sent(b"", ("X-Ip", "x")))[0], 400)

    def test_form(self) -> None:
        """A form's fields are checked as text, and sent as they were."""
        made = sent(b"name=Jack&tag=a&tag=b&empty=", FORM)
        schema = {**BODY, "properties": {"tag": {"type": "array"}, "empty": {"const": ""}}}
        self.assertIsNone(self.verdict({"body_schema": schema}, made))
        self.assertIsNone(made.content)
        self.assertEqual(self.refused({"body_schema": BODY}, sent(b"name=J", FORM))[0], 400)

    def test_not_json(self) -> None:
        """What is no JSON is refused, however it goes wrong."""
        for content in (
            b"{",
            b"\xff",
            b"NaN",
            b'{"a":Infinity}',
            b"[" * 100_000,
            b"1e999",
            b"1" * 5000,
            b"name=Jack",
        ):
            status, text = self.refused({"body_schema": {}}, sent(content))
            self.assertEqual(status, 400)
            self.assertLessEqual(len(text or b""), 300)

    def test_surrogates(self) -> None:
        """Half a character is JSON all the same, and goes on as it came."""
        made = sent(b'{"name":"\\ud800x"}')
        self.assertIsNone(self.verdict({"body_schema": BODY}, made))
        self.assertEqual(made.content, b'{"name":"\\ud800x"}')

    def test_thread(self) -> None:
        """Content that is large is checked in a thread, with the same outcome."""
        asked: list[str] = []

        def in_thread(work: Any) -> Any:
            asked.append("thread")
            return maybeDeferred(work)

        services = self.world.services(
            in_thread=in_thread,
            settings={"request_validation_thread_bytes": "10", "request_validation_form_fields": "2"},
        )
        plugin = self.factory.make({"body_schema": BODY}, services)

        def verdict(made: Any) -> Any:
            return self.successResultOf(Deferred.fromCoroutine(plugin.rewrite(made)))

        self.assertEqual(verdict(sent(b"{}")).body, b'property "name" is required')
        self.assertEqual(asked, [])
        made = sent(b'{ "name": "J\xc3\xbcrgen", "a": [1, 2.50, true, null, {"b": "\\ud800"}] }')
        self.assertIsNone(verdict(made))
        self.assertEqual(made.content, b'{"name":"J\\u00fcrgen","a":[1,2.5,true,null,{"b":"\\ud800"}]}')
        self.assertEqual(verdict(sent(b'{"name":             "J"}')).status, 400)
        self.assertEqual(verdict(sent(b'{"name":"Jack","a":1e999}')).status, 400)
        self.assertEqual(verdict(sent(b"[" * 100_000)).status, 400)
        self.assertEqual(verdict(sent(b"name=Jack&a=1&b=2", FORM)).status, 400)
        self.assertIsNone(verdict(sent(b"name=Jack&a=1", FORM)))
        self.assertEqual(asked, ["thread"] * 6)

    def test_no_content(self) -> None:
        """No content, or two types for it: the status only, or the message of the settings."""
        twice = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
        for made in (sent(), sent(b'{"name":"Jack"}', *twice)):
            self.assertEqual(self.refused({"body_schema": BODY}, made), (400, None))
        self.assertEqual(self.refused({"body_schema": BODY, "rejected_msg": "no"}, sent()), (400, b"no"))

    def test_rejection(self) -> None:
        """Status and content of a refusal can be said."""
        config = {"body_schema": BODY, "rejected_code": 422, "rejected_msg": "wrong"}
        self.assertEqual(self.refused(config, sent(b"{}")), (422, b"wrong"))
        config = {"header_schema": {"required": ["a"]}, "rejected_code": 403, "rejected_msg": "no"}
        self.assertEqual(self.refused(config, sent()), (403, b"no"))

    def test_limit(self) -> None:
        """Content beyond the limit is left to the gateway's own answer, 413."""
        plugin = self.make({"body_schema": BODY, "max_req_body_size": 10})
        self.failureResultOf(Deferred.fromCoroutine(plugin.rewrite(sent(b"x" * 11))), ContentTooLarge)

    def test_schema(self) -> None:
        """Settings that cannot work are refused."""
        for config in (
            {},
            {"body_schema": "x"},
            {"body_schema": {}, "rejected_code": 199},
            {"body_schema": {}, "rejected_msg": ""},
            {"body_schema": {}, "rejected_msg": "x" * 257},
            {"body_schema": {"type": "text"}},
            {"header_schema": {"required": "a"}},
        ):
            self.assertTrue(self.problems(config), config)

    def test_slow_patterns(self) -> None:
        """What a pattern takes too long for does not pass; many texts share one limit."""
        short_limit(self)
        text = {"type": "string", "pattern": f"^(?!{PATTERN})"}
        fields = {"type": "object", "properties": {"x-a": text}}
        self.assertRaises(MatchTimeout, self.verdict, {"header_schema": fields}, sent(b"", ("x-a", TEXT)))
        config = {"body_schema": {"type": "object", "patternProperties": {PATTERN: True}}}
        made = sent(b'{"%s": 1}' % TEXT.encode())
        self.assertRaises(MatchTimeout, finish, self.make(config).rewrite(made))
        # Each of them alone is in time.
        texts = [f'"{"a" * length}!"' for length in range(10, 20)]
        config = {"body_schema": {"type": "array", "items": text}}
        self.assertIsNone(self.verdict(config, sent(f"[{texts[0]}]".encode())))
        made = sent(f"[{','.join(texts * 60)}]".encode())
        self.assertRaises(MatchTimeout, finish, self.make(config).rewrite(made))

    def test_end_of_text(self) -> None:
        """``$`` is the very end of a text, for patterns with a limit too."""
        config = {"body_schema": {"type": "string", "pattern": "^(a|aa)+$"}}
        self.assertIsNone(self.verdict(config, sent(b'"aaa"')))
        self.refused(config, sent(b'"aaa\\n"'))
