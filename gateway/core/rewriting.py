"""What plugins share that rewrite messages: text put into targets and field values, changes of fields.

Text from variables may hold anything a client can write in percent escapes, line breaks included.
Nothing of it may end a line or start a new part of a target, so every such text passes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_from_bytes

from attrs import frozen

from gateway.core.exchange import Exchange
from gateway.core.fields import Fields, Pair
from gateway.core.variables import Getter, Template, compile_template, getter

_PATH_SAFE = "".join(map(chr, range(0x21, 0x7F))).translate({ord(char): None for char in "#%?"})
_QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

FRAMING = frozenset(
    {b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"proxy-connection", b"te"}
    | {b"trailer", b"upgrade"}
)
"""Fields that belong to one connection; how a message is framed is not for plugins to say."""


def utf8(text: str) -> bytes:
    """The bytes of a variable's text: what came as bytes goes as the same bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def escape_path(text: str) -> bytes:
    """
    Decoded text as the path of a target: space, ``#``, ``%``, ``?``, control characters and all past ASCII as
    ``%HH``.
    """
    return quote_from_bytes(utf8(text), safe=_PATH_SAFE).encode("ascii")


def escape_query(text: str) -> bytes:
    """Text that is a query already: as ``escape_path``, with ``%`` and ``?`` left alone."""
    return quote_from_bytes(utf8(text), safe=_QUERY_SAFE).encode("ascii")


def field_value(text: str) -> bytes:
    """Text as a field value: control characters, line breaks among them, become a space; ends are trimmed."""
    if not text.isprintable():
        text = _NO_VALUE.sub(" ", text)
    return utf8(text).strip(b" \t")


def split_target(text: str) -> tuple[str, str | None]:
    """
    Split a template at its first ``?`` that is not part of a ``${name ?? default}``.

    Returns:
        The path's template, and the query's or None.
    """
    depth = 0
    for index, char in enumerate(text):
        if char == "{" and text[index - 1 : index] == "$":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif char == "?" and not depth:
            return text[:index], text[index + 1 :]
    return text, None


# -- changes of fields

_VALUE: dict[str, Any] = {"type": ["string", "number"]}
_NAMES: dict[str, Any] = {"^[^:]+$": _VALUE}


def field_name(text: str) -> bytes:
    """
    A field's name from settings, in lower case.

    Raises:
        ValueError: it is no token (RFC 9110 section 5.6.2).
    """
    if not text:
        raise ValueError("invalid field length in header")
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"invalid field character: {text!r:.100}")
    return text.lower().encode("ascii")


def spell_number(value: object) -> str:
    """A value from settings as text; numbers as JSON writes them, ``3.0`` as ``3``."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@frozen
class FieldChanges:
    """
    Changes of a message's fields, compiled: lines added, then fields set, then fields removed.

    Attributes:
        adds, sets: Name and value's template. Of a field that is set twice, all values are kept; one that is
            set to nothing is removed.
        removes: Names.
    """

    adds: tuple[tuple[bytes, Template], ...] = ()
    sets: tuple[tuple[bytes, tuple[Template, ...]], ...] = ()
    removes: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], find: Callable[[str], Getter] = getter) -> FieldChanges:
        """
        Read ``{"add": …, "set": …, "remove": […]}``, or the older form, a map of what to set.

        Args:
            settings: Values are text, numbers, or lists of these; ``add`` may be a list of ``Name: value``.
            find: For ``compile_template``.
        Raises:
            ValueError: a name is none.
        """
        if not is_changes(settings):
            settings = {"set": settings}
        adds = settings.get("add", {})
        pairs: Iterable[tuple[str, Any]]
        if isinstance(adds, Mapping):
            pairs = adds.items()
        else:
            pairs = [
                (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in adds)
            ]
        return cls(
            adds=tuple(
                [
                    (field_name(name), compile_template(spell_number(value), find))
                    for name, values in pairs
                    for value in _list(values)
                ]
            ),
            sets=tuple(
                [
                    (
                        field_name(name),
                        tuple([compile_template(spell_number(v), find) for v in _list(values)]),
                    )
                    for name, values in settings.get("set", {}).items()
                ]
            ),
            removes=tuple([field_name(name) for name in settings.get("remove", ())]),
        )

    def without(self, names: frozenset[bytes]) -> FieldChanges:
        """The same changes, but for the fields *names*."""
        return FieldChanges(
            tuple([one for one in self.adds if one[0] not in names]),
            tuple([one for one in self.sets if one[0] not in names]),
            tuple([name for name in self.removes if name not in names]),
        )

    def apply(self, exchange: Exchange, fields: Fields) -> None:
        """Change *fields*, with the values of the variables of *exchange*."""
        for name, value in self.adds:
            fields.add(name, field_value(value(exchange)))
        for name, values in self.sets:
            texts = [field_value(value(exchange)) for value in values]
            fields.remove(name)
            for text in texts:
                if text:
                    fields.add(name, text)
        for name in self.removes:
            fields.remove(name)


def is_changes(settings: Mapping[str, Any]) -> bool:
    """Whether *settings* of ``headers`` have the form of changes, not that of a map of what to set."""
    return (
        isinstance(settings.get("add"), (Mapping, list))
        or isinstance(settings.get("set"), Mapping)
        or (isinstance(settings.get("remove"), list) and len(settings) == 1)
    )


def check_values(settings: Any) -> None:
    """
    Refuse settings of ``headers`` whose texts hold control characters.

    Raises:
        ValueError: one does.
    """
    if isinstance(settings, str):
        if _NO_VALUE.search(settings):
            raise ValueError("invalid value character in header")
    elif isinstance(settings, Mapping):
        check_values(list(settings.values()))
    elif isinstance(settings, list):
        for one in settings:
            check_values(one)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def plain_fields(settings: Mapping[str, Any]) -> tuple[tuple[bytes, Template], ...]:
    """
    Fields of an answer from a map of names to text or numbers, without those of ``FRAMING``.

    Raises:
        ValueError: a name is none.
    """
    pairs = [(field_name(name), compile_template(spell_number(value))) for name, value in settings.items()]
    return tuple([pair for pair in pairs if pair[0] not in FRAMING])


def resolved(fields: Iterable[tuple[bytes, Template]], exchange: Exchange) -> tuple[Pair, ...]:
    """The lines of ``plain_fields`` for one exchange."""
    return tuple([(name, field_value(value(exchange))) for name, value in fields])


def map_schema(description: str) -> dict[str, Any]:
    """The schema of a map of field names to values."""
    return {"type": "object", "minProperties": 1, "patternProperties": _NAMES, "description": description}
