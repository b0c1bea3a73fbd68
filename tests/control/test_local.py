"""Serving revisions in one process: prepared aside, swapped in one step."""

from __future__ import annotations

from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.control import Control
from gateway.control.local import LocalPublisher
from gateway.control.state import State
from gateway.core.compiler import Compiler
from gateway.core.secrets import UnresolvedReference
from gateway.model.problems import ConfigErrors
from gateway.model.record import Change, StoreView
from gateway.secrets.source import SecretSource
from gateway.store.memory import MemoryStore
from tests.core.configs import FakePlugins, change, route, service
from tests.proxy.fakes import InMemoryGateway
from tests.proxy.runner_kit import TestClock
from tests.secrets.kit import asking


class LocalPublisherTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = TestClock()
        self.compiler = Compiler(FakePlugins(), "default")
        self.gateway = InMemoryGateway(self.compiler.empty(), clock)
        self.store = MemoryStore()
        self.successResultOf(self.store.open())
        self.publisher = LocalPublisher(self.compiler, self.gateway.runner)
        self.control = Control(self.store, self.publisher, clock, State.of(StoreView(0, ())))

    def write(self, *changes: Change) -> Deferred[object]:
        return Deferred.fromCoroutine(self.control.write(lambda state: changes, author="tester"))

    def test_an_answered_write_is_served(self) -> None:
        """When a write has returned, the very next request meets it."""
        self.successResultOf(self.write(service("s"), route("r", "/x")))
        client, _ = self.gateway.request("GET", "/nothing")
        self.assertEqual((client.status, len(self.gateway.dispatcher.sent)), (404, 0))
        self.gateway.request("GET", "/x")
        self.assertEqual(len(self.gateway.dispatcher.sent), 1)
        self.assertEqual(self.gateway.runner.snapshot.revision, 1)

    def test_a_refused_write_leaves_no_trace(self) -> None:
        """What cannot be served is neither stored nor served, and the next write is not disturbed."""
        self.successResultOf(self.write(service("s"), route("r", "/x")))
        before = self.gateway.runner.snapshot
        self.failureResultOf(self.write(route("r", "/x", plugins={"refused": {}})), ConfigErrors)
        self.assertIs(self.gateway.runner.snapshot, before)
        self.assertEqual(self.successResultOf(self.store.load()).revision, 1)
        self.successResultOf(self.write(route("r", "/y")))
        self.assertEqual(self.gateway.runner.snapshot.revision, 2)

    def test_revisions_stay_in_step(self) -> None:
        """Writes that concern no route move the served revision too."""
        self.successResultOf(self.write(change("token", "t", {}, group="")))
        self.assertEqual(self.gateway.runner.snapshot.revision, 1)

    def test_large_changes_take_turns(self) -> None:
        """While a large change is compiled others have turns; it is served in one step, and in order."""
        waiting: list[Deferred[None]] = []

        def pause() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        clock = count(0.0, 0.004)  # each look at the clock is 4 ms later than the last
        runner = self.gateway.runner
        publisher = LocalPublisher(self.compiler, runner, monotonic=lambda: next(clock), pause=pause)
        many = (service("s"), *(route(f"r{n}", f"/{n}") for n in range(20)))
        first = Deferred.fromCoroutine(publisher.serve(many, 7))
        second = Deferred.fromCoroutine(publisher.serve((route("r0", "/else"),), 8))
        settled = Deferred.fromCoroutine(publisher.settled())
        while waiting:
            self.assertEqual((len(waiting), runner.snapshot.revision < 8), (1, True))
            self.assertNoResult(settled)
            seen = len(runner.snapshot.routes)
            self.assertIn(seen, (0, 20))
            waiting.pop().callback(None)
        for done in (first, second, settled):
            self.successResultOf(done)
        self.assertEqual(runner.snapshot.revision, 8)
        self.assertEqual(runner.snapshot.routes["r0"].route.paths, ("/else",))

    def test_secrets(self) -> None:
        """What a write refers to is there when it is compiled; a new value comes in by itself."""
        kept = {"a/b": "first"}

        async def fetch(settings: object, path: str, asking: object) -> str:
            return kept[path]

        clock, runner = Clock(), self.gateway.runner
        source = SecretSource(asking()[0], clock, "default", {}, fetchers={"vault": fetch})
        plugins = FakePlugins()
        compiler = Compiler(plugins, "default")
        publisher = LocalPublisher(compiler, runner, secrets=source)
        plugin = {"tag": {"value": "$secret://vault/1/a/b"}}
        with_secret = (
            service("s"),
            route("r", "/x", plugins=plugin),
            route("plain", "/y", plugins={"tag": {}}),
        )

        def serve(*changes: Change, revision: int) -> None:
            self.successResultOf(Deferred.fromCoroutine(publisher.prepare(changes)))
            self.successResultOf(Deferred.fromCoroutine(publisher.serve(changes, revision)))

        serve(*with_secret, revision=1)
        self.assertRaises(UnresolvedReference, source.value, "$secret://vault/1/a/b")
        serve(change("secret", "vault/1", {"uri": "u"}), revision=2)
        self.assertEqual(source.value("$secret://vault/1/a/b"), "first")
        bound = [use.origin for use in plugins.bound]
        self.assertEqual(sorted(bound), ["route/plain", "route/r", "route/r"])
        kept["a/b"] = "second"
        clock.advance(300)
        self.assertEqual((plugins.bound[-1].origin, len(plugins.bound)), ("route/r", 4))
        self.assertEqual(runner.snapshot.revision, 2)
        # Nothing has changed: nothing is made anew.
        clock.advance(300)
        self.assertEqual(len(plugins.bound), 4)

    def test_an_unprepared_revision(self) -> None:
        """A revision that somebody else prepared is compiled when it is published."""
        self.successResultOf(Deferred.fromCoroutine(self.publisher.prepare([service("other")])))
        changes = (service("s"), route("r", "/x"))
        revision = self.successResultOf(self.store.commit(changes, author="a", reason=None, at=1.0))
        self.successResultOf(Deferred.fromCoroutine(self.publisher.publish(revision)))
        self.assertEqual(sorted(self.gateway.runner.snapshot.sources.services), ["s"])
