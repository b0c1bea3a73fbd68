"""Folders are layers: who may import whom. Every import of the package is read and held against one table."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

_PURE = frozenset({"model", "core"})
_VALUES = frozenset({"model", "core", "interfaces", "errors"})
_SHELLS = frozenset({"http1", "upstream", "proxy", "store", "telemetry", "counters", "secrets"})

TABLE: Mapping[str, frozenset[str]] = {
    "": frozenset(),
    # Values, behaviour without I/O, and the seams.
    "model": frozenset(),
    "core": frozenset({"model"}),
    "errors": frozenset({"model"}),
    "services": frozenset({"model", "core"}),
    "interfaces": frozenset({"model", "core", "services"}),
    "factories": frozenset({"model", "core", "interfaces"}),
    "loggers": frozenset({"model", "core", "interfaces", "factories"}),
    # Plugins: not a shell in sight; what they need is handed to them.
    "plugins": frozenset({"model", "core", "interfaces", "factories", "loggers"}),
    "testing": frozenset({"model", "core", "interfaces", "factories", "registry", "binding"}),
    # Shells.
    "files": frozenset(),
    "heap": frozenset(),
    "threads": frozenset(),
    "answer_timer": frozenset(),
    "certificates": frozenset({"files"}),
    "http1": _VALUES,
    "upstream": _VALUES | {"http1"},
    "proxy": _VALUES | {"http1", "upstream"},
    "counters": _VALUES | {"upstream", "answer_timer"},
    "store": _VALUES | {"files"},
    "telemetry": _VALUES,
    "secrets": _VALUES,
    # Settings of the process.
    "settings_fields": frozenset({"model", "errors"}),
    "settings_source": frozenset({"model", "errors"}),
    "settings": frozenset({"model", "errors", "certificates", "settings_fields", "settings_source"}),
    "inherited": frozenset({"errors", "settings", "settings_fields"}),
    "certificate_care": _VALUES | {"certificates", "control", "settings"},
    "reload": frozenset({"settings"}),
    "bootstrap": frozenset({"errors", "files", "settings", "settings_fields", "telemetry"}),
    # Finding plugins (the folder, no plugin by name), and binding them into chains.
    "registry": _VALUES | {"plugins"},
    "binding": _VALUES | {"registry"},
    # A change on its way, and the API.
    "control": _VALUES | _SHELLS | {"settings_fields", "answer_timer"},
    "admin": _VALUES | _SHELLS | {"control", "registry"},
    # What serves requests in one process, put together.
    "settings_text": frozenset({"settings", "settings_fields"}),
    "parts": _VALUES | _SHELLS | {"binding", "registry", "settings", "threads"},
    "data_plane": _VALUES | _SHELLS | {"parts", "registry", "settings", "settings_fields", "threads"},
    "first_records": _VALUES | {"admin", "bootstrap", "control", "settings"},
    "site_listeners": frozenset({"certificates", "data_plane", "inherited", "settings_fields"}),
    # The composition roots, of the first process and of a worker, see all but the kit for tests.
    "app": _VALUES
    | _SHELLS
    | {"admin", "binding", "bootstrap", "certificates", "control", "data_plane", "inherited", "parts"}
    | {"certificate_care", "first_records", "heap", "registry", "reload", "settings", "settings_fields"}
    | {"settings_text", "site_listeners", "threads"},
    "worker": _VALUES
    | {"certificates", "control", "counters", "data_plane", "heap", "http1", "parts", "registry"}
    | {"settings", "settings_text"},
    "tap": frozenset({"app", "bootstrap", "errors", "http1", "registry", "reload", "settings"}),
}
"""
What a folder, or a module beside the folders, may import of the package besides itself; ``""`` is
the package's own ``__init__``. ``model`` < ``core`` < ``services`` < ``interfaces`` < plugins and shells <
``control``, ``admin`` < ``app``, ``tap``. Imports under ``TYPE_CHECKING`` count like any other: knowing a
type is knowing the layer. Inside one layer they are the way out of a circle.
"""

IMPURE = frozenset(
    {"asyncio", "http", "httptools", "klein", "multiprocessing", "random", "secrets", "select", "selectors"}
    | {"signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "treq", "twisted"}
    | {"urllib.request", "zope"}
)
"""Not for ``model`` and ``core``: I/O, waiting, chance."""
IMPURE_CALLS = frozenset(
    {"open", "print", "input", "exec", "eval", "time.time", "time.time_ns", "time.monotonic", "time.sleep"}
    | {"time.perf_counter", "os.open", "os.environ", "os.getenv", "os.urandom", "datetime.now"}
)
"""Nor these: time is an argument there, and so is the environment."""


@frozen
class Import:
    """One name a module imports; *name* in full, *late* if it is not for run time."""

    path: str
    line: int
    name: str
    late: bool

    @property
    def module(self) -> str:
        """The module that imports."""
        return module_of(self.path)

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(path: str, text: str) -> Iterator[Import]:
    """Every import in a module, those in functions included (they are *late*: circles may pass there)."""

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(path, child.lineno, alias.name, late)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = path.removesuffix(".py").split("/")[: -child.level]
                    base = ".".join([*parts, *([base] if base else [])])
                for alias in child.names:
                    yield Import(path, child.lineno, f"{base}.{alias.name}", late)
            else:
                deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(
                    child
                )
                yield from walk(child, late or deferred)

    yield from walk(ast.parse(text, path), False)


def is_part_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


class Layers:
    """The package's sources: path from the repository's root → text."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources
        self.modules = {module_of(path) for path in sources}
        self.packages = {module.rpartition(".")[0] for module in self.modules} | {"gateway"}
        self.imports = [one for path, text in sources.items() for one in imports(path, text)]

    def module_in(self, name: str) -> str | None:
        """The module of the package that *name* is or is in; None if it is none of ours."""
        while name and name not in self.modules and name not in self.packages:
            name = name.rpartition(".")[0]
        return name if is_part_of(name, "gateway") else None

    @staticmethod
    def layer(module: str) -> str:
        return module.split(".")[1] if "." in module else ""

    def problems(self) -> list[str]:
        """Every breach, with file and line."""
        found = [
            f"{path}: the folder has no place in the table"
            for path in self.sources
            if self.layer(module_of(path)) not in TABLE
        ]
        for one in self.imports:
            found.extend(f"{one.where}: {text}" for text in self._breaches(one))
        for path, text in self.sources.items():
            if self.layer(module_of(path)) in _PURE:
                found.extend(impure_calls(path, text))
        return found

    def _breaches(self, one: Import) -> Iterator[str]:
        layer = self.layer(one.module)
        if is_part_of(one.name, "twisted.internet.reactor") and layer not in ("app", "tap", "worker"):
            yield "only gateway/{app,tap,worker}.py may see the reactor; take it as an argument"
        if is_part_of(one.name, "authlib.jose") and one.path != "gateway/core/jws.py":
            yield "only gateway/core/jws.py may import authlib.jose"
        if is_part_of(one.name, "asyncio"):
            yield "no asyncio: coroutines run by Deferred.fromCoroutine"
        if is_part_of(one.name, "importlib") and layer != "registry":
            yield "only gateway/registry.py may import by name at run time; nobody could read this here"
        if layer in _PURE and any(is_part_of(one.name, impure) for impure in IMPURE):
            yield f"{layer} is pure and may not import {one.name}"
        target = self.module_in(one.name)
        if target is None:
            return
        other = self.layer(target)
        if other == "plugins" and target not in ("gateway.plugins", one.module):
            yield f"nobody imports a plugin by name, {target}; they are found by the registry"
        # "from gateway import __version__" and the like: the package itself is nobody's secret.
        elif other not in ("", layer) and other not in TABLE.get(layer, frozenset()):
            allowed = ", ".join(sorted(TABLE.get(layer, frozenset()))) or "nothing else of the package"
            yield f"{layer or 'gateway'} may not import {target} (it may import: {allowed})"

    def circles(self) -> list[str]:
        """Modules that import each other when they are loaded."""
        edges: dict[str, dict[str, str]] = {module: {} for module in self.modules}
        for one in self.imports:
            target = self.module_in(one.name)
            if not one.late and target in edges and target != one.module:
                edges[one.module].setdefault(target, one.where)
        found: list[str] = []
        done: set[str] = set()

        def visit(module: str, path: list[str]) -> None:
            if module in path:
                circle = [*path[path.index(module) :], module]
                found.append(
                    " imports ".join(circle) + f" ({', '.join(edges[a][b] for a, b in pairwise(circle))})"
                )
            elif module not in done:
                for target in edges[module]:
                    visit(target, [*path, module])
                done.add(module)

        for module in sorted(edges):
            visit(module, [])
        return found


