"""Which members are secret, and what encryption promises about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.store.sealing import PREFIX, Sealer, is_sealed, key_id, secret_places

OLD, NEW = b"o" * 32, b"n" * 32
KEY = ("g", "credential", "ann/c1")
FIELDS = {"jwt-auth": ("secret", "private_key"), "openid-connect": ("session", "tokens")}


def fields(plugin: str) -> Sequence[str]:
    return FIELDS.get(plugin, ())


def sealer(*keys: bytes) -> Sealer:
    return Sealer(keys, fields)


def texts(value: Any, path: str = "") -> dict[str, str]:
    """Every text of a document, by the dotted path to it."""
    if isinstance(value, Mapping):
        items = [(str(name), item) for name, item in value.items()]
    elif isinstance(value, list):
        items = [(str(i), item) for i, item in enumerate(value)]
    else:
        return {path[1:]: value} if isinstance(value, str) else {}
    return {p: text for name, item in items for p, text in texts(item, f"{path}.{name}").items()}


def sealed_paths(value: Any) -> set[str]:
    return {path for path, text in texts(value).items() if is_sealed(text)}


def with_secret(secret: object) -> dict[str, Any]:
    return {"plugins": {"jwt-auth": {"secret": secret}}}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(PREFIX + "x") | st.just("$env://A"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["plugins", "jwt-auth", "secret", "tls", "client_key", "x"]), inner)
    ),
    max_leaves=12,
)


class PlaceTests(SynchronousTestCase):
    """What is secret in a document."""

    def check(self, kind: str, value: Mapping[str, Any], expected: set[str]) -> None:
        sealed = sealer(OLD).seal(("g", kind, "x"), value)
        self.assertEqual(sealed_paths(sealed), expected)

    def test_plugin_settings(self) -> None:
        """Settings that a plugin calls secret are, in every kind that has plugins; others are not."""
        plugins = {
            "jwt-auth": {"key": "ann", "secret": "s", "private_key": "p", "algorithm": "HS256"},
            "key-auth": {"secret": "of another plugin"},
        }
        for kind in ("service", "route", "consumer", "credential", "global_rule", "plugin_config"):
            self.check(
                kind, {"plugins": plugins}, {"plugins.jwt-auth.secret", "plugins.jwt-auth.private_key"}
            )

    def test_plugins_inside_a_plugin(self) -> None:
        """So are those of a plugin in the settings of another, be it in an object or behind its name."""
        inner = {"secret": "s", "other": "o"}
        self.check(
            "route",
            {
                "plugins": {
                    "multi-auth": {"auth_plugins": [{"jwt-auth": inner}]},
                    "workflow": {"rules": [{"actions": [["return"], ["jwt-auth", inner], ["x", inner]]}]},
                }
            },
            {
                "plugins.multi-auth.auth_plugins.0.jwt-auth.secret",
                "plugins.workflow.rules.0.actions.1.1.secret",
            },
        )

    def test_texts_below_a_secret_setting(self) -> None:
        """If a secret setting is a list or an object, every text in it is secret."""
        value = {"session": {"secret": "s", "n": 1}, "tokens": ["a", {"b": "c"}, None, True]}
        self.check(
            "route",
            {"plugins": {"openid-connect": value}},
            {
                "plugins.openid-connect.session.secret",
                "plugins.openid-connect.tokens.0",
                "plugins.openid-connect.tokens.1.b",
            },
        )

    def test_certificates(self) -> None:
        """Private keys of a certificate are secret; certificates and names are not."""
        value = {"cert": "c", "key": "k", "certs": ["c1"], "keys": ["k1", "k2"], "snis": ["a.example"]}
        self.check("ssl", value, {"key", "keys.0", "keys.1"})
        self.check("route", value, set())

    def test_upstream_client_key(self) -> None:
        """The key a gateway shows to its upstreams is secret, in an upstream and inside a service."""
        tls = {"tls": {"client_cert": "c", "client_key": "k"}}
        self.check("upstream", tls, {"tls.client_key"})
        self.check("service", {"upstream": tls}, {"upstream.tls.client_key"})

    def test_secret_managers(self) -> None:
        """What opens a secret manager is secret."""
        self.check("secret_provider", {"uri": "https://v", "token": "t"}, {"token"})

    def test_versions_of_a_service(self) -> None:
        """The secrets of a service and its routes are secret in a version of them, too."""
        document = with_secret("s")
        self.check(
            "service_version",
            {"service": document, "routes": {"r": document}, "stream_routes": {"t": document}},
            {f"{where}.plugins.jwt-auth.secret" for where in ("service", "routes.r", "stream_routes.t")},
        )
        self.check("service_version", {"service": 1, "routes": {"r": 2}, "stream_routes": [3]}, set())

    def test_authority(self) -> None:
        """The key of the authority that signs data planes' certificates is secret."""
        self.check("authority", {"cert": "c", "key": "k"}, {"key"})

    def test_documents_of_another_shape(self) -> None:
        """A document that is not shaped as expected is no error."""
        for value in ({}, {"plugins": []}, {"plugins": {"jwt-auth": 7}}, {"upstream": [1]}, {"keys": 3}):
            for kind in ("ssl", "service"):
                self.assertIs(sealer(OLD).seal(("g", kind, "x"), value), value)

    def test_places_name_paths(self) -> None:
        """Places are paths from the document's root."""
        places = secret_places("credential", with_secret("s"), fields)
        self.assertIn(("plugins", "jwt-auth", "secret"), places)
        self.assertNotIn(("key",), places)


