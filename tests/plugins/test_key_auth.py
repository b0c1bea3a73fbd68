"""Tests for gateway.plugins.key_auth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.consumers import Identity
from gateway.core.exchange import Exchange, Reply
from gateway.interfaces import ICredentialFactory, IPluginFactory, IPureHooks, IRewritePhase, PluginServices
from gateway.plugins import key_auth
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import consumer, exchange

DOCS = Path(__file__).parents[2] / "docs" / "plugins" / "key-auth.md"
MISSING = b'{"message":"Missing API key in request"}\n'
UNKNOWN = b'{"message":"Invalid API key in request"}\n'


class NoServices:
    """key-auth asks for nothing."""

    def time(self) -> float:
        raise AssertionError

    monotonic = time

    def warn(self, format: str, **fields: object) -> None:
        raise AssertionError

    error = warn


def instance(**config: Any) -> key_auth.KeyAuth:
    return key_auth.plugin.make(config, PluginServices(NoServices(), NoServices()))


def request(
    target: str = "/", *headers: tuple[str, str], keys: tuple[str, ...] = ("auth-one", "ключ")
) -> Exchange:
    jack = consumer("jack", labels={"custom_id": "c-1"})
    identities = {
        key: Identity(jack, f"cred-{n}", key_auth.plugin.credential({"key": key}))
        for n, key in enumerate(keys)
    }
    return exchange(
        target=target,
        headers=headers,
        identities={"key-auth": identities},
        consumers={"guest": consumer("guest")},
    )


class RewriteTests(SynchronousTestCase):
    def accepted(self, exchange: Exchange, reply: Reply | None) -> None:
        self.assertIsNone(reply)
        assert exchange.consumer is not None
        self.assertEqual(exchange.consumer.username, "jack")

    def refused(self, exchange: Exchange, reply: Reply | None, body: bytes, reason: str) -> None:
        assert reply is not None
        self.assertEqual((reply.status, reply.body, reply.reason, reply.detail), (401, body, reason, ""))
        self.assertEqual(reply.fields[1], (b"www-authenticate", b'apikey realm="key"'))
        self.assertIsNone(exchange.consumer)

    def test_places(self) -> None:
        """A key counts in the header apikey, or else in the query argument apikey."""
        plugin = instance()
        for sent in (
            request("/", ("APIKEY", "auth-one")),
            request("/?a=1&apikey=auth-one"),
            request("/?api%6Bey=auth%2Done"),
            request("/?apikey=bad", ("apikey", "auth-one"), ("apikey", "bad")),
            request("/", ("apikey", "ключ".encode().decode("latin-1"))),
            request("/?apikey=%D0%BA%D0%BB%D1%8E%D1%87"),
        ):
            self.accepted(sent, plugin.rewrite(sent))

    def test_upstream_fields(self) -> None:
        """The upstream learns who it is; what the client claimed itself is replaced."""
        sent = request("/", ("X-Consumer-Username", "root"), ("apikey", "auth-one"))
        self.accepted(sent, instance().rewrite(sent))
        self.assertEqual(
            sent.fields.pairs[1:],
            [
                (b"x-consumer-username", b"jack"),
                (b"x-credential-identifier", b"cred-0"),
                (b"x-consumer-custom-id", b"c-1"),
            ],
        )

    def test_custom_names(self) -> None:
        """Header and argument have the names the route says."""
        plugin = instance(header="X-Key", query="k")
        for sent in (request("/", ("x-key", "auth-one")), request("/?k=auth-one")):
            self.accepted(sent, plugin.rewrite(sent))
        sent = request("/?apikey=auth-one", ("apikey", "auth-one"))
        self.refused(sent, plugin.rewrite(sent), MISSING, "key_missing")

    def test_missing(self) -> None:
        """Without a key the answer says that one is missing."""
        for sent in (request(), request("/?a=apikey"), request("/", ("Cookie", "apikey=auth-one"))):
            self.refused(sent, instance().rewrite(sent), MISSING, "key_missing")

    def test_unknown(self) -> None:
        """A key nobody has is invalid: other letter case, spaces, repeated, empty, not UTF-8."""
        for sent in (
            request("/?apikey=auth-one", ("apikey", "bad")),
            request("/?apikey=auth-one", ("apikey", "")),
            request("/", ("apikey", "AUTH-ONE")),
            request("/", ("apikey", "\xff\xfe")),
            request("/?apikey=auth-one&apikey=auth-one"),
            request("/?apikey"),
            request("/?apikey="),
            request("/?apikey=auth-one%20"),
            request("/", ("apikey", "auth-one"), keys=()),
            exchange(headers=[("apikey", "auth-one")]),
        ):
            self.refused(sent, instance().rewrite(sent), UNKNOWN, "key_unknown")

    def test_empty_key(self) -> None:
        """An empty key opens nothing, even if a credential has it."""
        sent = request("/", ("apikey", ""), keys=("auth-one",))
        sent.snapshot.identities["key-auth"][""] = Identity(consumer("nobody"), None, None)  # type: ignore[index]
        self.refused(sent, instance().rewrite(sent), UNKNOWN, "key_unknown")

    def test_hide(self) -> None:
        """On success the key goes from the place it was used in, and stays in the other."""
        plugin = instance(hide_credentials=True)
        sent = request("/p?apikey=x&b=%7e", ("apikey", "auth-one"))
        self.accepted(sent, plugin.rewrite(sent))
        self.assertNotIn(b"apikey", sent.fields)
        self.assertEqual(sent.target, b"/p?apikey=x&b=%7e")
        sent = request("/p?a=+&apikey=auth-one&b=%7e")
        self.accepted(sent, plugin.rewrite(sent))
        self.assertEqual(sent.target, b"/p?a=+&b=%7e")

    def test_redacted(self) -> None:
        """The query argument a key may stand in is marked for the logs, by the route's own name for it."""
        for plugin, target, name in (
            (instance(), "/p?apikey=auth-one", "apikey"),
            (instance(hide_credentials=True), "/p?apikey=auth-one", "apikey"),
            (instance(query="k"), "/p?k=bad", "k"),
            (instance(query="k"), "/p?k=auth-one&k=auth-one", "k"),
        ):
            sent = request(target)
            plugin.rewrite(sent)
            self.assertEqual(sent.context["redacted_args"], {name})
        sent = request("/p?apikey=auth-one", ("apikey", "auth-one"))
        self.accepted(sent, instance().rewrite(sent))
        self.assertEqual(sent.context["redacted_args"], {"apikey"}, "the key beside the one that counts")
        sent = request("/p", ("apikey", "auth-one"))
        self.accepted(sent, instance().rewrite(sent))
        self.assertEqual(sent.context, {})

    def test_not_hidden(self) -> None:
        """Unless asked, nothing is hidden, on the anonymous path neither."""
        sent = request("/p?apikey=x", ("apikey", "auth-one"))
        self.accepted(sent, instance().rewrite(sent))
        self.assertEqual((sent.fields.get(b"apikey"), sent.target), (b"auth-one", b"/p?apikey=x"))
        sent = request("/p?apikey=x", ("apikey", "bad"))
        self.assertIsNone(instance(anonymous_consumer="guest").rewrite(sent))
        self.assertEqual((sent.fields.get(b"apikey"), sent.target), (b"bad", b"/p?apikey=x"))

    def test_anonymous(self) -> None:
        """Whatever fails goes on as the anonymous consumer, with both places hidden if asked."""
        plugin = instance(anonymous_consumer="guest", hide_credentials=True)
        for sent, reason in (
            (request("/p"), "key_missing"),
            (request("/p?apikey=bad", ("apikey", "bad")), "key_unknown"),
        ):
            self.assertIsNone(plugin.rewrite(sent))
            assert sent.consumer is not None
            self.assertEqual(sent.consumer.username, "guest")
            self.assertEqual(sent.fields.pairs, [(b"x-consumer-username", b"guest")])
            self.assertEqual(sent.target, b"/p")
            self.assertEqual(sent.context["auth_failure"], reason)

    def test_anonymous_missing(self) -> None:
        """An anonymous consumer that does not exist helps nobody."""
        sent = request()
        reply = instance(anonymous_consumer="ghost").rewrite(sent)
        assert reply is not None
        self.assertEqual(reply.body, b'{"message":"Invalid user authorization"}\n')
        self.assertEqual(reply.reason, "anonymous_consumer_missing")

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=60))
    def test_arbitrary_bytes(self, text: bytes) -> None:
        """Arbitrary bytes as a key are 401, never an error."""
        plugin = instance(hide_credentials=True)
        wire = text.decode("latin-1")
        for sent in (request("/", ("apikey", wire)), request("/?apikey=" + wire.replace("&", ""))):
            self.refused(sent, plugin.rewrite(sent), UNKNOWN, "key_unknown")


