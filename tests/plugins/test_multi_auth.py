"""Tests for gateway.plugins.multi_auth."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.factories import AuthFactory
from gateway.interfaces import IRewritePhase
from gateway.plugins import basic_auth, jwt_auth, key_auth
from gateway.plugins.multi_auth import plugin
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, identities, problems
from gateway.testing.services import FakeLog, services
from tests.doubles import PlainFactory

JACK = consumer("jack")
KNOWN = {
    **identities(key_auth.plugin, (JACK, "k1", {"key": "auth-one"})),
    **identities(basic_auth.plugin, (JACK, "b1", {"username": "jack", "password": "pw"})),
}


@implementer(IRewritePhase)
@frozen
class Slow:
    """Lets in who sends the field slow, after a while."""

    async def rewrite(self, sent: Exchange) -> Reply | None:
        await succeed(None)
        return None if b"slow" in sent.fields else Reply.text(401, "no", reason="slow_missing", detail="why")


slow = AuthFactory(
    name="slow-auth",
    priority=1,
    schema={"type": "object"},
    make=lambda config, services: Slow(),
    key_field="k",
    credential_schema={"type": "object"},
    credential=lambda config: None,
)
OTHERS = (key_auth.plugin, basic_auth.plugin, jwt_auth.plugin, slow, PlainFactory())
BOTH = [{"basic-auth": {}}, {"key-auth": {"hide_credentials": True}}]


class RewriteTests(SynchronousTestCase):
    def run_with(self, plugins: list[Any], *headers: tuple[str, str]) -> tuple[Exchange, Reply | None]:
        self.log = FakeLog()
        bound = bind(plugin, {"auth_plugins": plugins}, services(log=self.log), others=OTHERS)
        assert bound.rewrite is not None
        sent = exchange(headers=headers, identities=KNOWN)
        return sent, finish(bound.rewrite(sent))

    def test_either(self) -> None:
        """A request is let in by whichever plugin knows it, as if that were the only one."""
        for header, credential in (
            (("Authorization", "Basic amFjazpwdw=="), "b1"),
            (("apikey", "auth-one"), "k1"),
        ):
            sent, reply = self.run_with(BOTH, header)
            self.assertIsNone(reply)
            self.assertEqual((sent.consumer, sent.credential_id), (JACK, credential))
            self.assertNotIn(b"apikey", sent.fields)
            self.assertEqual(self.log.events, [])

    def test_first_success_wins(self) -> None:
        """The plugins are tried in the order they stand in, up to the first that is satisfied."""
        sent, _ = self.run_with(BOTH, ("Authorization", "Basic amFjazpwdw=="), ("apikey", "auth-one"))
        self.assertEqual(sent.credential_id, "b1")
        self.assertIn(b"apikey", sent.fields)

    def test_none(self) -> None:
        """If none knows it, the client learns no more than that; each reason is in the log."""
        sent, reply = self.run_with(BOTH, ("apikey", "bad"))
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (401, b'{"message":"Authorization Failed"}\n'))
        self.assertEqual(reply.reason, "multi_auth_failed")
        self.assertEqual([v for n, v in reply.fields if n == b"www-authenticate"], [b'apikey realm="key"'])
        told = (
            "basic-auth failed to authenticate the request, code: 401. error: basic_missing; "
            "key-auth failed to authenticate the request, code: 401. error: key_unknown"
        )
        self.assertEqual((self.log.events, reply.detail), ([("warn", told)], told))
        self.assertIsNone(sent.consumer)

    def test_waiting(self) -> None:
        """Plugins that have to wait take part like the others, wherever they stand."""
        for plugins in (
            [{"slow-auth": {}}, *BOTH],
            [BOTH[0], {"slow-auth": {}}, BOTH[1]],
            [*BOTH, {"slow-auth": {}}],
        ):
            self.assertIsNone(self.run_with(plugins, ("slow", "1"))[1])
            self.assertIsNone(self.run_with(plugins, ("apikey", "auth-one"))[1])
            _, reply = self.run_with(plugins)
            assert reply is not None
            self.assertIn(
                "slow-auth failed to authenticate the request, code: 401. error: slow_missing (why)",
                reply.detail,
            )
            self.assertEqual(len(reply.detail.split("; ")), 3)

    def test_twice_the_same(self) -> None:
        """One plugin may stand there twice, with other settings."""
        plugins = [{"key-auth": {"header": "x-a"}}, {"key-auth": {"header": "x-b"}}]
        self.assertIsNone(self.run_with(plugins, ("x-b", "auth-one"))[1])


class FactoryTests(SynchronousTestCase):
    def told(self, plugins: object) -> list[tuple[str, str]]:
        return problems(plugin, {"auth_plugins": plugins}, others=OTHERS)

    def test_settings(self) -> None:
        """At least two plugins are needed, each known, of the kind auth, and with settings that fit."""
        self.assertEqual(self.told(BOTH), [])
        self.assertEqual(problems(plugin, {}, others=OTHERS), [("/auth_plugins", "required")])
        self.assertEqual(self.told(BOTH[:1]), [("/auth_plugins", "minItems")])
        self.assertEqual(self.told(["a", "b"]), [("/auth_plugins/0", "type"), ("/auth_plugins/1", "type")])
        self.assertIn("item 2 must hold one plugin", self.told([BOTH[0], {}])[0][1])
        self.assertEqual(self.told([*BOTH, {"no-auth": {}}]), [("", "no-auth plugin did not found")])
        self.assertEqual(self.told([*BOTH, {"plain": {}}]), [("", "plain plugin is not supported")])
        self.assertEqual(self.told([*BOTH, {"multi-auth": {}}]), [("", "multi-auth plugin is not supported")])
        (problem,) = self.told([*BOTH, {"key-auth": {"header": 1}}])
        self.assertTrue(problem[1].startswith("plugin key-auth check schema failed: "), problem)

    def test_explained(self) -> None:
        """It can be explained without a request if all of its plugins can."""
        self.assertTrue(bind(plugin, {"auth_plugins": BOTH}, others=OTHERS).pure)
        self.assertFalse(bind(plugin, {"auth_plugins": [*BOTH, {"slow-auth": {}}]}, others=OTHERS).pure)
        self.assertEqual((plugin.priority, plugin.kind), (2600, "auth"))
