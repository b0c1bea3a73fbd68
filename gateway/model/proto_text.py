"""Whether a text is a Protocol Buffers definition, as far as its form goes.

A definition that has this form may still name types that are not there; a compiler would find that.

Source: the language's specification for proto2 and proto3 (file, message, enum and service elements).
"""

from __future__ import annotations

import base64
import binascii
import re

MAX_DEPTH = 32

_TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\s*\.\s*[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<number>[0-9][0-9A-Za-z_.+]*)"
    r"|(?P<mark>[{}()\[\]<>=;,.:+\-/])",
    re.DOTALL,
)
_LABELS = ("optional", "required", "repeated")
_END = ("end", "", 0)


class ProtoError(ValueError):
    """The text is no definition; the words say where it stops being one."""


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        place, line = 0, 1
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise ProtoError(f"line {line}: unexpected character {text[place]!r}")
            if match.lastgroup != "space":
                self._tokens.append((str(match.lastgroup), match[0], line))
            line += match[0].count("\n")
            place = match.end()
        self._next = 0

    def peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else _END

    def take(self, kind: str, value: str | None = None) -> str:
        """The next token, which must be of *kind*, and *value* if that is given."""
        found, text, line = self.peek()
        if found != kind or value not in (None, text):
            wanted = value or f"a {kind}"
            where = "at the end of the text" if found == "end" else f"line {line}: found {text[:40]!r}"
            raise ProtoError(f"{where}, {wanted!r} is needed" if value else f"{where}, {wanted} is needed")
        self._next += 1
        return text

    def at(self, *values: str) -> bool:
        return self.peek()[1] in values

    def skip_statement(self) -> None:
        """Everything to the next semicolon that is not inside braces or brackets."""
        depth = 0
        while True:
            kind, text, _ = self.peek()
            if kind == "end" or (depth == 0 and text == "}"):
                self.take("mark", ";")
            self._next += 1
            if text in ("{", "["):
                depth += 1
            elif text in ("}", "]"):
                depth -= 1
            elif text == ";" and depth <= 0:
                return


def check(text: str) -> None:
    """
    Check a definition: its text, or the base64 of a compiled set of them.

    Raises:
        ProtoError: it is neither.
    """
    if re.fullmatch(r"[A-Za-z0-9+/\s]+=*\s*", text) and not re.search(r"\bsyntax\b", text):
        try:
            # A set of compiled files starts with the tag of its first one.
            if base64.b64decode(text, validate=False)[:1] == b"\n":
                return
        except binascii.Error:
            pass
    reader = _Reader(text)
    while reader.peek()[0] != "end":
        _file_element(reader)


def _file_element(reader: _Reader) -> None:
    word = reader.peek()[1]
    if word in ("syntax", "edition", "import", "package", "option"):
        reader.skip_statement()
    elif word in ("message", "enum", "service", "extend"):
        _block(reader, 1)
    else:
        reader.take("mark", ";")


def _block(reader: _Reader, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ProtoError(f"nested deeper than {MAX_DEPTH} levels")
    kind = reader.take("name")
    reader.take("name")
    reader.take("mark", "{")
    while not reader.at("}"):
        if reader.at(";"):
            reader.take("mark")
        elif kind == "enum":
            _enum_element(reader)
        elif kind == "service":
            _service_element(reader)
        else:
            _message_element(reader, depth)
    reader.take("mark", "}")


def _enum_element(reader: _Reader) -> None:
    if reader.at("option", "reserved"):
        reader.skip_statement()
        return
    reader.take("name")
    reader.take("mark", "=")
    if reader.at("-"):
        reader.take("mark")
    reader.take("number")
    _options_and_end(reader)


def _service_element(reader: _Reader) -> None:
    if reader.at("option"):
        reader.skip_statement()
        return
    reader.take("name", "rpc")
    reader.take("name")
    for word in ("", "returns"):
        if word:
            reader.take("name", word)
        reader.take("mark", "(")
        _type(reader)
        if not reader.at(")"):
            _type(reader)
        reader.take("mark", ")")
    if reader.at("{"):
        reader.take("mark")
        while not reader.at("}"):
            if reader.at(";"):
                reader.take("mark")
            else:
                reader.take("name", "option")
                reader.skip_statement()
        reader.take("mark", "}")
    else:
        reader.take("mark", ";")


def _message_element(reader: _Reader, depth: int) -> None:
    word = reader.peek()[1]
    if word in ("option", "reserved", "extensions"):
        reader.skip_statement()
    elif word in ("message", "enum", "extend", "oneof"):
        _block(reader, depth + 1)
    else:
        _field(reader, depth)


def _field(reader: _Reader, depth: int) -> None:
    if reader.at(*_LABELS):
        reader.take("name")
    if reader.at("group"):
        reader.take("name")
        reader.take("name")
        reader.take("mark", "=")
        reader.take("number")
        reader.take("mark", "{")
        while not reader.at("}"):
            _message_element(reader, depth + 1)
        reader.take("mark", "}")
        return
    if reader.at("map"):
        reader.take("name")
        reader.take("mark", "<")
        _type(reader)
        reader.take("mark", ",")
        _type(reader)
        reader.take("mark", ">")
    else:
        _type(reader)
    reader.take("name")
    reader.take("mark", "=")
    reader.take("number")
    _options_and_end(reader)


def _type(reader: _Reader) -> None:
    if reader.at("."):
        reader.take("mark")
    reader.take("name")


def _options_and_end(reader: _Reader) -> None:
    if reader.at("["):
        reader.skip_statement()
    else:
        reader.take("mark", ";")