class FactoryTests(SynchronousTestCase):
    registry = PluginRegistry([(key_auth.plugin, "tests")])

    def test_interfaces(self) -> None:
        """The plugin and its instances provide what they say."""
        self.assertTrue(verifyObject(IPluginFactory, key_auth.plugin))
        self.assertTrue(verifyObject(ICredentialFactory, key_auth.plugin))
        self.assertTrue(verifyObject(IRewritePhase, instance()))
        self.assertTrue(IPureHooks.providedBy(instance()))
        self.assertEqual(
            (key_auth.plugin.name, key_auth.plugin.priority, key_auth.plugin.kind), ("key-auth", 2500, "auth")
        )

    def test_credential_schema(self) -> None:
        """A credential needs a key that is text, of any length."""

        def rules(config: dict[str, Any]) -> list[tuple[str, str]]:
            return [(p.pointer, p.rule) for p in self.registry.check("key-auth", config, credential=True)]

        self.assertEqual(rules({"key": "k"}), [])
        self.assertEqual(rules({"key": ""}), [])
        self.assertEqual(rules({"key": "$env://K"}), [])
        self.assertEqual(rules({}), [("/key", "required")])
        self.assertEqual(rules({"key": 1}), [("/key", "type")])

    def test_unusable_credentials(self) -> None:
        """An empty key and an unresolved reference are left out of the index."""
        for key in ("", "$env://K", "$SECRET://vault/1/a/b"):
            self.assertRaises(ValueError, key_auth.plugin.credential, {"key": key})

    def test_route_schema(self) -> None:
        """Route settings are checked; an empty object is enough."""

        def rules(config: dict[str, Any]) -> list[tuple[str, str]]:
            return [(p.pointer, p.rule) for p in self.registry.check("key-auth", config)]

        self.assertEqual(rules({}), [])
        self.assertEqual(rules({"header": 1}), [("/header", "type")])
        self.assertEqual(rules({"realm": "a\\b"}), [("/realm", "pattern")])
        self.assertRaises(ValueError, instance, realm="a\r\nb")

    def test_docs(self) -> None:
        """The page names every setting and every reason code."""
        page = DOCS.read_text()
        names = [
            *key_auth.MESSAGES,
            *key_auth.MESSAGES.values(),
            *key_auth.plugin.schema["properties"],
            "anonymous_consumer_missing",
        ]
        self.assertEqual([name for name in names if f"`{name}`" not in page], [])
