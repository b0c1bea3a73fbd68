"""Tests for gateway.core.auth."""

from __future__ import annotations

import base64

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import auth
from gateway.core.exchange import Reply
from gateway.model.schema import Checker
from gateway.testing.exchanges import consumer, exchange


class RealmTests(SynchronousTestCase):
    def test_schema(self) -> None:
        """A realm is 1 to 128 printable ASCII characters without quote and backslash, nothing after."""
        checker = Checker(auth.realm_schema("jwt"))
        for realm in ("jwt", " ", "a b!~", "x" * 128):
            self.assertEqual(checker.problems(realm), [], realm)
        for realm in ("", "x" * 129, 'a"b', "a\\b", "jwt\n", "\njwt", "a\r\nb: c", "é", "\x7f", "\0", 7):
            self.assertNotEqual(checker.problems(realm), [], realm)

    def test_challenge(self) -> None:
        """The challenge quotes the realm; one that cannot be quoted is refused, wherever it came from."""
        self.assertEqual(
            auth.challenge("Bearer", "my api"), ((b"www-authenticate", b'Bearer realm="my api"'),)
        )
        for realm in ("", "a\r\nset-cookie: x", "jwt\n", 'a"', "x" * 129, "é"):
            self.assertRaises(ValueError, auth.challenge, "Bearer", realm)


class QueryTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Values are found by decoded name, in order, and decoded; without "=" there is none."""
        self.assertEqual(auth.query_values(b"a=1&jwt=x.y&b", "jwt"), [b"x.y"])
        self.assertEqual(auth.query_values(b"jwt=1&%6Awt=2&jwt", "jwt"), [b"1", b"2", None])
        self.assertEqual(auth.query_values(b"jwt=a%20b+c%2Bd", "jwt"), [b"a b c+d"])
        self.assertEqual(auth.query_values(b"jwt=a=b", "jwt"), [b"a=b"])
        self.assertEqual(auth.query_values(b"jwt=", "jwt"), [b""])
        self.assertEqual(auth.query_values(b"my+key=1&my%20key=2", "my key"), [b"1", b"2"])
        self.assertEqual(auth.query_values("ключ=1".encode(), "ключ"), [b"1"])
        self.assertEqual(auth.query_values(b"jwtx=1&xjwt=2&JWT=3", "jwt"), [])
        self.assertEqual(auth.query_values(b"", ""), [])
        self.assertEqual(auth.query_values(b"a%ZZ=1&jwt=%", "jwt"), [b"%"])

    def test_redact(self) -> None:
        """An argument that may hold a credential is marked for the logs, beside those marked before."""
        request = exchange(target="/a?jwt=x&b=1")
        auth.redact_argument(request, "jwt")
        auth.redact_argument(request, "key")
        self.assertEqual(request.context[auth.REDACTED_ARGS], {"jwt", "key"})
        request.target = b"/a"
        auth.redact_argument(request, "late")
        self.assertIn("late", request.context[auth.REDACTED_ARGS], "the log shows the request as it came")
        request = exchange(target="/a")
        auth.redact_argument(request, "jwt")
        self.assertEqual(request.context, {})

    def hidden(self, target: str, name: str = "jwt") -> str:
        request = exchange(target=target)
        auth.hide_argument(request, name)
        return request.target.decode("latin-1")

    def test_hide(self) -> None:
        """Just that argument goes; every other byte of the query stays as it was."""
        for before, after in (
            ("/a?jwt=x", "/a"),
            ("/a?jwt", "/a"),
            ("/a?jwt=x&b=%7e+%20&c", "/a?b=%7e+%20&c"),
            ("/a?b=1&jwt=x&c=%2F", "/a?b=1&c=%2F"),
            ("/a?b=1&&jwt=x&;c", "/a?b=1&&;c"),
            ("/a?jwt=1&%6awt=2&b=jwt&jwtx=3", "/a?b=jwt&jwtx=3"),
            ("/a?b=?jwt=x", "/a?b=?jwt=x"),
            ("/a?b=\xff&jwt=\xfe", "/a?b=\xff"),
            ("/a?", "/a?"),
            ("/a", "/a"),
        ):
            self.assertEqual(self.hidden(before), after)

    def test_args_follow(self) -> None:
        """Plugins that run later do not see what was hidden."""
        request = exchange(target="/a?jwt=x&b=1")
        self.assertEqual(len(request.args()), 2)
        auth.hide_argument(request, "jwt")
        self.assertEqual(request.args(), [("b", "1")])

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.sampled_from(["jwt=a", "jwt", "%6Awt=b", "a=1", "b", "", "=", "c=%00", "j+wt=1"])))
    def test_hidden_is_gone(self, parts: list[str]) -> None:
        """After hiding, the argument is not found, and the others are all there, in order."""
        target = self.hidden("/p?" + "&".join(parts)).partition("?")[2]
        self.assertEqual(auth.query_values(target.encode(), "jwt"), [])
        others = [part for part in parts if part and not part.startswith(("jwt", "%6A"))]
        self.assertEqual([part for part in target.split("&") if part], others)


class CookieTests(SynchronousTestCase):
    def hidden(self, *lines: str, name: str = "jwt") -> list[str]:
        request = exchange(headers=[("Host", "h"), *(("Cookie", line) for line in lines), ("X-A", "1")])
        request.cookies()
        auth.hide_cookie(request, name)
        self.assertIsNone(auth.cookie_value(request, name))
        self.assertEqual(request.fields.get_all(b"x-a"), [b"1"])
        return [line.decode("latin-1") for line in request.fields.get_all(b"cookie")]

    def test_value(self) -> None:
        """A cookie is found on any Cookie line; of several the first counts."""
        request = exchange(headers=[("Cookie", "a=1; jwt=x.y"), ("Cookie", "jwt=z; ünï=2")])
        self.assertEqual(auth.cookie_value(request, "jwt"), b"x.y")
        self.assertIsNone(auth.cookie_value(request, "b"))
        utf8 = exchange(headers=[("Cookie", "ключ=1".encode().decode("latin-1"))])
        self.assertEqual(auth.cookie_value(utf8, "ключ"), b"1")

    def test_hide(self) -> None:
        """Just that cookie goes; the others stay byte for byte, whatever is in them."""
        odd = 'a="x y"; b=%7e\xff{[; c; d=='
        self.assertEqual(self.hidden(f"jwt=t; {odd}"), [odd])
        self.assertEqual(self.hidden(f"{odd}; jwt=t"), [odd])
        self.assertEqual(self.hidden("a=1;jwt=t;  b=2"), ["a=1;  b=2"])
        self.assertEqual(self.hidden("jwt=t"), [])
        self.assertEqual(self.hidden("jwt=t", "jwt=u; b=1", "c=2"), ["b=1", "c=2"])
        self.assertEqual(self.hidden("jwtx=1; JWT=2; jwt"), ["jwtx=1; JWT=2; jwt"])
        self.assertEqual(self.hidden("\xa0jwt=t; a=1"), ["a=1"])

    def test_order_of_fields(self) -> None:
        """Hiding a cookie leaves the order of the other fields alone."""
        request = exchange(headers=[("A", "1"), ("Cookie", "jwt=t; b=2"), ("C", "3")])
        auth.hide_cookie(request, "jwt")
        self.assertEqual(request.fields.pairs, [(b"a", b"1"), (b"cookie", b"b=2"), (b"c", b"3")])


class AnonymousTests(SynchronousTestCase):
    FIELDS = auth.challenge("Bearer", "jwt")
    FAILURE = Reply.json(401, {"message": "no"}, reason="jwt_missing")

    def test_attached(self) -> None:
        """The anonymous consumer is the request's; the log can tell why."""
        guest = consumer("guest", labels={"custom_id": "g-1"})
        request = exchange(
            headers=[("X-Credential-Identifier", "forged"), ("X-Consumer-Username", "root")],
            consumers={"guest": guest},
        )
        self.assertIsNone(auth.anonymous(request, "guest", self.FAILURE, self.FIELDS))
        self.assertIs(request.consumer, guest)
        self.assertIsNone(request.credential_id)
        self.assertEqual(request.context[auth.FAILURE], "jwt_missing")
        self.assertEqual(
            request.fields.pairs, [(b"x-consumer-username", b"guest"), (b"x-consumer-custom-id", b"g-1")]
        )

    def test_missing(self) -> None:
        """An anonymous consumer that does not exist is a 401 of its own."""
        request = exchange()
        reply = auth.anonymous(request, "guest", self.FAILURE, self.FIELDS)
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (401, b'{"message":"Invalid user authorization"}\n'))
        self.assertIn((b"www-authenticate", b'Bearer realm="jwt"'), reply.fields)
        self.assertEqual(reply.reason, "anonymous_consumer_missing")
        self.assertEqual(reply.detail, "failed to get anonymous consumer guest")
        self.assertIsNone(request.consumer)


