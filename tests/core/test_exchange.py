from __future__ import annotations

from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import MAX_ARGS, Connection, Outcome, Reply, RequestHead
from gateway.core.fields import Fields, Pair
from gateway.testing.exchanges import exchange


class ReplyTests(SynchronousTestCase):
    def test_json(self) -> None:
        """A JSON answer is compact, in UTF-8, and ends with a line end."""
        reply = Reply.json(
            401, {"message": "Füße", "n": [1, 2]}, fields=((b"x-a", b"1"),), reason="nope", detail="d"
        )
        self.assertEqual(reply.body, '{"message":"Füße","n":[1,2]}\n'.encode())
        self.assertEqual(reply.fields, ((b"content-type", b"application/json"), (b"x-a", b"1")))
        self.assertEqual((reply.status, reply.reason, reply.detail), (401, "nope", "d"))

    def test_text(self) -> None:
        """A text answer is the text and nothing else."""
        reply = Reply.text(503, "späte", fields=((b"retry-after", b"1"),), reason="busy")
        self.assertEqual(reply.body, "späte".encode())
        self.assertEqual(
            reply.fields, ((b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1"))
        )

    def test_half_a_surrogate_pair(self) -> None:
        """Text that came in as broken UTF-8 does not break the answer that quotes it."""
        self.assertEqual(Reply.json(400, {"a": "\udcff"}, reason="x").body, b'{"a":"?"}\n')
        self.assertEqual(Reply.text(400, "\udcff", reason="x").body, b"?")

    def test_page(self) -> None:
        """Without a body it is the standard page of its status."""
        self.assertIsNone(Reply(503).body)
        self.assertEqual(Reply(503).reason, "plugin_replied")


class _Written:
    """Of an upstream's answer: ``WrittenFields``."""

    pairs: ClassVar = [(b"x-a", b"1"), (b"x-b", b"22")]
    lines = b"X-A: 1\r\nX-B: 22\r\n"
    names = frozenset((b"x-a", b"x-b", b"date"))


class ResponseFieldsTests(SynchronousTestCase):
    """The fields of the answer, written long ago or asked for."""

    def setUp(self) -> None:
        self.exchange = exchange()
        self.exchange.status = 200
        self.exchange.written = _Written()

    def test_untouched(self) -> None:
        """Lines that are added are kept as they are; their bytes count."""
        self.exchange.add_response_lines(frozenset((b"x-c",)), b"X-C: 3\r\n")
        self.assertEqual(self.exchange.response_fields_bytes, len(b"X-A: 1\r\nX-B: 22\r\nX-C: 3\r\n"))
        self.assertIsNone(self.exchange.asked_fields)
        self.assertEqual(self.exchange.added, b"X-C: 3\r\n")

    def test_asked(self) -> None:
        """Whoever asks sees all of them, and what is done to them is done to this answer alone."""
        self.exchange.add_response_lines(frozenset((b"x-c", b"x-d")), b"X-C: 3\r\nX-D: a: b\r\n")
        fields = self.exchange.response_fields
        self.assertEqual(fields.pairs, [*_Written.pairs, (b"x-c", b"3"), (b"x-d", b"a: b")])
        fields.remove(b"x-a")
        self.assertIs(self.exchange.response_fields, fields)
        self.assertEqual(len(_Written.pairs), 2)
        self.assertEqual(self.exchange.response_fields_bytes, len(b"X-B: 22\r\nX-C: 3\r\nX-D: a: b\r\n"))
        self.exchange.add_response_lines(frozenset((b"x-c",)), b"X-C: 4\r\n")
        self.assertEqual(fields.pairs, [(b"x-b", b"22"), (b"x-d", b"a: b"), (b"x-c", b"4")])

    def test_same_names(self) -> None:
        """Lines take the place of those with the same names: the answer's, those added before, a Date."""
        self.exchange.add_response_lines(frozenset((b"x-b",)), b"X-B: 3\r\n")
        self.exchange.add_response_lines(frozenset((b"x-b",)), b"X-B: 4\r\n")
        self.exchange.add_response_lines(frozenset((b"date",)), b"Date: now\r\n")
        self.assertEqual(
            self.exchange.response_fields.pairs, [(b"x-a", b"1"), (b"x-b", b"4"), (b"date", b"now")]
        )

    def test_early(self) -> None:
        """What is added before there is an answer waits for it, whoever answers."""
        own: list[Pair] = [(b"x-b", b"22"), (b"x-a", b"1")]
        for asked in (False, True):
            made = exchange()
            made.add_response_lines(frozenset((b"x-b", b"x-d")), b"X-B: 2\r\nX-D: 5\r\n")
            if asked:
                self.assertEqual(made.response_fields.pairs, [(b"x-b", b"2"), (b"x-d", b"5")])
            made.add_response_lines(frozenset((b"x-b", b"x-c")), b"X-B: 3\r\nX-C: 4\r\n")
            self.assertEqual(made.added, b"X-D: 5\r\nX-B: 3\r\nX-C: 4\r\n")
            self.assertEqual(made.added_names, {b"x-b", b"x-c", b"x-d"})
            made.status = 200
            made.answer_with(Fields(own))
            wanted = [(b"x-a", b"1"), (b"x-d", b"5"), (b"x-b", b"3"), (b"x-c", b"4")]
            self.assertEqual(made.response_fields.pairs, wanted)
            self.assertEqual(made.added, b"")

    def test_replaced(self) -> None:
        """An answer of the gateway's own has its own fields alone."""
        self.exchange.add_response_lines(frozenset((b"x-c",)), b"X-C: 3\r\n")
        self.exchange.response_fields = Fields([(b"x-z", b"9")])
        self.assertEqual(self.exchange.response_fields.pairs, [(b"x-z", b"9")])
        self.assertEqual(exchange().response_fields.pairs, [])


class ArgumentTests(SynchronousTestCase):
    def test_decoding(self) -> None:
        """Arguments come decoded and in order, repeated and empty ones too."""
        for query, args in (
            ("", []),
            ("a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
            ("a&b=", [("a", ""), ("b", "")]),
            ("a=b+c%20d&%C3%A9=%2B", [("a", "b c d"), ("é", "+")]),
            ("a=1;b=2", [("a", "1;b=2")]),
            ("&&a=1&", [("a", "1")]),
            ("a=b=c", [("a", "b=c")]),
            ("a=%zz%", [("a", "%zz%")]),
            ("a=%ff", [("a", "\udcff")]),
            ("a=1?b=2", [("a", "1?b=2")]),
        ):
            self.assertEqual(exchange(target=f"/p?{query}").args(), args, query)
        self.assertEqual(exchange(target="/p").args(), [])

    def test_follows_the_target(self) -> None:
        """A plugin that changes the target changes the arguments."""
        ex = exchange(target="/p?a=1")
        self.assertEqual(ex.args(), [("a", "1")])
        self.assertIs(ex.args(), ex.args())
        ex.target = b"/p?a=2"
        self.assertEqual((ex.query, ex.args()), (b"a=2", [("a", "2")]))

    def test_many(self) -> None:
        """Arguments past the limit do not exist; they are no error."""
        for count in (MAX_ARGS - 1, MAX_ARGS, MAX_ARGS + 1, 3 * MAX_ARGS):
            query = "&".join(f"a={number}" for number in range(count))
            args = exchange(target=f"/?{query}").args()
            self.assertEqual(len(args), min(count, MAX_ARGS))
            self.assertEqual(args[-1], ("a", str(min(count, MAX_ARGS) - 1)))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=30))
    def test_any_bytes(self, query: bytes) -> None:
        """No query makes reading it fail."""
        ex = exchange()
        ex.target = b"/?" + query
        self.assertIsInstance(ex.args(), list)


class CookieTests(SynchronousTestCase):
    def test_reading(self) -> None:
        """Cookies of all lines count; of a repeated name the first."""
        for lines, cookies in (
            ([], {}),
            (["a=1; b=2"], {"a": "1", "b": "2"}),
            (["a=1;b=2;  c=3"], {"a": "1", "b": "2", "c": "3"}),
            (["a=1", "a=2; b=3"], {"a": "1", "b": "3"}),
            (["jwt=x.y=="], {"jwt": "x.y=="}),
            (['a="1"; flag; =x; b='], {"a": '"1"', "": "x", "b": ""}),
            (["", ";;;"], {}),
        ):
            self.assertEqual(exchange(headers=[("Cookie", line) for line in lines]).cookies(), cookies)

    def test_remembered(self) -> None:
        """They are read once; whoever changes the field says so."""
        ex = exchange(headers=[("Cookie", "a=1")])
        self.assertIs(ex.cookies(), ex.cookies())
        ex.fields.remove(b"cookie")
        ex.forget_cookies()
        self.assertEqual(ex.cookies(), {})


class ReprTests(SynchronousTestCase):
    def test_no_credentials(self) -> None:
        """What a request carries to prove who it is from is in no repr."""
        ex = exchange(
            target="/p?jwt=hunter2",
            headers=[("Authorization", "Bearer hunter2"), ("Cookie", "jwt=hunter2"), ("apikey", "hunter2")],
        )
        ex.args()
        ex.cookies()
        ex.context["jwt_auth_payload"] = {"secret": "hunter2"}
        ex.response_fields.add(b"set-cookie", b"hunter2")
        self.assertNotIn("hunter2", repr(ex))
        self.assertNotIn("hunter2", repr(ex.request))
        self.assertIn("/p?...", repr(ex))
        self.assertNotIn("hunter2", repr(Reply(200, b"hunter2", ((b"set-cookie", b"hunter2"),))))


class ValueTests(SynchronousTestCase):
    def test_exchanges_are_not_alike(self) -> None:
        """Two requests that look alike are two requests."""
        self.assertNotEqual(exchange(), exchange())

    def test_defaults(self) -> None:
        """Values say the usual unless told otherwise."""
        self.assertEqual(RequestHead(b"GET", b"/", ()).version, (1, 1))
        self.assertFalse(Connection("127.0.0.1", 1, "127.0.0.1", 2).tls)
        self.assertEqual(Outcome(200, "upstream", "ok").detail, "")