class SealerTests(SynchronousTestCase):
    """Sealing and opening."""

    def test_round_trip(self) -> None:
        """What is sealed opens to the same text, whatever the text."""
        for text in ("s", "", "ünï 𝄞 \x00", "\ud800 alone", "x" * 100_000, PREFIX, PREFIX + "abc"):
            sealed = sealer(OLD).seal(KEY, with_secret(text))
            self.assertEqual(sealed_paths(sealed), {"plugins.jwt-auth.secret"})
            opened = sealer(OLD).unseal(KEY, json.loads(json.dumps(sealed)))
            self.assertEqual((opened.value, opened.damaged), (with_secret(text), ()))

    def test_the_writers_document_stays(self) -> None:
        """Sealing makes a copy; what holds no secret is passed on as it is."""
        value = {"name": "n", **with_secret("s"), "labels": {"a": "b"}}
        sealed = sealer(OLD).seal(KEY, value)
        self.assertEqual(value["plugins"]["jwt-auth"]["secret"], "s")
        self.assertIs(sealed["labels"], value["labels"])
        plain = {"name": "n", "plugins": {"cors": {}}}
        self.assertIs(sealer(OLD).seal(KEY, plain), plain)

    def test_form(self) -> None:
        """Sealed text names its form and key, and never comes out twice the same."""
        first = sealer(OLD).seal(KEY, with_secret("s"))["plugins"]["jwt-auth"]["secret"]
        second = sealer(OLD).seal(KEY, with_secret("s"))["plugins"]["jwt-auth"]["secret"]
        self.assertTrue(first.startswith(f"$sealed$v1${key_id(OLD)}$"), first)
        self.assertNotEqual(first, second)

    def test_references_stay_in_clear(self) -> None:
        """A reference to a secret is none itself."""
        for text in ("$env://SECRET", "$ENV://SECRET", "$secret://vault/1/jwt/key"):
            value = with_secret(text)
            self.assertIs(sealer(OLD).seal(KEY, value), value)

    def test_bound_to_its_place(self) -> None:
        """Sealed text opens in no other group, kind, record or member than its own."""
        value = {"plugins": {"jwt-auth": {"secret": "s", "private_key": "p"}}}
        sealed = sealer(OLD).seal(KEY, value)
        for key in (("h", *KEY[1:]), ("g", "consumer", KEY[2]), ("g", "credential", "bob/c1")):
            opened = sealer(OLD).unseal(key, sealed)
            self.assertEqual((opened.value, len(opened.damaged)), (sealed, 2))
        box = sealed["plugins"]["jwt-auth"]
        swapped = {"plugins": {"jwt-auth": {"secret": box["private_key"], "private_key": box["secret"]}}}
        self.assertEqual(sealer(OLD).unseal(KEY, swapped).value, swapped)
        moved = {"desc": box["secret"]}
        self.assertEqual(sealer(OLD).unseal(KEY, moved).value, moved)

    def test_places_cannot_be_blended(self) -> None:
        """Two places whose parts read the same when strung together are still two."""
        sealed = sealer(OLD).seal(("a", "b", "c/d"), with_secret("s"))
        self.assertEqual(len(sealer(OLD).unseal(("a/b", "c", "d"), sealed).damaged), 1)

    def test_tampering(self) -> None:
        """Sealed text that was changed anywhere, or cut, does not open and stays as it is."""
        text = sealer(OLD).seal(KEY, with_secret("secret"))["plugins"]["jwt-auth"]["secret"]
        start = len(PREFIX)
        broken = [
            text[:i] + ("A" if text[i] != "A" else "B") + text[i + 1 :] for i in range(start, len(text) - 4)
        ]
        broken += [text[:i] for i in range(start, len(text))]
        broken += [text + "=", text + "A", text + "\n", text.replace("$v1$", "$v1$ ")]
        for each in broken:
            opened = sealer(OLD).unseal(KEY, with_secret(each))
            self.assertEqual(opened.value, with_secret(each))
            self.assertEqual(opened.damaged, (("plugins", "jwt-auth", "secret"),), each)

    def test_rotation(self) -> None:
        """The first key seals, every key opens."""
        sealed = sealer(OLD).seal(KEY, with_secret("s"))
        both = sealer(NEW, OLD)
        self.assertEqual(both.unseal(KEY, sealed).value, with_secret("s"))
        self.assertFalse(both.is_current(KEY, sealed))
        again = both.seal(KEY, with_secret("s"))
        self.assertTrue(both.is_current(KEY, again))
        self.assertEqual(sealer(NEW).unseal(KEY, again).value, with_secret("s"))
        self.assertEqual(len(sealer(OLD).unseal(KEY, again).damaged), 1)
        self.assertFalse(both.is_current(KEY, with_secret("in clear")))
        self.assertTrue(both.is_current(KEY, with_secret("$env://A")))

    def test_damaged_text_is_put_back_unchanged(self) -> None:
        """Text that does not open is not sealed a second time, so its key can still heal it."""
        sealed = sealer(OLD).seal(KEY, with_secret("s"))
        self.assertIs(sealer(NEW).seal(KEY, sealed), sealed)

    def test_planted_text(self) -> None:
        """Who writes a sealed text that would open gets that very text back, not what is in it."""
        sealed = sealer(OLD).seal(KEY, with_secret("s"))
        twice = sealer(OLD).seal(KEY, sealed)
        self.assertEqual(sealer(OLD).unseal(KEY, twice).value, sealed)

    def test_former_secret_members(self) -> None:
        """A member that its plugin no longer calls secret still opens."""
        sealed = sealer(OLD).seal(KEY, with_secret("s"))
        later = Sealer((OLD,), lambda plugin: ())
        self.assertEqual(later.unseal(KEY, sealed).value, with_secret("s"))

    def test_without_keys(self) -> None:
        """Without keys nothing is sealed, and sealed text is damage; text that only begins like it is not."""
        nothing = sealer()
        self.assertEqual(nothing.seal(KEY, with_secret("s")), with_secret("s"))
        sealed = sealer(OLD).seal(KEY, with_secret("s"))
        self.assertEqual(len(nothing.unseal(KEY, sealed).damaged), 1)
        self.assertEqual(nothing.unseal(KEY, with_secret(PREFIX + "!")).damaged, ())

    def test_keys_are_checked_and_not_shown(self) -> None:
        """A key of another length is refused; no text shows a key."""
        for key in (b"", b"k" * 16, b"k" * 31, b"k" * 33):
            self.assertRaises(ValueError, sealer, key)
        shown = repr(sealer(OLD, NEW)) + str(vars(sealer(OLD)))
        self.assertNotIn("oooo", shown)

    @settings(deadline=None, max_examples=150)
    @given(st.dictionaries(st.sampled_from(["plugins", "tls", "key", "keys", "x"]), _JSON))
    def test_any_document(self, value: dict[str, Any]) -> None:
        """Any document comes back as it was, and is readable with its key only."""
        key = ("g", "ssl", "x")
        sealed = sealer(OLD).seal(key, value)
        opened = sealer(NEW, OLD).unseal(key, sealed)
        self.assertEqual((opened.value, opened.damaged), (value, ()))
        self.assertEqual(bool(sealer(NEW).unseal(key, sealed).damaged), bool(sealed_paths(sealed)))
        self.assertTrue(sealer(OLD).is_current(key, sealed))
