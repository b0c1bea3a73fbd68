"""docs/plugin-authors.md is kept true: its example is run as a distribution of its own."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface

from gateway import interfaces
from gateway.binding import PluginBinder
from gateway.core.compiler import Compiler
from gateway.core.exchange import Exchange, Reply
from gateway.errors import PluginLoadError
from gateway.interfaces import IPluginFactory
from gateway.registry import META_SCHEMA, PluginRegistry, load_plugins
from tests.core.configs import ask, records, route, service
from tests.doubles import services

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugin-authors.md"
NOW = services().clock.time()
OPEN = {"begins": NOW + 60, "ends": NOW + 120}
CLOSED = {"begins": NOW - 60, "ends": NOW + 60}


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = PAGE.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        self.plugin, self.tests = (code for language, code in blocks if language == "python")
        (self.project,) = (tomllib.loads(code) for language, code in blocks if language == "toml")
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir(parents=True)
        self.patch(sys, "path", [str(self.root), *sys.path])
        self.addCleanup(self._forget)

    def _forget(self) -> None:
        importlib.invalidate_caches()
        for name in ("gateway_maintenance", "maintenance_tests", "no_built_in_plugins"):
            sys.modules.pop(name, None)

    def _install(self) -> PluginRegistry:
        """Lay the distribution out as an installer would, and load it; the built-in plugins stay out."""
        project = self.project["project"]
        (module,) = self.project["tool"]["setuptools"]["py-modules"]
        (self.root / f"{module}.py").write_text(self.plugin, encoding="utf-8")
        info = self.root / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = [
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in named.items())
            for group, named in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("".join(points))
        (self.root / "no_built_in_plugins").mkdir()
        (self.root / "no_built_in_plugins" / "__init__.py").write_text("")
        importlib.invalidate_caches()
        return load_plugins(["maintenance"], importlib.import_module("no_built_in_plugins"))

    def _serve(self, config: dict[str, Any]) -> tuple[Exchange, Any]:
        """A route with the plugin, compiled; the exchange and the reply of its access phase."""
        binder = PluginBinder(self._install(), services(), {})
        configured = records(service("s"), route("r", "/shop", plugins={"maintenance": config}))
        snapshot = Compiler(binder, "default").load(configured, 1)
        self.assertEqual(dict(snapshot.quarantined), {})
        ex = ask(snapshot, "/shop")
        ex.route = snapshot.routes["r"]
        replies = [hook(ex) for _, hook in ex.route.chain.access]
        for _, hook in ex.route.chain.header_filter:
            hook(ex)
        return ex, replies[0]

    def test_open(self) -> None:
        """Before the window, requests pass and visitors are told."""
        ex, reply = self._serve(OPEN)
        self.assertIsNone(reply)
        self.assertEqual(ex.response_fields.get(b"x-maintenance-at"), b"%d" % OPEN["begins"])

    def test_closed(self) -> None:
        """During the window, they are answered 503."""
        _, reply = self._serve(CLOSED)
        self.assertIsInstance(reply, Reply)
        self.assertEqual((reply.status, reply.body), (503, b'{"message":"Back soon"}\n'))
        self.assertEqual(dict(reply.fields)[b"retry-after"], b"61")
        self.assertEqual(reply.reason, "maintenance_closed")

    def test_meta(self) -> None:
        """What users set in ``_meta`` works without the plugin knowing."""
        _, reply = self._serve({**CLOSED, "_meta": {"error_response": "closed"}})
        self.assertEqual(reply.body, b"closed")

    def test_checked(self) -> None:
        """Settings are checked by the schema and by the plugin."""
        registry = self._install()
        self.assertEqual(registry.check("maintenance", OPEN), [])
        self.assertEqual([p.pointer for p in registry.check("maintenance", {"begins": 1})], ["/ends"])
        (problem,) = registry.check("maintenance", {"begins": 2, "ends": 1})
        self.assertEqual(problem.message, "ends must be later than begins")

    def test_its_own_test(self) -> None:
        """The test on the page passes."""
        self._install()
        module = ModuleType("maintenance_tests")
        sys.modules["maintenance_tests"] = module
        exec(compile(self.tests, str(PAGE), "exec"), module.__dict__)
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(module.MaintenanceTests)
        result = unittest.TestResult()
        suite.run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))

    def test_members_are_all_told(self) -> None:
        """The page names every member of the factory, every phase, and every member of ``_meta``."""
        factory = cast(Any, IPluginFactory)
        phases = [name for name in vars(interfaces) if name.startswith("I") and name.endswith("Phase")]
        self.assertEqual(len(phases), 7)
        hooks = [
            hook for phase in phases for hook in cast(type[Interface], getattr(interfaces, phase)).names()
        ]
        for name in (*factory.names(), *hooks):
            self.assertRegex(self.text, rf"`{name}[`(]")
        for name in (
            *phases,
            *META_SCHEMA["properties"],
            "ICredentialFactory",
            "INestingFactory",
            "IPureHooks",
            "IExplainedHooks",
        ):
            self.assertIn(f"`{name}`", self.text)

    def test_imports_exist(self) -> None:
        """Every module of the gateway that the page names is there."""
        for name in set(re.findall(r"gateway\.(?:core|model|interfaces|factories|testing)[.\w]*", self.text)):
            module, _, attribute = name.rpartition(".")
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                self.assertTrue(hasattr(importlib.import_module(module), attribute), name)

    def test_messages(self) -> None:
        """What stops the start is told in the words of the page."""
        registry = self._install()
        plugin = registry.factory("maintenance")
        self.assertIn("plugin maintenance is provided twice: by", self.text)
        error = self.assertRaises(PluginLoadError, PluginRegistry, [(plugin, "a"), (plugin, "b")])
        self.assertIn("plugin maintenance is provided twice: by a and by b", str(error))
        error = self.assertRaises(PluginLoadError, load_plugins, ["maintenances"])
        self.assertIn("plugin maintenances is enabled but not installed", str(error))
