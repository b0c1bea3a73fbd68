from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PluginLoadError
from gateway.registry import ENTRY_POINT_GROUP, META_SCHEMA, PluginRegistry, load_plugins
from tests.doubles import AuthFactory, PlainFactory


def registry(*factories: Any) -> PluginRegistry:
    return PluginRegistry([(factory, f"place {number}") for number, factory in enumerate(factories)])


class Anything:
    """A stranger: provides nothing."""


class GateTests(SynchronousTestCase):
    def _refusal(self, *factories: Any) -> str:
        return str(self.assertRaises(PluginLoadError, registry, *factories))

    def test_fine(self) -> None:
        """Plugins that provide what they should are in."""
        plain, auth = PlainFactory(), AuthFactory()
        found = registry(plain, auth)
        self.assertIn("plain", found)
        self.assertNotIn("other", found)
        self.assertIs(found.factory("some-auth"), auth)
        self.assertRaises(KeyError, found.factory, "other")

    def test_not_a_plugin(self) -> None:
        """What does not provide the interface is named, with the place it came from."""
        for stranger in (Anything(), PlainFactory, None, "plain"):
            text = self._refusal(stranger)
            self.assertIn("place 0", text)
            self.assertIn("is broken", text)

    def test_missing_member(self) -> None:
        """A missing attribute or method is named."""
        for member in ("priority", "schema", "secret_fields"):
            broken = PlainFactory()
            delattr(broken, member)
            self.assertIn(member, self._refusal(broken))
        for member in ("credential_schema", "key_field"):
            broken_auth = AuthFactory()
            delattr(broken_auth, member)
            self.assertIn(member, self._refusal(broken_auth))

    def test_wrong_signature(self) -> None:
        """A method that cannot be called as the interface says is named."""

        class Broken(PlainFactory):
            def make(self, config: Mapping[str, Any]) -> object:  # type: ignore[override]
                return None

        self.assertIn("make", self._refusal(Broken()))

    def test_wrong_types(self) -> None:
        """An attribute of another type stops the start, not the first request."""
        told: list[tuple[str, Any]] = [
            ("name", ""),
            ("name", 5),
            ("priority", "100"),
            ("priority", True),
            ("version", 1),
            ("kind", "authentication"),
            ("schema", []),
            ("schema", None),
            ("metadata_schema", []),
            ("secret_fields", "password"),
            ("secret_fields", ["password"]),
            ("secret_fields", (1,)),
        ]
        for member, value in told:
            plain = PlainFactory()
            setattr(plain, member, value)
            self.assertIn(member, self._refusal(plain))
        told = [("key_field", ""), ("credential_schema", None), ("credential_secret_fields", "key")]
        for member, value in told:
            auth = AuthFactory()
            setattr(auth, member, value)
            self.assertIn(member, self._refusal(auth))

    def test_bad_schema(self) -> None:
        """A schema that is none stops the start."""
        self.assertIn("plain", self._refusal(PlainFactory(schema={"type": "text"})))
        self.assertIn("some-auth", self._refusal(AuthFactory(credential_schema={"required": "key"})))

    def test_doubly_provided(self) -> None:
        """Two plugins of one name are a question of trust that nobody should decide by chance."""
        text = self._refusal(PlainFactory(), PlainFactory())
        self.assertEqual(text, "plugin plain is provided twice: by place 0 and by place 1")

    def test_all_faults(self) -> None:
        """Everything that is wrong is told at once."""
        text = self._refusal(
            PlainFactory(kind="x"), PlainFactory(name="b"), PlainFactory(name="b"), Anything()
        )
        self.assertEqual(len(text.split("; ")), 3)


