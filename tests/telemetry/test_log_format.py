"""What the access log writes about a request."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.auth import REDACTED_ARGS
from gateway.core.exchange import Attempt, Exchange, Outcome
from gateway.settings import ACCESS_FORMAT
from gateway.telemetry.log_format import (
    JSON_VARIABLES,
    check_format,
    compile_format,
    escaped,
    json_string,
    unknown_variables,
)
from gateway.telemetry.log_values import MAX_VALUE_CHARS
from gateway.testing.exchanges import exchange

STARTED_S = 1_700_000_000.0
ENDED_S = STARTED_S + 0.1234


def ended(target: str = "/a/b?page=1", headers: list[tuple[str, str]] | None = None, **more: Any) -> Exchange:
    """A request that was answered 200 by the second node."""
    made = exchange(target=target, headers=headers or [("Host", "example.com")], now=STARTED_S, **more)
    made.status = 200
    made.bytes_sent = 42
    made.attempts += [
        Attempt("192.0.2.1:80", 502, 1.0, "upstream_closed"),
        Attempt("[2001:db8::1]:80", 200, 0.0104, "ok"),
    ]
    made.outcome = Outcome(200, "upstream", "ok", "some detail")
    return made


def line(template: str, subject: Exchange, **more: Any) -> str:
    return compile_format(template, **more)(subject, ENDED_S)


class ZoneTestCase(SynchronousTestCase):
    """Local time is UTC."""

    def setUp(self) -> None:
        self.patch(time, "localtime", time.gmtime)


class DefaultFormatTests(ZoneTestCase):
    def test_line(self) -> None:
        """The default line tells what users expect it to, and how the request ended."""
        headers = [
            ("Host", "Example.com"),
            ("User-Agent", "curl/8"),
            ("Authorization", "Basic amFjazpzZXNhbQ=="),
        ]
        self.assertEqual(
            line(ACCESS_FORMAT, ended(headers=headers)),
            "127.0.0.1 - jack [14/Nov/2023:22:13:20 +0000] Example.com "
            '"GET /a/b?page=1 HTTP/1.1" 200 42 0.123 "-" "curl/8" '
            "192.0.2.1:80, [2001:db8::1]:80 502, 200 1.000, 0.010 "
            '"-://--" "0123456789abcdef" upstream ok',
        )

    def test_no_unknown_names(self) -> None:
        """Every variable of the default formats exists."""
        self.assertEqual(unknown_variables(ACCESS_FORMAT), [])
        self.assertEqual(unknown_variables(" ".join(f"${name}" for name in JSON_VARIABLES)), [])
        self.assertEqual(unknown_variables("json"), [])

    def test_nothing_known(self) -> None:
        """A request that came to nothing still has a line."""
        bare = exchange(target="*", now=STARTED_S)
        text = line(ACCESS_FORMAT, bare)
        self.assertEqual(
            text,
            '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] - "GET * HTTP/1.1" - 0 0.123 "-" "-" - - - "-://--" '
            '"0123456789abcdef" - -',
        )

    def test_every_second_its_time(self) -> None:
        """The time is each request's own."""
        compiled = compile_format("$time_local $time_iso8601")
        got = [compiled(exchange(now=at), at) for at in (0.0, 0.9, 1.0, 0.5)]
        zero, one = (f"01/Jan/1970:00:00:0{s} +0000 1970-01-01T00:00:0{s}+00:00" for s in "01")
        self.assertEqual(got, [zero, zero, one, zero])


class TemplateTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """Both spellings of a variable work, and other text stands for itself."""
        subject = ended()
        self.assertEqual(
            line("${status}0 $status% $ 100%s {x} $status", subject), "2000 200% $ 100%s {x} 200"
        )

    def test_braces_in_names(self) -> None:
        """Braces allow for names with a dash."""
        self.assertEqual(line("${arg_a-b}", ended("/?a-b=1")), "1")

    def test_absent(self) -> None:
        """What is absent or empty is a dash."""
        self.assertEqual(line("$http_x $args $nonsense", ended("/", [("X", "")])), "- - -")

    def test_ends_before_it_began(self) -> None:
        """A clock that was set back does not give negative times."""
        self.assertEqual(compile_format("$request_time")(ended(), STARTED_S - 60), "0.000")

    def test_own_variables(self) -> None:
        """The outcome has names of its own."""
        self.assertEqual(line("$outcome_by $reason '$detail'", ended()), "upstream ok 'some\\x20detail'")
        self.assertEqual(line('"$reason_detail"', ended()), '"some detail"')

    def test_unknown(self) -> None:
        """Names that mean nothing are found."""
        self.assertEqual(unknown_variables("$status $statsu ${request_time} $arg_x"), ["statsu"])

    def test_check(self) -> None:
        """What is wrong with a format can be told at the start: misspelt variables, stray dollar signs."""
        for fine in (ACCESS_FORMAT, "json", " json ", "no variables", "${arg_a-b} $detail $reason_detail"):
            self.assertEqual(check_format(fine), [], fine)
        self.assertEqual(check_format("$statsu $status $statsu"), ["$statsu is no variable"])
        self.assertEqual(
            check_format("${nope} $"),
            ["$nope is no variable", "a $ is not followed by the name of a variable"],
        )
        for stray in ("$ status", "${status", "$", "$$status", "${}"):
            self.assertEqual(check_format(stray), ["a $ is not followed by the name of a variable"], stray)

    def test_wrong_escape(self) -> None:
        """There are two ways to escape, and no third."""
        error = self.assertRaises(ValueError, compile_format, "$status", escape="xml")
        self.assertIn("'xml'", str(error))

    def test_long_values(self) -> None:
        """A value that is too long is cut."""
        text = line("[$http_x]", ended(headers=[("X", "y" * (MAX_VALUE_CHARS + 1))]))
        self.assertEqual(text, "[" + "y" * (MAX_VALUE_CHARS - 3) + "...]")


class EscapeTests(SynchronousTestCase):
    def test_escaped(self) -> None:
        """Quotes, backslashes, control characters and all past ASCII are written as bytes."""
        self.assertEqual(
            escaped('a"b\\c\r\n\x1b\x7fé\udcff'), "a\\x22b\\x5Cc\\x0D\\x0A\\x1B\\x7F\\xC3\\xA9\\xFF"
        )
        self.assertEqual(escaped("a b"), "a b")
        self.assertEqual(escaped("a b", spaces=True), "a\\x20b")
        self.assertEqual(escaped("\ud800"), "\\xED\\xA0\\x80")

    def test_in_a_line(self) -> None:
        """A client can neither end the line, nor its quoted part, nor begin a new column."""
        headers = [("Host", 'a 200 "x'), ("User-Agent", 'x" 200 "\n127.0.0.1 - - \x1b[2J')]
        self.assertEqual(
            line('$http_host "$http_user_agent" $status', ended(headers=headers)),
            'a\\x20200\\x20\\x22x "x\\x22 200 \\x22\\x0A127.0.0.1 - - \\x1B[2J" 200',
        )

    def test_spaces(self) -> None:
        """Spaces in what a client says are kept in quotes; the gateway's own are kept anywhere."""
        subject = ended(headers=[("X", "a b")])
        self.assertEqual(line('"$http_x" $http_x $upstream_status', subject), '"a b" a\\x20b 502, 200')

    def test_quotes_of_the_format(self) -> None:
        """Whatever the format itself holds is written as it is."""
        self.assertEqual(line('\\"é$status"', ended()), '\\"é200"')
        self.assertEqual(line('\\"é$http_x"', ended(headers=[("X", '"')])), '\\"é\\x22"')

    @settings(deadline=None, max_examples=150)
    @given(st.text(max_size=20), st.binary(max_size=20))
    def test_one_line_of_columns(self, text: str, raw: bytes) -> None:
        """Whatever comes in, a line can be told apart again into the same columns."""
        subject = ended(headers=[("Host", "h")])
        subject.fields.add(b"x", raw)
        subject.path = text
        got = line('$uri "$http_x" $status', subject)
        self.assertTrue(got.isascii() and got.isprintable(), got)
        path, rest = got.split(" ", 1)
        field, status = rest[1:].split('"')
        self.assertEqual(status, " 200")
        undone = field.encode().decode("unicode_escape").encode("latin-1")
        self.assertEqual(undone if raw else b"-", undone)
        if raw:
            self.assertEqual(undone, raw)
        self.assertNotIn(" ", path)


