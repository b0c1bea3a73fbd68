"""Tests for gateway.testing.plugins."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.model.problems import ConfigErrors
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, identities, problems
from tests.doubles import AuthFactory, PlainFactory


class KitTests(SynchronousTestCase):
    def test_problems(self) -> None:
        """What is wrong with settings is told by place, in the schema's terms or the plugin's words."""
        self.assertEqual(problems(PlainFactory(), {"n": "x"}), [("/n", "type")])
        self.assertEqual(problems(PlainFactory(), {"n": 13}), [("", "13 brings bad luck")])
        self.assertEqual(problems(AuthFactory(), {}, credential=True), [("/key", "required")])

    def test_bound(self) -> None:
        """An instance has its settings without _meta, which is applied; bad settings are refused."""
        bound = bind(PlainFactory(), {"n": 1, "_meta": {"priority": 7}})
        sent = exchange()
        assert bound.access is not None
        self.assertIsNone(finish(bound.access(sent)))
        self.assertEqual((sent.context["met"], bound.priority), ([{"n": 1}], 7))
        self.assertRaises(ConfigErrors, bind, PlainFactory(), {"n": 13})

    def test_references(self) -> None:
        """References are looked up where the test says."""
        bound = bind(PlainFactory(), {"t": "$env://T"}, environment={"T": "text"})
        sent = exchange()
        assert bound.access is not None
        bound.access(sent)
        self.assertEqual(sent.context["met"], [{"t": "text"}])

    def test_identities(self) -> None:
        """Credentials are prepared and found by key, as in a snapshot."""
        jack = consumer("jack")
        table = identities(AuthFactory(), (jack, "c1", {"key": "k"}))
        found = exchange(identities=table).snapshot.identities["some-auth"]["k"]
        self.assertEqual((found.consumer, found.credential_id), (jack, "c1"))
        self.assertEqual(found.credential, ("credential", "k"))

    def test_finish(self) -> None:
        """A hook that waits is run to its end, its errors are raised, and one that never ends is told."""

        async def waits(for_: Deferred[Any]) -> Any:
            return await for_

        done: Deferred[str] = Deferred()
        done.callback("done")
        self.assertEqual(finish(waits(done)), "done")
        failed: Deferred[str] = Deferred()
        failed.errback(ZeroDivisionError())
        self.assertRaises(ZeroDivisionError, finish, waits(failed))
        self.assertRaises(AssertionError, finish, waits(Deferred()))
        self.assertEqual(finish("plain"), "plain")
