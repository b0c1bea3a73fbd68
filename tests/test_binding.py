from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gateway.binding import PluginBinder
from gateway.core.chain import BoundPlugin
from gateway.core.merge import PluginUse
from gateway.core.secrets import UnresolvedReference
from gateway.interfaces import (
    IAccessPhase,
    IBeforeProxyPhase,
    IBodyFilterPhase,
    IExplainedHooks,
    IHeaderFilterPhase,
    ILogPhase,
    IPureHooks,
    IRewritePhase,
    PluginServices,
)
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import exchange
from tests.doubles import AuthFactory, PlainFactory, RecordingLog, services

PHASES = ("rewrite", "access", "before_proxy", "header_filter", "body_filter", "log")
ENVIRONMENT = {"KEY": "the-key", "WORD": "swordfish", "JSON": '{"key": "inner"}'}


@implementer(
    IRewritePhase,
    IAccessPhase,
    IBeforeProxyPhase,
    IHeaderFilterPhase,
    IBodyFilterPhase,
    ILogPhase,
    IPureHooks,
)
class Everything:
    """An instance with a hook for every phase."""

    def rewrite(self, exchange: Any) -> None: ...

    def access(self, exchange: Any) -> None: ...

    def before_proxy(self, exchange: Any) -> None: ...

    def header_filter(self, exchange: Any) -> None: ...

    def body_filter(self, exchange: Any, data: bytes, last: bool) -> bytes:
        return data

    def log(self, exchange: Any) -> None: ...


class BindingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = RecordingLog()

    def binder(self, *factories: Any) -> PluginBinder:
        registry = PluginRegistry([(factory, "test") for factory in factories])
        return PluginBinder(registry, services(self.log), ENVIRONMENT)

    def bind(
        self,
        config: Mapping[str, Any],
        make: Callable[[Mapping[str, Any], PluginServices], object] | None = None,
    ) -> BoundPlugin:
        factory = PlainFactory() if make is None else PlainFactory(make_instance=make)
        return self.binder(factory).bind(PluginUse("plain", config, "route/r1"))


class BindTests(BindingCase):
    def test_hooks(self) -> None:
        """An instance's hooks are looked up once, for the phases it says it has."""
        bound = self.bind({}, lambda config, services: Everything())
        for phase in PHASES:
            self.assertEqual(getattr(bound, phase).__name__, phase)
        self.assertTrue(bound.pure)
        self.assertEqual((bound.name, bound.priority, bound.auth), ("plain", 100, False))

    def test_only_declared_phases(self) -> None:
        """A method that merely has a phase's name is no hook."""

        class Inherits:
            def access(self, exchange: Any) -> None: ...

            def rewrite(self, exchange: Any) -> None: ...

        bound = self.bind({}, lambda config, services: implementer(IAccessPhase)(Inherits)())
        self.assertEqual([phase for phase in PHASES if getattr(bound, phase) is not None], ["access"])
        self.assertFalse(bound.pure)

    def test_explained(self) -> None:
        """What explains itself can be asked; an explanation that cannot be called is a broken plugin."""

        @implementer(IAccessPhase, IExplainedHooks)
        class Explains:
            def access(self, exchange: Any) -> None: ...

            def explain(self, exchange: Any, phase: str) -> Any:
                return phase

        bound = self.bind({}, lambda config, services: Explains())
        assert bound.explain is not None
        self.assertEqual(bound.explain(exchange(), "access"), "access")
        self.assertIsNone(self.bind({}, lambda config, services: Everything()).explain)

        @implementer(IAccessPhase, IExplainedHooks)
        class Wrong:
            def access(self, exchange: Any) -> None: ...

            def explain(self) -> Any: ...

        error = self.assertRaises(ValueError, self.bind, {}, lambda config, services: Wrong())
        self.assertIn("is broken", str(error))

    def test_settings(self) -> None:
        """The instance gets its settings without ``_meta``, and the place they stand at."""
        seen: list[tuple[Mapping[str, Any], str]] = []

        def make(config: Mapping[str, Any], services: PluginServices) -> object:
            seen.append((config, services.origin))
            return Everything()

        use = {"n": 1, "_meta": {"priority": 7}}
        bound = self.bind(use, make)
        self.assertEqual(seen, [({"n": 1}, "route/r1")])
        self.assertIs(bound.use.config, use)

    def test_auth(self) -> None:
        """Whether a plugin says who a request comes from is known."""
        binder = self.binder(AuthFactory(), PlainFactory())
        self.assertTrue(binder.bind(PluginUse("some-auth", {}, "route/r")).auth)
        self.assertEqual(
            [binder.is_auth(name) for name in ("some-auth", "plain", "other")], [True, False, False]
        )

    def test_unknown(self) -> None:
        """A plugin that is not enabled cannot be bound."""
        error = self.assertRaises(ValueError, self.binder().bind, PluginUse("other", {}, "route/r"))
        self.assertEqual(str(error), "unknown plugin [other]")

    def test_refused(self) -> None:
        """What a plugin refuses is refused in its own words, and it is named."""

        def make(config: Mapping[str, Any], services: PluginServices) -> object:
            raise ValueError("n is too odd")

        error = self.assertRaises(ValueError, self.bind, {}, make)
        self.assertEqual(str(error), "failed to check the configuration of plugin plain err: n is too odd")
        self.assertEqual(self.log.events, [])