class OrderTests(SynchronousTestCase):
    def test_priority(self) -> None:
        """Plugins are listed in the order they run: larger priorities first, then by name."""
        made = [
            PlainFactory(name=name, priority=p)
            for name, p in (("c", 1), ("b", 5), ("a", 5), ("d", -1), ("e", 9))
        ]
        for factories in (made, made[::-1]):
            self.assertEqual(registry(*factories).names, ["e", "a", "b", "c", "d"])

    def test_built_in(self) -> None:
        """The plugins that come with the gateway run in exactly this order; no two share a priority."""
        found = load_plugins(None)
        order = [(found.factory(name).priority, name) for name in found.names]
        pinned = [
            (23000, "real-ip"),
            (22000, "client-control"),
            (21991, "proxy-buffering"),
            (21990, "proxy-control"),
            (12015, "request-id"),
            (11000, "fault-injection"),
            (10900, "mocking"),
            (4000, "cors"),
            (3000, "ip-restriction"),
            (2999, "ua-restriction"),
            (2990, "referer-restriction"),
            (2980, "csrf"),
            (2900, "uri-blocker"),
            (2800, "request-validation"),
            (2600, "multi-auth"),
            (2530, "hmac-auth"),
            (2520, "basic-auth"),
            (2510, "jwt-auth"),
            (2509, "jwe-decrypt"),
            (2500, "key-auth"),
            (2410, "acl"),
            (2400, "consumer-restriction"),
            (2399, "attach-consumer-label"),
            (2002, "forward-auth"),
            (1010, "proxy-mirror"),
            (1008, "proxy-rewrite"),
            (1006, "workflow"),
            (1005, "api-breaker"),
            (1003, "limit-conn"),
            (1002, "limit-count"),
            (1001, "limit-req"),
            (995, "gzip"),
            (966, "traffic-split"),
            (900, "redirect"),
            (899, "response-rewrite"),
            (501, "public-api"),
            (500, "prometheus"),
            (450, "error-page"),
            (412, "echo"),
            (410, "http-logger"),
            (405, "tcp-logger"),
            (401, "syslog"),
            (400, "udp-logger"),
            (399, "file-logger"),
        ]
        self.assertEqual(order, pinned)


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = registry(PlainFactory(), AuthFactory())

    def test_meta_in_every_schema(self) -> None:
        """Every published schema takes ``_meta``; the plugin's own stays as it was."""
        found = load_plugins(None)
        names = [(n, credential) for n in found.names for credential in (False, True)[: 1 + found.is_auth(n)]]
        for name, credential in names:
            schema = found.published_schema(name, credential=credential)
            assert schema is not None
            self.assertEqual(schema["properties"]["_meta"], META_SCHEMA)
            jsonschema.Draft7Validator.check_schema(schema)
            self.assertNotIn("_meta", found.factory(name).schema["properties"])

    def test_none(self) -> None:
        """A plugin that takes no credentials has no schema for them; an unknown one has none at all."""
        self.assertIsNone(self.registry.published_schema("plain", credential=True))
        self.assertIsNone(self.registry.published_schema("other"))
        self.assertIsNone(self.registry.published_schema("other", credential=True))

    def test_meta_members(self) -> None:
        """``_meta`` holds its five members, of their types, and no others (data-plane contract §6)."""
        good: list[Any] = [
            {},
            {"disable": False, "priority": -3, "filter": [], "pre_function": "return"},
            {"error_response": "no"},
            {"error_response": {"code": 1}},
        ]
        bad: list[Any] = [
            {"disable": "true"},
            {"priority": "1"},
            {"priority": 1.5},
            {"filter": "x"},
            {"error_response": 1},
            {"error_response": []},
            {"pre_function": 1},
            {"other": 1},
            [],
            None,
        ]
        for meta in good:
            self.assertEqual(self.registry.check("plain", {"_meta": meta}), [], meta)
        for meta in bad:
            found = self.registry.check("plain", {"_meta": meta})
            self.assertEqual([problem.path[0] for problem in found], ["_meta"], meta)

    def test_meta_beside_closed_schema(self) -> None:
        """``_meta`` is welcome where the plugin's schema allows no other members."""
        config = {"key": "k" * 20, "_meta": {"priority": 1}}
        self.assertEqual(self.registry.check("some-auth", config, credential=True), [])


class CheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = registry(PlainFactory(), AuthFactory())

    def _told(
        self, name: str, config: Mapping[str, Any], *, credential: bool = False
    ) -> list[tuple[str, str]]:
        found = self.registry.check(name, config, credential=credential)
        return [(problem.rule, problem.message) for problem in found]

    def test_schema(self) -> None:
        """Settings that do not fit the schema are told so, by place."""
        (problem,) = self.registry.check("plain", {"n": "x"})
        self.assertEqual((problem.pointer, problem.rule), ("/n", "type"))

    def test_own_words(self) -> None:
        """What only the plugin can tell is told in its words, once the schema is content."""
        self.assertEqual(self._told("plain", {"n": 13}), [("value", "13 brings bad luck")])
        words = [("value", "a key must not say admin")]
        self.assertEqual(self._told("some-auth", {"key": "admin" * 5}, credential=True), words)
        self.assertEqual(
            [rule for rule, _ in self._told("some-auth", {"key": "admin"}, credential=True)], ["minLength"]
        )

    def test_two_schemas(self) -> None:
        """Settings on routes and on credentials are checked by schemas of their own."""
        self.assertEqual(self._told("some-auth", {"n": 1}), [])
        self.assertEqual(
            [rule for rule, _ in self._told("some-auth", {"n": 1}, credential=True)],
            ["required", "additionalProperties"],
        )

    def test_references(self) -> None:
        """A reference stands for a text of any length; what it leads to is seen when it is used."""
        self.assertEqual(self._told("some-auth", {"key": "$env://KEY"}, credential=True), [])

    def test_disabled(self) -> None:
        """A configuration that is switched off may be wrong in any way (data-plane contract §6)."""
        off = {"_meta": {"disable": True, "other": 1}}
        self.assertEqual(self._told("plain", {"n": "x", **off}), [])
        self.assertEqual(self._told("plain", {"n": 13, **off}), [])
        self.assertEqual(self._told("some-auth", off, credential=True), [])
        self.assertNotEqual(self._told("plain", {"n": "x", "_meta": {"disable": False}}), [])
        self.assertNotEqual(self._told("plain", {"_meta": {"disable": 1}}), [])

    def test_unused(self) -> None:
        """Settings without effect are told, with the reason; not those that say what is so anyway."""
        registry = load_plugins(None)
        config = {"host": "a", "port": 1, "flush_limit": 5, "pool_size": 5}
        wanted = ["flush_limit: batch_max_size and the times say when entries are sent"]
        self.assertEqual(registry.unused("syslog", config), wanted)
        self.assertEqual(registry.unused("syslog", {**config, "_meta": {"disable": True}}), [])
        lua = {"_meta": {"pre_function": "return function() end"}}
        told = ["_meta.pre_function: programs in Lua are not run"]
        self.assertEqual(registry.unused("key-auth", lua), told)
        nested = {"auth_plugins": [{"basic-auth": {}}, {"key-auth": lua}]}
        self.assertEqual(registry.unused("multi-auth", nested), [f"key-auth.{told[0]}"])

    def test_unknown(self) -> None:
        """An unknown plugin, and credentials for one that takes none, are the caller's error."""
        self.assertRaises(KeyError, self.registry.check, "other", {})
        self.assertRaises(KeyError, self.registry.check, "plain", {}, credential=True)

    def test_own_credential_texts(self) -> None:
        """The built-in auth plugins refuse unusable credentials in words that people know."""
        found = load_plugins(None)
        told = found.check("jwt-auth", {"key": "k", "secret": "", "algorithm": "HS256"}, credential=True)
        self.assertEqual([problem.pointer for problem in told], ["/secret"])
        (missing,) = found.check("jwt-auth", {"key": "k", "algorithm": "RS256"}, credential=True)
        self.assertEqual(missing.rule, "oneOf")
        (bad,) = found.check(
            "jwt-auth", {"key": "k", "algorithm": "RS256", "public_key": "none"}, credential=True
        )
        self.assertEqual((bad.rule, bad.path), ("value", ()))
        self.assertNotEqual(bad.message, "")
        (key,) = found.check("key-auth", {}, credential=True)
        self.assertEqual(key.pointer, "/key")

    def test_keys(self) -> None:
        """The value that must be unique is found; a reference may be anything and is none."""
        self.assertEqual(self.registry.key_of("some-auth", {"key": "a"}), "a")
        none: list[dict[str, Any]] = [{}, {"key": "$env://A"}, {"key": 5}]
        for config in none:
            self.assertIsNone(self.registry.key_of("some-auth", config))

    def test_kinds(self) -> None:
        """Only plugins that know credentials can be on one."""
        self.assertTrue(self.registry.is_auth("some-auth"))
        self.assertFalse(self.registry.is_auth("plain"))
        self.assertFalse(self.registry.is_auth("other"))

    def test_secrets(self) -> None:
        """Settings that are secret are known by name, on routes and on credentials."""
        self.assertEqual(self.registry.secret_fields("some-auth"), ("password", "key"))
        self.assertEqual(self.registry.secret_fields("plain"), ("password",))
        self.assertEqual(self.registry.secret_fields("other"), ())


FACTORY = "from tests.doubles import PlainFactory\n"


