"""The documents agree with the code and with each other."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway import __version__
from gateway.registry import load_plugins
from gateway.settings import ACCESS_FORMAT, KEYS, load_settings, settings_from, variable

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CONFIGURATION = (DOCS / "configuration.md").read_text()

_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors a page's headings have."""
    words = (heading.lower() for heading in _HEADING.findall(_FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in words}


class SettingsTests(SynchronousTestCase):
    """Every key is in the manual, twice."""

    def test_every_key_is_in_the_shipped_file(self) -> None:
        """conf/gw.ini holds every section and key, in the code's order, and no other."""
        parser = configparser.RawConfigParser(delimiters=("=",), inline_comment_prefixes=("#", ";"))
        parser.read(ROOT / "conf" / "gw.ini")
        written = {section: list(parser[section]) for section in parser.sections()}
        self.assertEqual(written, {section: list(keys) for section, keys in KEYS.items()})

    def test_every_key_is_explained_there(self) -> None:
        """In conf/gw.ini each key, or the group of keys it is in, has a comment above it."""
        above = ""
        for line in (ROOT / "conf" / "gw.ini").read_text().splitlines():
            if re.match(r"[a-z_]+ *=", line):
                self.assertRegex(above, "^(#|[a-z_]+ *=)", line)
            if line:
                above = line
            elif not above.startswith("#"):
                above = ""

    def test_every_key_is_in_the_documents(self) -> None:
        """docs/configuration.md has a row for every key under its section, with its default, and no other."""
        parts = re.split(r"^## `\[(\w+)\]`$", CONFIGURATION, flags=re.MULTILINE)
        sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        self.assertEqual(list(sections), list(KEYS))
        for section, keys in KEYS.items():
            table = sections[section].split("\n## ")[0].split("\n### ")[0]
            rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
            self.assertEqual(list(rows), list(keys), section)
            for key, default in keys.items():
                if default != ACCESS_FORMAT:
                    self.assertEqual(rows[key], f"`{default}`" if default else "empty", f"[{section}] {key}")

    def test_every_variable_is_in_the_documents(self) -> None:
        """docs/configuration.md lists every environment variable."""
        for section, keys in KEYS.items():
            for key in keys:
                self.assertIn(f"`{variable(section, key)}`", CONFIGURATION)

    def test_the_access_log_line(self) -> None:
        """The line in the documents is the default; every variable in it is explained."""
        table = CONFIGURATION.partition("### The access log's line")[2]
        shown = re.search(r"```text\n(.*?)\n```", table, re.DOTALL)
        assert shown is not None
        self.assertEqual(" ".join(shown.group(1).split()), ACCESS_FORMAT)
        rows = "\n".join(line for line in table.splitlines() if line.startswith("| `$"))
        for name in re.findall(r"\$\w+", ACCESS_FORMAT):
            family = re.sub(r"^\$http_(?!host\b).*", "$http_<name>", name)
            self.assertTrue(f"`{family}`" in rows or family.startswith("$http_"), name)

    def test_settings_in_examples(self) -> None:
        """Every GATEWAY_ variable that any document sets or names exists."""
        known = {variable(section, key) for section, keys in KEYS.items() for key in keys}
        others = {"GATEWAY_SERVICE_HOST", "GATEWAY_PORT_80_TCP", "GATEWAY_"}
        for page in PAGES:
            named = set(re.findall(r"\bGATEWAY_[A-Z0-9_]*", page.read_text()))
            self.assertEqual(named - known - others, set(), page.name)

    def test_shipped_file_loads(self) -> None:
        """conf/gw.ini is fine as it is."""
        self.assertEqual(load_settings(ROOT / "conf" / "gw.ini", {}).warnings, settings_from({}).warnings)


class PluginPageTests(SynchronousTestCase):
    """Every plugin has a page that tells all of it."""

    def test_every_plugin_has_a_page(self) -> None:
        """The page is called like the plugin, tells its priority, and has a worked example."""
        registry = load_plugins(None)
        for name in registry.names:
            page = (DOCS / "plugins" / f"{name}.md").read_text()
            self.assertTrue(page.startswith(f"# {name}\n"), name)
            self.assertIn(f"{registry.factory(name).priority}", page, name)
            self.assertRegex(page, "\n## .*[Ee]xample", name)

    def test_every_setting_is_told(self) -> None:
        """The page names every setting, on routes and on credentials; counters have a page of their own."""
        registry = load_plugins(None)
        for name in registry.names:
            page = (DOCS / "plugins" / f"{name}.md").read_text()
            if "(../counters.md)" in page:
                page += (DOCS / "counters.md").read_text()
            for credential in (False, True):
                schema = registry.published_schema(name, credential=credential) or {"properties": {}}
                for setting in schema["properties"]:
                    if setting != "_meta":
                        self.assertRegex(page, f"`{setting}\\b", name)


class LinkTests(SynchronousTestCase):
    """Links between documents."""

    def test_links_resolve(self) -> None:
        """Every link to a file of the repository leads to one, and to a heading that is there."""
        broken = []
        for page in PAGES:
            for target in _LINK.findall(_FENCE.sub("", page.read_text())):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                if not file.exists():
                    broken.append(f"{page.relative_to(ROOT)}: {target}")
                elif anchor and anchor not in anchors(file.read_text()):
                    broken.append(f"{page.relative_to(ROOT)}: {target} has no such heading")
        self.assertEqual(broken, [])

    def test_every_page_is_reachable(self) -> None:
        """Every page under docs is linked from the index."""
        linked = set(_LINK.findall((DOCS / "index.md").read_text()))
        pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"index.md"}
        self.assertEqual(pages - linked, set())

    def test_titles(self) -> None:
        """Every page starts with its title."""
        for page in PAGES:
            self.assertRegex(page.read_text(), r"\A# \S", str(page))


class ChangeLogTests(SynchronousTestCase):
    """CHANGELOG.md."""

    def test_this_version(self) -> None:
        """The newest entry is the version in the code."""
        newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        assert newest is not None
        self.assertEqual(newest.group(1), __version__)
