"""What is packaged, and what it needs. The built wheel itself is tried by ``.ci/run``."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import gateway
import twisted.plugins
from tests.limits import LIMIT_S

ROOT = Path(__file__).resolve().parent.parent


def setup_cfg() -> configparser.RawConfigParser:
    """setup.cfg, as written."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(text: str) -> dict[str, str]:
    """Name → what stands behind it."""
    lines = (line.split("#")[0].strip() for line in text.strip().splitlines())
    return {
        match.group(1).lower(): match.group(2).strip()
        for line in lines
        if (match := re.match(r"([A-Za-z0-9._-]+(?:\[[a-z,]+\])?)(.*)", line))
    }


def imported(path: Path) -> set[str]:
    """The top-level packages a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


class PackageTests(SynchronousTestCase):
    """Which files go along."""

    def test_plugin_packages_have_no_init(self) -> None:
        """A file of ours would hide Twisted, or everybody else's plugins."""
        for name in ("twisted/__init__.py", "twisted/plugins/__init__.py"):
            self.assertFalse((ROOT / name).exists(), name)
        modules = [name for name in os.listdir(ROOT / "twisted" / "plugins") if name.endswith(".py")]
        self.assertEqual(modules, ["gateway_plugin.py"])

    def test_every_folder_is_a_package(self) -> None:
        """Each folder with Python in it has an __init__.py, so that it is found and importable everywhere."""
        for folder in {path.parent for path in (ROOT / "gateway").rglob("*.py")}:
            self.assertTrue((folder / "__init__.py").exists(), str(folder))
            import_module(".".join(folder.relative_to(ROOT).parts))

    def test_what_is_included(self) -> None:
        """The gateway and its twistd plugin are packaged; the tests are not."""
        find = setup_cfg()["options.packages.find"]["include"].split()
        self.assertEqual(find, ["gateway*", "twisted.plugins"])
        self.assertTrue((ROOT / "gateway" / "py.typed").exists())

    def test_the_twistd_plugin_is_on_twisteds_path(self) -> None:
        """Twisted looks for plugins where ours is."""
        places = [Path(place).resolve() for place in twisted.plugins.__path__]
        home = Path(gateway.__file__).resolve().parent.parent
        self.assertIn(home / "twisted" / "plugins", places)

    def test_version(self) -> None:
        """The package's version is the code's."""
        self.assertEqual(setup_cfg()["metadata"]["version"], "attr: gateway.__version__")
        self.assertRegex(gateway.__version__, r"\A\d+\.\d+\.\d+\Z")


class RequirementTests(SynchronousTestCase):
    """What it needs."""

    def test_every_import_is_required(self) -> None:
        """Whatever the code imports from outside comes from a package that setup.cfg names."""
        provided = {
            "OpenSSL": "pyopenssl",
            "yaml": "pyyaml",
            "zope": "zope.interface",
            "attr": "attrs",
            "service_identity": "service-identity",
            "prometheus_client": "prometheus-client",
            "twisted": "twisted[tls]",
        }
        known = requirements(setup_cfg()["options"]["install_requires"])
        missing = set()
        for path in (ROOT / "gateway").rglob("*.py"):
            for name in imported(path):
                own = name in sys.stdlib_module_names or name == "gateway"
                if not own and provided.get(name, name).lower() not in known:
                    missing.add(f"{path.relative_to(ROOT)}: {name}")
        self.assertEqual(missing, set())

    def test_every_requirement_has_a_lower_bound(self) -> None:
        """No library may be older than what was tried."""
        parser = setup_cfg()
        texts = [parser["options"]["install_requires"], parser["options.extras_require"]["test"]]
        for name, bound in {**requirements(texts[0]), **requirements(texts[1])}.items():
            self.assertIn(">=", bound, name)

    def test_oldest(self) -> None:
        """tests/oldest.txt has exactly the lower bounds of setup.cfg."""
        needed = requirements(setup_cfg()["options"]["install_requires"])
        oldest = requirements((ROOT / "tests" / "oldest.txt").read_text())
        self.assertEqual(
            {name: re.sub(r"^== |\.\*$", "", bound) for name, bound in oldest.items()},
            {name: re.sub(r"^>= |,.*$", "", bound) for name, bound in needed.items()},
        )

    def test_python(self) -> None:
        """One lower bound of Python, everywhere."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        self.assertEqual(setup_cfg()["options"]["python_requires"], ">=3.11")
        self.assertEqual(project["tool"]["ruff"]["target-version"], "py311")


class ImportTests(SynchronousTestCase):
    """Importing is cheap and has no effects."""

    def test_the_command_line_brings_no_reactor(self) -> None:
        """twistd may still choose a reactor after it has read our options."""
        script = "import gateway.tap, sys; print('twisted.internet.reactor' in sys.modules)"
        ended = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        self.assertEqual((ended.returncode, ended.stdout.strip()), (0, "False"), ended.stderr)


class RepositoryTests(SynchronousTestCase):
    """What twistd and pip leave behind is not committed."""

    def test_ignored(self) -> None:
        """Plugin caches, pid files, logs and the data directory are ignored."""
        ignored = (ROOT / ".gitignore").read_text().split()
        for name in ("dropin.cache", "twistd.pid", "twistd.log*", "/var/", "*.egg-info/"):
            self.assertIn(name, ignored)
