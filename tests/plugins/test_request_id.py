"""Tests for gateway.plugins.request_id."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange
from gateway.plugins.request_id import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, problems
from gateway.testing.services import FakeClock, services


def run(*headers: tuple[str, str], answer: tuple[tuple[bytes, bytes], ...] = (), **config: Any) -> Exchange:
    """A request after both phases."""
    bound = bind(plugin, config, services(clock=FakeClock(1645557742.0)))
    assert bound.rewrite is not None
    assert bound.header_filter is not None
    sent = exchange(headers=headers)
    assert bound.rewrite(sent) is None
    for name, value in answer:
        sent.response_fields.add(name, value)
    bound.header_filter(sent)
    return sent


class RequestIdTests(SynchronousTestCase):
    def test_new(self) -> None:
        """A request gets an id, which client, upstream and log share; no two get the same."""
        made = set()
        for _ in range(5):
            sent = run()
            (value,) = sent.fields.get_all(b"x-request-id")
            self.assertEqual(sent.response_fields.get_all(b"x-request-id"), [value])
            self.assertEqual(sent.id, value.decode())
            self.assertEqual(UUID(sent.id).version, 4)
            made.add(value)
        self.assertEqual(len(made), 5)

    def test_clients_own(self) -> None:
        """A client's id counts; an empty one does not."""
        sent = run(("X-Request-Id", "abc"))
        self.assertEqual((sent.fields.get(b"x-request-id"), sent.id), (b"abc", "abc"))
        self.assertEqual(sent.response_fields.get(b"x-request-id"), b"abc")
        sent = run(("X-Request-Id", ""))
        self.assertEqual(len(sent.fields.get_all(b"x-request-id")), 1)
        self.assertTrue(sent.fields.get(b"x-request-id"))

    def test_long(self) -> None:
        """A client cannot fill the log with an id; it goes on all the same."""
        for text in ("x" * 257, "é"):
            sent = run(("X-Request-Id", text))
            self.assertEqual(sent.id, "0123456789abcdef")
            self.assertEqual(sent.response_fields.get(b"x-request-id"), text.encode("latin-1"))

    def test_names(self) -> None:
        """The header is the route's, and the client is told or not."""
        sent = run(("X-Request-Id", "abc"), header_name="X-Trace", include_in_response=False)
        self.assertIn(b"x-trace", sent.fields)
        self.assertEqual(sent.response_fields.pairs, [])

    def test_upstreams_own(self) -> None:
        """An id that the upstream has put into its answer stays there."""
        sent = run(answer=((b"x-request-id", b"theirs"),))
        self.assertEqual(sent.response_fields.pairs, [(b"x-request-id", b"theirs")])

    def test_algorithms(self) -> None:
        """Each algorithm makes ids of its own form."""
        for config, pattern in (
            ({"algorithm": "nanoid"}, r"^[A-Za-z0-9_-]{21}$"),
            ({"algorithm": "range_id"}, r"^[A-Za-z0-9]{16}$"),
            ({"algorithm": "range_id", "range_id": {"length": 40, "char_set": "abcdef"}}, r"^[a-f]{40}$"),
            ({"algorithm": "range_id", "range_id": {"length": 6}}, r"^[A-Za-z0-9]{6}$"),
            ({"algorithm": "ksuid"}, r"^[0-9A-Za-z]{27}$"),
            ({"algorithm": "uuidv7"}, r"^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
        ):
            self.assertRegex(run(**config).id, pattern)  # type: ignore[arg-type]
            self.assertNotEqual(run(**config).id, run(**config).id)  # type: ignore[arg-type]


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Settings are checked: what they make has to fit into a header."""
        self.assertEqual(problems(plugin, {}), [])
        told: Any
        for config, told in (
            ({"algorithm": "snowflake"}, ("/algorithm", "enum")),
            ({"header_name": ""}, ("/header_name", "minLength")),
            ({"header_name": "a b"}, ("", "'a b' is not the name of a header")),
            ({"range_id": {"length": 5}}, ("/range_id/length", "minimum")),
            ({"range_id": {"char_set": "abcde"}}, ("/range_id/char_set", "minLength")),
            (
                {"range_id": {"char_set": "abcde\n"}},
                ("", "range_id.char_set: only printable ASCII characters can stand in a header"),
            ),
        ):
            self.assertEqual(problems(plugin, config), [told])
        self.assertRaises(ValueError, bind, plugin, {"range_id": {"char_set": "$env://missing"}})
        self.assertEqual(plugin.priority, 12015)