def impure_calls(path: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text, path)):
        name = ""
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name != "os.environ":
                continue
        if name in IMPURE_CALLS or name.endswith(".datetime.now"):
            yield f"{path}:{node.lineno}: {name} is I/O, or time nobody can set; make it an argument"


def package() -> Layers:
    files = sorted((ROOT / "gateway").rglob("*.py"))
    return Layers({file.relative_to(ROOT).as_posix(): file.read_text() for file in files})


class LayersTests(SynchronousTestCase):
    """The package as it is."""

    def test_table(self) -> None:
        """Every module imports only what its layer may see."""
        self.assertEqual([], package().problems(), "see TABLE in tests/test_layers.py")

    def test_circles(self) -> None:
        """No module needs itself to be loaded before it is."""
        self.assertEqual([], package().circles())

    def test_no_empty_places(self) -> None:
        """What the table allows for is there: no place is kept for what is gone."""
        layers = package()
        self.assertEqual(set(TABLE), {layers.layer(module) for module in layers.modules})
        for layer, others in TABLE.items():
            self.assertEqual(others - set(TABLE), set(), layer)

    def test_order(self) -> None:
        """The table itself has no circle: each layer stands above all that it may import."""
        below: dict[str, frozenset[str]] = dict(TABLE)
        while below:
            lowest = {layer for layer, others in below.items() if not others & below.keys()}
            self.assertTrue(lowest, f"a circle among {sorted(below)}")
            below = {layer: others for layer, others in below.items() if layer not in lowest}

    def test_command_line_plugin(self) -> None:
        """The file in twisted/plugins names the service and imports nothing of it."""
        path = "twisted/plugins/gateway_plugin.py"
        names = [one.name for one in imports(path, (ROOT / path).read_text())]
        self.assertEqual(names, ["twisted.application.service.ServiceMaker"])


