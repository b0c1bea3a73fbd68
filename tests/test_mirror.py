"""Every module has its test module at the same place: gateway/core/router.py, tests/core/test_router.py."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

EXCEPTIONS: Mapping[str, str] = {
    "gateway/admin/apisix_kinds.py": "a table; tests/admin/test_apisix.py goes through all of it",
    "gateway/admin/calls.py": "tested through the API that is made of it, tests/admin/test_enterprise.py",
    "gateway/admin/kinds.py": "a table; tests/admin/test_resources.py goes through all of it",
    "gateway/admin/refusals.py": "values; every refusal is seen in tests/admin/test_enterprise_errors.py",
    "gateway/app.py": "the composition root; run for real by tests/e2e",
    "gateway/control/served.py": "an interface and its simplest provider; tests/control/test_remote.py",
    "gateway/control/slot.py": "tested through those who hold slots, tests/control/test_workers.py",
    "gateway/control/worker.py": "tested through those who hold workers, tests/control/test_workers.py",
    "gateway/control/worker_link.py": "both ends talk in tests/control/test_workers.py",
    "gateway/control/worker_process.py": "starts processes; run for real by tests/e2e/test_workers.py",
    "gateway/counters/scripts.py": "run by a real Redis in tests/counters/test_redis.py",
    "gateway/data_plane.py": "a composition; run for real by tests/e2e, in one process and in several",
    "gateway/errors.py": "names only",
    "gateway/interfaces.py": "interfaces only; tests/test_registry.py verifies those that provide them",
    "gateway/parts.py": "parts of a composition; run for real by tests/e2e",
    "gateway/proxy/downstream.py": "an interface; tests/proxy/test_site.py drives what provides it",
    "gateway/proxy/limits.py": "numbers only",
    "gateway/proxy/resource.py": "driven by real clients in tests/proxy/test_site.py",
    "gateway/services.py": "protocols; tests/test_registry.py makes plugins with stand-ins",
    "gateway/store/sqlite_log.py": "tested through the store, tests/store/test_sqlite.py",
    "gateway/testing/tokens.py": "tested through what verifies its tokens, tests/plugins/test_jwt_auth.py",
}
"""
Modules without a test module of their own, and where they are tested instead. The list only gets
shorter: an entry goes when the test module comes.
"""


def test_module(path: str) -> str:
    """Where the tests of a module belong."""
    folder, _, name = path.removeprefix("gateway/").rpartition("/")
    return "/".join(["tests", *([folder] if folder else []), f"test_{name}"])


test_module.__test__ = False  # type: ignore[attr-defined]


def has_code(text: str) -> bool:
    """Whether a module holds anything that could go wrong: more than a docstring, imports and names."""
    return any(
        not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)
        for node in ast.parse(text).body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Call))
    )


def tells_tests(text: str) -> bool:
    """Whether a test module has a test in it, of its own or inherited."""
    return any(
        isinstance(node, ast.ClassDef) and node.name.endswith("Tests") and node.bases
        for node in ast.walk(ast.parse(text))
    )


class MirrorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.modules = {
            file.relative_to(ROOT).as_posix()
            for file in (ROOT / "gateway").rglob("*.py")
            if file.name != "__init__.py"
        }

    def test_names(self) -> None:
        """Where a test module belongs can be told from the module's path alone."""
        self.assertEqual(test_module("gateway/core/router.py"), "tests/core/test_router.py")
        self.assertEqual(test_module("gateway/tap.py"), "tests/test_tap.py")
        self.assertEqual(test_module("gateway/a/b/c.py"), "tests/a/b/test_c.py")

    def test_every_module(self) -> None:
        """Whoever wants to know what a module promises finds its tests at once."""
        missing = [
            f"{path}: no {test_module(path)}"
            for path in sorted(self.modules - EXCEPTIONS.keys())
            if not (ROOT / test_module(path)).exists()
        ]
        self.assertEqual(missing, [])

    def test_tests_in_them(self) -> None:
        """A test module is not an empty shell."""
        empty = [
            path
            for path in map(test_module, sorted(self.modules))
            if (ROOT / path).exists() and not tells_tests((ROOT / path).read_text())
        ]
        self.assertEqual(empty, [])

    def test_exceptions(self) -> None:
        """The list of exceptions holds nothing that has its tests by now, and nothing that is gone."""
        for path, reason in EXCEPTIONS.items():
            self.assertIn(path, self.modules, "is gone: take it off the list")
            self.assertFalse((ROOT / test_module(path)).exists(), f"{path} has tests: take it off the list")
            self.assertTrue(reason, path)

    def test_folders(self) -> None:
        """An __init__ holds no code: it would have no tests."""
        for file in sorted((ROOT / "gateway").rglob("__init__.py")):
            self.assertFalse(has_code(file.read_text()), file.relative_to(ROOT).as_posix())
        for text in ("def f():\n    pass\n", "class A:\n    pass\n", "if x:\n    y = 1\n"):
            self.assertTrue(has_code(text), text)