class ReferenceTests(BindingCase):
    def _settings(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        bound = self.bind(config)
        ex = exchange()
        assert bound.access is not None
        bound.access(ex)
        met: list[Mapping[str, Any]] = ex.context["met"]
        return met[0]

    def test_resolved(self) -> None:
        """References give way to what they lead to, at any depth."""
        config = {"a": "$env://KEY", "b": [{"c": "$ENV://JSON/key"}], "d": "plain", "n": 1}
        self.assertEqual(
            self._settings(config), {"a": "the-key", "b": [{"c": "inner"}], "d": "plain", "n": 1}
        )
        self.assertEqual(config["a"], "$env://KEY")
        self.assertEqual(self.log.events, [])

    def test_whole_numbers(self) -> None:
        """A number such as 5.0 is an integer to JSON Schema, so it is one to plugins."""
        found = self._settings({"a": 5.0, "b": [{"c": 1e300}], "d": 0.5, "e": True})
        self.assertEqual(found, {"a": 5, "b": [{"c": int(1e300)}], "d": 0.5, "e": True})
        self.assertEqual([type(found["a"]), type(found["b"][0]["c"]), type(found["e"])], [int, int, bool])

    def test_unresolved(self) -> None:
        """One that leads nowhere stays as it is, and the log says so; the others are resolved."""
        config = {"a": "$env://MISSING", "b": "$env://KEY", "c": "$secret://vault/1/a"}
        self.assertEqual(
            self._settings(config), {"a": "$env://MISSING", "b": "the-key", "c": "$secret://vault/1/a"}
        )
        self.assertEqual([level for level, _ in self.log.events], ["error", "error"])
        for (_, text), name in zip(self.log.events, ("$env://MISSING", "$secret://vault/1/a"), strict=True):
            self.assertIn("route/r1: plugin plain", text)
            self.assertIn(name, text)

    def test_no_secrets(self) -> None:
        """Neither the log nor the binder's repr shows the environment."""
        self._settings({"a": "$env://WORD/member"})
        self.assertNotIn("swordfish", str(self.log.events))
        self.assertNotIn("swordfish", repr(self.binder()))


class BrokenPluginTests(BindingCase):
    """One bad plugin must not take the rest of a configuration down: all it does is a ValueError."""

    def _refusal(self, make: Callable[[Mapping[str, Any], PluginServices], object]) -> str:
        return str(self.assertRaises(ValueError, self.bind, {}, make))

    def test_raises(self) -> None:
        """A bug in a plugin is its own problem; the log has the traceback, the answer no detail."""
        for kind in (RuntimeError, AttributeError, OverflowError, AssertionError, NotImplementedError):

            def make(
                config: Mapping[str, Any], services: PluginServices, kind: type[Exception] = kind
            ) -> object:
                raise kind("hunter2")

            self.assertEqual(self._refusal(make), f"plugin [plain] is broken: {kind.__name__}")
            self.assertEqual(self.log.events.pop(), ("error", "route/r1: plugin plain is broken"))
            self.assertEqual(len(self.log.failures), 1)
            self.log.failures.clear()

    def test_no_phase(self) -> None:
        """An instance without any phase would do nothing, unnoticed: it is refused."""
        self.assertIn("without any phase", self._refusal(lambda config, services: object()))
        self.assertIn("without any phase", self._refusal(lambda config, services: None))

    def test_missing_hook(self) -> None:
        """An instance that lacks a hook it says it has is refused."""

        @implementer(IAccessPhase)
        class Broken:  # type: ignore[misc]
            pass

        self.assertIn("access", self._refusal(lambda config, services: Broken()))

    def test_wrong_hook(self) -> None:
        """So is one whose hook cannot be called as the interface says."""

        @implementer(IBodyFilterPhase)
        class Broken:
            def body_filter(self, exchange: Any) -> bytes:  # type: ignore[override]
                return b""

        self.assertIn("body_filter", self._refusal(lambda config, services: Broken()))


class CredentialTests(BindingCase):
    def setUp(self) -> None:
        super().setUp()
        self.bound = self.binder(AuthFactory(), PlainFactory())

    def _refusal(self, name: str, config: Mapping[str, Any]) -> str:
        return str(self.assertRaises(ValueError, self.bound.credential, name, config))

    def test_prepared(self) -> None:
        """A credential is found by its key and is what the plugin made of it."""
        self.assertEqual(
            self.bound.credential("some-auth", {"key": "a", "_meta": {}}), ("a", ("credential", "a"))
        )

    def test_reference(self) -> None:
        """A key may be a reference: it is found by what that leads to."""
        self.assertEqual(
            self.bound.credential("some-auth", {"key": "$env://KEY"}), ("the-key", ("credential", "the-key"))
        )

    def test_unresolved(self) -> None:
        """A credential whose reference leads nowhere lets nobody in, least of all by the literal text."""
        for config in (
            {"key": "$env://MISSING"},
            {"key": "a", "secret": "$env://MISSING"},
            {"key": "$secret://a/b/c"},
        ):
            self.assertRaises(UnresolvedReference, self.bound.credential, "some-auth", config)

    def test_no_key(self) -> None:
        """Without a key it cannot be found."""
        for config in ({}, {"key": ""}, {"key": 5}, {"key": None}):
            self.assertEqual(self._refusal("some-auth", config), "key is missing")

    def test_not_for_credentials(self) -> None:
        """Credentials are for enabled auth plugins only."""
        for name in ("plain", "other"):
            self.assertEqual(self._refusal(name, {"key": "a"}), f"unknown plugin [{name}]")

    def test_refused(self) -> None:
        """What the plugin refuses is refused in its own words, what breaks it in ours."""
        self.assertEqual(self._refusal("some-auth", {"key": "refused"}), "this key cannot be used")
        self.assertEqual(
            self._refusal("some-auth", {"key": "broken"}), "plugin [some-auth] is broken: ZeroDivisionError"
        )
        self.assertNotIn("hunter2", str(self.log.events))