class BreachTests(SynchronousTestCase):
    """What would be found."""

    def problems(self, path: str, text: str) -> list[str]:
        others = {
            "gateway/__init__.py": "",
            "gateway/model/__init__.py": "",
            "gateway/model/upstream.py": "",
            "gateway/core/__init__.py": "",
            "gateway/core/auth.py": "",
            "gateway/interfaces.py": "",
            "gateway/plugins/__init__.py": "",
            "gateway/plugins/key_auth.py": "",
            "gateway/proxy/__init__.py": "",
            "gateway/proxy/runner.py": "",
            "gateway/testing/__init__.py": "",
        }
        return Layers({**others, path: text}).problems()

    def found(self, path: str, text: str, *wanted: str) -> None:
        problems = self.problems(path, text)
        self.assertEqual(len(problems), len(wanted), problems)
        for problem, part in zip(problems, wanted, strict=True):
            self.assertIn(part, problem)

    def test_upwards(self) -> None:
        """A lower layer that imports a higher one is named with file and line, however it spells it."""
        wanted = "gateway/core/x.py:2: core may not import gateway.proxy.runner"
        for line in (
            "import gateway.proxy.runner",
            "import gateway.proxy.runner as r",
            "from gateway.proxy.runner import Runner",
            "from gateway.proxy import runner",
            "from ..proxy import runner",
            "from ..proxy.runner import Runner",
        ):
            self.found("gateway/core/x.py", f"import re\n{line}\n", wanted)
        self.found("gateway/core/x.py", "from gateway import proxy\n", "core may not import gateway.proxy")

    def test_hidden(self) -> None:
        """An import in a function or only for types is one too."""
        for text in (
            "def f():\n    from gateway.proxy import runner\n",
            "if typing.TYPE_CHECKING:\n    from gateway.proxy.runner import Runner\n",
            "try:\n    import gateway.proxy.runner\nexcept ImportError:\n    pass\n",
        ):
            self.found("gateway/model/x.py", text, "model may not import gateway.proxy.runner")

    def test_allowed(self) -> None:
        """Downwards and beside is fine; so is what is not ours."""
        text = "import re\nfrom gateway.model.upstream import Node\nfrom gateway.core import auth\n"
        for path in (
            "gateway/core/x.py",
            "gateway/plugins/x.py",
            "gateway/proxy/x.py",
            "gateway/control/x.py",
        ):
            self.assertEqual(self.problems(path, text), [], path)
        self.assertEqual(self.problems("gateway/core/x.py", "from gateway import __version__\n"), [])

    def test_plugins(self) -> None:
        """A plugin sees neither shells nor other plugins; nobody sees a plugin."""
        self.found("gateway/plugins/x.py", "from gateway.proxy import runner\n", "plugins may not import")
        for path in ("gateway/plugins/x.py", "gateway/registry.py", "gateway/admin/x.py"):
            self.found(path, "from gateway.plugins import key_auth\n", ":1: nobody imports a plugin by name")
            self.found(path, "from gateway.plugins.key_auth import plugin\n", ":1: nobody imports a plugin")
        self.assertEqual(self.problems("gateway/registry.py", "from gateway import plugins\n"), [])
        self.found(
            "gateway/proxy/x.py", "from gateway import plugins\n", "proxy may not import gateway.plugins"
        )

    def test_testing(self) -> None:
        """The kit for tests is not for production."""
        for path in ("gateway/app.py", "gateway/plugins/x.py", "gateway/core/x.py"):
            self.found(path, "from gateway import testing\n", "may not import gateway.testing")

    def test_reactor(self) -> None:
        """Only the composition root sees the reactor."""
        for line in ("from twisted.internet import reactor", "import twisted.internet.reactor"):
            text = f"def f():\n    {line}\n"
            self.found("gateway/proxy/x.py", text, ":2: only gateway/{app,tap,worker}.py")
            self.assertEqual(self.problems("gateway/app.py", line), [])

    def test_jose(self) -> None:
        """One module uses authlib.jose, whose place may change in a later authlib."""
        for line in (
            "from authlib.jose import jwk",
            "import authlib.jose.errors",
            "from authlib import jose",
        ):
            self.found("gateway/core/x.py", line, ":1: only gateway/core/jws.py")
            self.assertEqual(self.problems("gateway/core/jws.py", line), [])

    def test_pure(self) -> None:
        """model and core do no I/O, ask no clock and roll no dice."""
        for line in (
            "from twisted.logger import Logger",
            "import socket",
            "import random",
            "import threading",
        ):
            for layer in ("core", "model"):
                self.found(f"gateway/{layer}/x.py", line, f":1: {layer} is pure")
            self.assertEqual(self.problems("gateway/proxy/x.py", line), [])
        for line in ("open('x')", "time.time()", "datetime.datetime.now()", "os.environ['X']", "print()"):
            self.found("gateway/core/x.py", f"x = 1\n{line}\n", "gateway/core/x.py:2: ")

    def test_others(self) -> None:
        """No asyncio anywhere; no import by name where nobody can read it."""
        self.found("gateway/proxy/x.py", "import asyncio\n", "no asyncio")
        self.found("gateway/proxy/x.py", "import importlib\n", "only gateway/registry.py")

    def test_new_folder(self) -> None:
        """A new folder must be given its place."""
        self.found("gateway/novel/x.py", "import re\n", "gateway/novel/x.py: the folder has no place")

    def test_circle(self) -> None:
        """Modules of one layer that need each other are found, unless one needs only the other's types."""
        sources = {
            "gateway/core/__init__.py": "",
            "gateway/core/a.py": "from gateway.core import b\n",
            "gateway/core/b.py": "import re\nfrom gateway.core.a import A\n",
        }
        (circle,) = Layers(sources).circles()
        self.assertEqual(
            circle,
            "gateway.core.a imports gateway.core.b imports gateway.core.a"
            " (gateway/core/a.py:1, gateway/core/b.py:2)",
        )
        sources["gateway/core/b.py"] = "if TYPE_CHECKING:\n    from gateway.core.a import A\n"
        self.assertEqual(Layers(sources).circles(), [])
        self.assertEqual(Layers(sources).problems(), [])