class JsonTests(ZoneTestCase):
    def test_object(self) -> None:
        """The format json gives an object with numbers as numbers and null for what is absent."""
        got = json.loads(line("json", ended(headers=[("Host", "example.com"), ("User-Agent", 'a"\n')])))
        self.assertEqual(list(got), list(JSON_VARIABLES))
        for name, value in {
            "time_iso8601": "2023-11-14T22:13:20+00:00",
            "real_request_uri": "/a/b?page=1",
            "status": 200,
            "body_bytes_sent": 42,
            "request_time": 0.123,
            "http_user_agent": 'a"\n',
            "http_referer": None,
            "upstream_status": "502, 200",
            "outcome_by": "upstream",
            "reason_detail": "some detail",
        }.items():
            self.assertEqual(got[name], value, name)

    def test_early_end(self) -> None:
        """So it does for a request that was never answered."""
        got = json.loads(line("json", exchange(now=STARTED_S)))
        self.assertEqual((got["status"], got["reason"], got["upstream_addr"]), (None, None, None))

    def test_template(self) -> None:
        """A template may spell out an object of its own."""
        template = '{"agent":"$http_user_agent","status":$status,"ref":"$http_referer"}'
        got = line(template, ended(headers=[("User-Agent", 'a"\\\n')]), escape="json")
        self.assertEqual(json.loads(got), {"agent": 'a"\\\n', "status": 200, "ref": ""})

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=20), st.text(st.characters(), max_size=10))
    def test_always_json(self, raw: bytes, text: str) -> None:
        """Whatever comes in, it is one line of JSON that any reader takes."""
        subject = ended()
        subject.fields.add(b"user-agent", raw)
        subject.path = text
        got = line("json", subject)
        self.assertTrue(got.isascii() and got.isprintable())
        agent = json.loads(got)["http_user_agent"]
        self.assertEqual(agent, raw.decode("utf-8", "replace") or None)
        json.loads(json_string(text)).encode("utf-8")


class SecretTests(SynchronousTestCase):
    """Credentials do not reach the log."""

    QUERIES = '"$request" $args $request_uri $real_request_uri $upstream_uri $arg_jwt'

    def test_known_names(self) -> None:
        """The usual credentials in a query are hidden, also where no plugin had a look."""
        for name in ("jwt", "apikey", "access_token"):
            subject = ended(f"/x?a=1&{name}=hunter2&b=2")
            text = line("$request_uri|$args|$query_string", subject)
            uri, args, query = text.split("|")
            self.assertEqual(uri, f"/x?a=1&{name}=***&b=2")
            self.assertEqual((args, query), (f"a=1&{name}=***&b=2",) * 2)

    def test_every_variable(self) -> None:
        """No variable that holds the query or the target tells the secret, nor does a link to the page."""
        subject = ended("/x?jwt=hunter2", [("Referer", "http://h/y?q=1&jwt=hunter2")])
        text = line(f"{self.QUERIES} $http_referer", subject)
        self.assertNotIn("hunter2", text)
        self.assertTrue(text.startswith('"GET /x?jwt=*** HTTP/1.1" jwt=*** '), text)
        self.assertTrue(text.endswith(" *** http://h/y?q=1&jwt=***"), text)

    def test_plugins_names(self) -> None:
        """A name that a plugin's configuration gives to the credential is hidden where the plugin ran."""
        subject = ended("/x?token=hunter2&jwt=hunter3")
        self.assertIn("token=hunter2", line(self.QUERIES, subject))
        subject.context[REDACTED_ARGS] = {"token"}
        text = line(self.QUERIES + " $arg_token", subject)
        self.assertNotIn("hunter", text)
        self.assertTrue(text.endswith(" ***"))

    def test_spelt_otherwise(self) -> None:
        """Percent escapes in the name do not help, and a repeated argument is hidden each time."""
        text = line("$args", ended("/x?%6Awt=hunter2&jwt=hunter3&jwt=&jwt"))
        self.assertEqual(text, "%6Awt=***&jwt=***&jwt=&jwt")
        subject = ended("/")
        subject.target = "/?кл%D1%8E%D1".encode() + b"\x87=hunter2"
        subject.context[REDACTED_ARGS] = {"ключ"}
        self.assertNotIn("hunter2", line("$args", subject))

    def test_fields(self) -> None:
        """Of credentials in fields the scheme is shown, of cookies nothing."""
        headers = [
            ("Authorization", "Bearer hunter2"),
            ("Cookie", "a=hunter2; jwt=hunter2"),
            ("apikey", "hunter2"),
        ]
        text = line("$http_authorization $http_cookie $http_apikey $cookie_jwt", ended(headers=headers))
        self.assertEqual(text, "Bearer\\x20*** *** *** ***")
        self.assertEqual(line("$http_authorization", ended(headers=[("Authorization", "hunter2")])), "***")
        self.assertEqual(line("$http_authorization $http_cookie", ended()), "- -")

    def test_json(self) -> None:
        """Nor does the format json tell them."""
        headers = [("Host", "h"), ("Referer", "/?apikey=hunter2"), ("Authorization", "Bearer hunter2")]
        self.assertNotIn("hunter2", line("json", ended("/x?jwt=hunter2", headers)))
