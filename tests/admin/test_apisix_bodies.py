"""Whole configurations over the wire: JSON, and YAML that could have been JSON."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.apisix_bodies import MAX_NODES, is_yaml, read_configuration, write_configuration
from gateway.admin.calls import Call, Query
from gateway.admin.principal import GATEWAY
from gateway.admin.refusals import BadBody


def call(raw: bytes, type: str | None = "application/yaml", accept: str | None = None) -> Call:
    headers = {"content-type": type, "accept": accept}
    return Call("PUT", "/", Query(()), headers.get, lambda: raw, GATEWAY)


class ReadTests(SynchronousTestCase):
    def refused(self, raw: bytes, type: str | None = "application/yaml") -> str:
        text = str(self.assertRaises(BadBody, read_configuration, call(raw, type)))
        self.assertTrue(text.startswith("invalid request body: "), text)
        return text

    def test_forms(self) -> None:
        """The content type decides between the two."""
        expected: dict[str, Any] = {"routes": [{"id": 1, "uri": "/a", "on": True}], "x": None}
        yaml = b"routes:\n  - id: 1\n    uri: /a\n    on: true\nx: ~\n#END\n"
        yaml = yaml.replace(b"    on:", b'    "on":')
        self.assertEqual(read_configuration(call(yaml)), expected)
        json = b'{"routes":[{"id":1,"uri":"/a","on":true}],"x":null}'
        for type in (None, "application/json", "text/plain"):
            self.assertEqual(read_configuration(call(json, type)), expected)
        for type in ("application/yaml", "application/x-yaml; charset=utf-8", "text/yaml"):
            self.assertTrue(is_yaml(type))
            self.assertEqual(read_configuration(call(json, type)), expected)

    def test_dates_are_text(self) -> None:
        """What looks like a date stays text."""
        self.assertEqual(read_configuration(call(b"a: 2024-01-01\n")), {"a": "2024-01-01"})

    def test_bad(self) -> None:
        """What cannot be read, or could not be JSON, is refused with its place."""
        self.assertIn("empty request body", self.refused(b""))
        self.assertIn("empty request body", self.refused(b"# nothing\n"))
        self.assertIn("line 3", self.refused(b"a: 1\nb: [\n"))
        self.assertIn("duplicate member", self.refused(b"a: 1\na: 2\n"))
        for raw in (b"- 1\n", b"a", b"a: .nan\n", b"a: !!binary aGk=\n", b"1: 2\n? [a]\n: b\n", b"\xff"):
            self.refused(raw)
        self.refused(b"!!python/object/apply:os.system [ls]")
        for raw in (b"", b"[]", b"{", b"7"):
            self.refused(raw, "application/json")

    def test_aliases(self) -> None:
        """An alias may repeat what is small; it can make neither a circle nor a flood."""
        self.assertEqual(read_configuration(call(b"a: &x [1]\nb: *x\n")), {"a": [1], "b": [1]})
        self.refused(b"a: &x [*x]\n")
        lines = ["l0: &l0 [" + ",".join("1" * 10) + "]"]
        lines += [f"l{n}: &l{n} [" + ",".join([f"*l{n - 1}"] * 10) + "]" for n in range(1, 9)]
        self.assertIn(str(MAX_NODES), self.refused("\n".join(lines).encode()))

    def test_depth(self) -> None:
        """Depth has its limit."""
        self.refused(b"a: " + b"[" * 5000 + b"]" * 5000)


class WriteTests(SynchronousTestCase):
    def test_accepted_form(self) -> None:
        """A reader gets YAML if it asks for it."""
        document = {"routes": [{"id": "1", "uri": "/é"}], "n": 1}
        raw, type = write_configuration(call(b"", None, "application/yaml"), document)
        self.assertEqual((type, read_configuration(call(raw))), ("application/yaml", document))
        raw, type = write_configuration(call(b"", None), document)
        self.assertEqual((type, read_configuration(call(raw, None))), ("application/json", document))