class LoadTests(SynchronousTestCase):
    """Plugins in a package of their own, and in distributions made for the occasion."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir(parents=True)
        self.patch(sys, "path", [str(self.root.absolute()), *sys.path])
        importlib.invalidate_caches()
        self.addCleanup(self._forget)
        self.package_name = f"plugins_of_{self.id().rpartition('.')[2]}"
        package = self.root / self.package_name
        package.mkdir()
        (package / "__init__.py").write_text("")

    def _forget(self) -> None:
        importlib.invalidate_caches()
        here = str(self.root.absolute())
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(here):
                del sys.modules[name]

    def _package(self, **modules: str) -> ModuleType:
        for name, text in modules.items():
            (self.root / self.package_name / f"{name}.py").write_text(text)
        return importlib.import_module(self.package_name)

    def _distribution(self, name: str, module: str, text: str, point: str = "plugin") -> None:
        (self.root / f"{module}.py").write_text(text)
        info = self.root / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{name} = {module}:{point}\n")

    def _refusal(self, enabled: list[str] | None, package: ModuleType) -> str:
        return str(self.assertRaises(PluginLoadError, load_plugins, enabled, package))

    def test_package(self) -> None:
        """Every plugin of the package is found, or those that are enabled."""
        package = self._package(
            one=FACTORY + "plugin = PlainFactory(name='one', priority=1)",
            two=FACTORY + "plugin = PlainFactory(name='two', priority=2)",
            helpers="def unrelated(): pass",
        )
        self.assertEqual(load_plugins(None, package).names, ["two", "one"])
        self.assertEqual(load_plugins(["one"], package).names, ["one"])
        self.assertEqual(load_plugins([], package).names, [])

    def test_missing(self) -> None:
        """A plugin that is enabled and not there stops the start."""
        package = self._package(one=FACTORY + "plugin = PlainFactory(name='one')")
        self.assertEqual(
            self._refusal(["one", "jwt-auht"], package), "plugin jwt-auht is enabled but not installed"
        )

    def test_broken_import(self) -> None:
        """A module that cannot be imported is named; it does not just vanish."""
        for text in ("import no_such_module", "1 / 0", "def ("):
            with self.subTest(text):
                name = f"broken{abs(hash(text))}"
                package = self._package(**{name: text})
                self.assertIn(f"{self.package_name}.{name} cannot be imported", self._refusal([], package))
                self.flushLoggedErrors()
                (self.root / self.package_name / f"{name}.py").unlink()

    def test_broken_interface(self) -> None:
        """A plugin that lacks something is named with its module."""
        package = self._package(one=FACTORY + "plugin = PlainFactory(name='one', schema=None)")
        text = self._refusal(None, package)
        self.assertIn(f"plugin one ({self.package_name}.one:plugin) is broken: ", text)
        self.assertIn("schema", text)

    def test_passed_over(self) -> None:
        """A plugin that twisted.plugin would pass over in silence is named."""
        text = (
            "from zope.interface import implementer_only\n"
            "from gateway.interfaces import IPluginFactory\n"
            "from tests.doubles import PlainFactory\n"
            "@implementer_only(IPluginFactory)\n"
            "class Factory(PlainFactory): pass\n"
            "plugin = Factory(name='one')\n"
        )
        told = self._refusal(None, self._package(one=text))
        self.assertIn("plugin one", told)
        self.assertIn("twisted.plugin.IPlugin", told)

    def test_doubly_provided(self) -> None:
        """Two modules with plugins of one name are both named."""
        package = self._package(
            one=FACTORY + "plugin = PlainFactory(name='same')",
            two=FACTORY + "plugin = PlainFactory(name='same')",
        )
        text = self._refusal(["same"], package)
        self.assertIn("provided twice", text)
        self.assertIn(f"{self.package_name}.one:plugin", text)
        self.assertIn(f"{self.package_name}.two:plugin", text)

    def test_other_distribution(self) -> None:
        """A plugin of another distribution is found by its entry point."""
        self._distribution("gw-extra", "gw_extra_fine", FACTORY + "plugin = PlainFactory(name='extra')")
        self.assertEqual(load_plugins(["extra"], self._package()).names, ["extra"])

    def test_no_replacement(self) -> None:
        """Another distribution cannot put itself in the place of a plugin that comes with the gateway."""
        self._distribution("gw-evil", "gw_evil_twin", FACTORY + "plugin = PlainFactory(name='jwt-auth')")
        text = str(self.assertRaises(PluginLoadError, load_plugins, ["jwt-auth"]))
        self.assertIn("jwt-auth is provided twice", text)
        self.assertIn("gateway.plugins.jwt_auth:plugin", text)
        self.assertIn("gw_evil_twin:plugin of gw-evil", text)

    def test_broken_distribution(self) -> None:
        """An entry point that leads nowhere is named with its distribution."""
        self._distribution("gw-gone", "gw_gone", "plugin = None", point="nothing")
        text = self._refusal([], self._package())
        self.assertIn("gw_gone:nothing of gw-gone cannot be imported", text)

    def test_entry_point_to_a_class(self) -> None:
        """An entry point has to name the factory itself, not its class."""
        self._distribution("gw-class", "gw_class_point", FACTORY, point="PlainFactory")
        text = self._refusal(None, self._package())
        self.assertIn("gw_class_point:PlainFactory of gw-class", text)
        self.assertIn("is broken", text)

    def test_all_faults(self) -> None:
        """Everything that is wrong is told at once."""
        self._distribution("gw-gone", "gw_gone_too", "", point="nothing")
        package = self._package(bad="1 / 0")
        text = self._refusal(["missing"], package)
        self.flushLoggedErrors()
        self.assertEqual(len(text.split("; ")), 3)