class FieldNameTests(SynchronousTestCase):
    def test_lower_case(self) -> None:
        """A configured header is found in any letter case; an impossible name is only never found."""
        self.assertEqual(auth.field_name("X-Token"), b"x-token")
        self.assertIsNone(exchange().fields.get(auth.field_name("ключ \ud800")))


class Base64Tests(SynchronousTestCase):
    def test_decode(self) -> None:
        """Text is decoded with its padding or without, and with too much of it."""
        for text in (b"AAH/", b"AAE=", b"AAE", b"AA==", b"AA", b"AA=====", b"+/+/", b""):
            padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
            self.assertEqual(auth.decode_base64(text), base64.b64decode(padded), text)

    def test_others(self) -> None:
        """Other characters, padding within, and a length that no text has are refused."""
        for text in (b"A", b"AAAAA", b"A=AA", b"AA AA", b"AA\n", b"-_-_", b"\xff"):
            self.assertRaises(ValueError, auth.decode_base64, text)


class BasicTests(SynchronousTestCase):
    def test_read(self) -> None:
        """User name and password are split at the first colon; spaces and colons stay in the password."""
        for value, read in (
            (b"Basic dXNlcjpwYXNz", ("user", b"pass")),
            (b"bASIC  dXNlcjpwYXNz ", ("user", b"pass")),
            (b"Basic dXNlcjpwOmEgcyA=", ("user", b"p:a s ")),
            (b"Basic dXNlcjo=", ("user", b"")),
            (b"Basic OnB3", ("", b"pw")),
            (b"Basic w6k6w6k=", ("é", "é".encode())),
            (b"Basic w6k6w6k", ("é", "é".encode())),
            (b"Basic /zpw", ("\udcff", b"p")),
        ):
            self.assertEqual(auth.parse_basic(value), read, value)

    def test_others(self) -> None:
        """Other schemes, text that is not base64, and credentials without a colon are none."""
        for value in (
            b"",
            b"Basic",
            b"Basic ",
            b"Bearer dXNlcjpwYXNz",
            b"Basic dXNlcg==",
            b"Basic @@@@",
            b"Basic dXNlc=jpwYXNz",
            b"Basic dXNlcjpwY",
        ):
            self.assertIsNone(auth.parse_basic(value), value)


class RefusalsTests(SynchronousTestCase):
    refusals = auth.Refusals(auth.challenge("x", "r"), {"code": "words"})

    def test_refused(self) -> None:
        """A request that fails is answered 401 with the words of the reason, and challenged."""
        reply = self.refusals(exchange(), "code", "more")
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (401, b'{"message":"words"}\n'))
        self.assertEqual((reply.reason, reply.detail), ("code", "more"))
        self.assertIn((b"www-authenticate", b'x realm="r"'), reply.fields)

    def test_anonymous(self) -> None:
        """Or it goes on as the anonymous consumer."""
        sent = exchange(consumers={"guest": consumer("guest")})
        self.assertIsNone(evolve(self.refusals, anonymous_consumer="guest")(sent, "code"))
        assert sent.consumer is not None
        self.assertEqual((sent.consumer.username, sent.context[auth.FAILURE]), ("guest", "code"))
