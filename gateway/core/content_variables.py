"""Variables that are read from a request's content: ``post_arg_…``, ``post_arg.…``, ``graphql_…``.

Content streams, so these exist only where somebody asks for them: a chain or a route whose settings
mention one (``mentions``) has the content gathered first, within a limit, for requests of the right
type (``is_readable``). Anywhere else, and in content that is larger or is not what its type says, they
are absent.

Source: data-plane contract §4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.sansio.multipart import Data, Epilogue, Field, MultipartDecoder, NeedData

from gateway.core.exchange import Exchange
from gateway.core.json_paths import JsonPath

MAX_FIELDS = 10_000
"""Form fields that are looked at."""
GRAPHQL_LIMIT = 1 << 20
"""Bytes of content in which a GraphQL document is looked for."""
_PARSED = "parsed_content"

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_NAMES = ("post_arg_", "post_arg.", "graphql_")


def mentions(settings: Any) -> bool:
    """Whether a text in *settings*, at any depth, has the name of such a variable in it."""
    if isinstance(settings, str):
        return any(name in settings for name in _NAMES)
    if isinstance(settings, Mapping):
        return any(mentions(member) for member in settings.values())
    if isinstance(settings, list | tuple):
        return any(mentions(member) for member in settings)
    return False


def media_type(exchange: Exchange) -> str:
    """The type of the request's content, in lower case, without parameters; empty if none is given."""
    field = exchange.fields.get(b"content-type") or b""
    return field.partition(b";")[0].strip().lower().decode("latin-1")


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def is_readable(exchange: Exchange) -> bool:
    """Whether the request has content of a type that variables can be read from."""
    if exchange.source is None:
        return False
    kind = media_type(exchange)
    return kind in (FORM, MULTIPART, "application/graphql") or _is_json(kind)


def _content(exchange: Exchange) -> bytes | None:
    return exchange.held if exchange.content is None else exchange.content


def _document(exchange: Exchange) -> Any:
    """What the content says: an object of fields, or a JSON value; None if it cannot be read."""
    content = _content(exchange)
    if content is None:
        return None
    known = exchange.context.get(_PARSED)
    if known is None or known[0] is not content:
        known = (content, _parse(exchange, content))
        exchange.context[_PARSED] = known
    return known[1]


def _parse(exchange: Exchange, content: bytes) -> Any:
    kind = media_type(exchange)
    try:
        if kind == FORM:
            return _first(_form(content))
        if kind == MULTIPART:
            return _first(_multipart(exchange, content))
        if _is_json(kind):
            return json.loads(content)
    except (ValueError, RecursionError):
        return None
    return None


def _first(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _form(content: bytes) -> Iterator[tuple[str, str]]:
    text = b"&".join(content.split(b"&", MAX_FIELDS)[:MAX_FIELDS]).decode("utf-8", "surrogateescape")
    yield from parse_qsl(text, keep_blank_values=True, errors="surrogateescape")


_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)


def _multipart(exchange: Exchange, content: bytes) -> Iterator[tuple[str, str]]:
    """The fields of a form that are not files (RFC 7578)."""
    found = _BOUNDARY.search(exchange.fields.get(b"content-type") or b"")
    if found is None:
        return
    decoder = MultipartDecoder(found[1] or found[2], max_parts=MAX_FIELDS)
    decoder.receive_data(content)
    decoder.receive_data(None)
    name: str | None = None
    value = b""
    while not isinstance(event := decoder.next_event(), (Epilogue, NeedData)):
        if isinstance(event, Field):
            name, value = event.name, b""
        elif isinstance(event, Data):
            value += event.data
            if not event.more_data:
                if name is not None:
                    yield name, value.decode("utf-8", "surrogateescape")
                name = None
        else:
            name = None  # A preamble, or a file.


# -- form fields and JSON


def form_field(name: str) -> Callable[[Exchange], object]:
    """Reads ``post_arg_<name>``: the first field of that name in a urlencoded form."""

    def read(exchange: Exchange) -> object:
        if media_type(exchange) != FORM:
            return None
        document = _document(exchange)
        return document.get(name) if isinstance(document, dict) else None

    return read


def content_path(path: str) -> Callable[[Exchange], object]:
    """
    Reads ``post_arg.<path>`` of a form or of JSON.

    Args:
        path: See ``json_paths``; what is no path finds nothing. With ``[*]`` or ``..`` in it the value is the
            list of all that is found.
    """
    try:
        parsed = JsonPath.parse(path)
    except ValueError:
        return lambda exchange: None
    several = parsed.several

    def read(exchange: Exchange) -> object:
        document = _document(exchange)
        if document is None:
            return None
        values = parsed.find(document)
        if several:
            return values or None
        return values[0] if values else None

    return read


# -- GraphQL

_TOKEN = re.compile(
    r'[\s,\ufeff]+|\#[^\n\r]*|"""(?:[^"\\]|\\"""|\\|"(?!""))*"""|"(?:[^"\\\n\r]|\\.)*"'
    r"|(?P<name>[_A-Za-z][_0-9A-Za-z]*)|(?P<mark>\.\.\.|[!$&()\[\]{}:=@|])|-?[0-9][0-9.eE+\-]*"
)
_OPERATIONS = frozenset({"query", "mutation", "subscription"})


def graphql(member: str) -> Callable[[Exchange], object]:
    """Reads ``graphql_name``, ``graphql_operation`` or ``graphql_root_fields``; others are always absent."""
    if member not in ("name", "operation", "root_fields"):
        return lambda exchange: None

    def read(exchange: Exchange) -> object:
        text = _query(exchange)
        if text is None:
            return None
        key = "parsed_graphql"
        known = exchange.context.get(key)
        if known is None or known[0] != text:
            known = exchange.context[key] = (text, parse_operation(text))
        return None if known[1] is None else known[1][member]

    return read


def _query(exchange: Exchange) -> str | None:
    if exchange.request.method == b"GET":
        return next((value for name, value in exchange.args() if name == "query"), None)
    content = _content(exchange)
    if content is None or len(content) > GRAPHQL_LIMIT:
        return None
    if media_type(exchange) == "application/graphql":
        return content.decode("utf-8", "replace")
    document = _document(exchange)
    query = document.get("query") if isinstance(document, dict) else None
    return query if isinstance(query, str) else None


def parse_operation(text: str) -> dict[str, Any] | None:
    """
    The first operation of a GraphQL document: ``operation``, ``name`` (empty if it has none) and
    ``root_fields``, by their own names, not their aliases.

    Returns:
        None if it is no such document.
    """
    tokens: list[str] = []
    end = 0
    for found in _TOKEN.finditer(text):
        if found.start() != end:
            return None
        end = found.end()
        if found.lastgroup is not None:
            tokens.append(found[0])
    if end != len(text) or not tokens:
        return None
    operation, name, at = "query", "", 0
    if tokens[0] != "{":
        if tokens[0] not in _OPERATIONS:
            return None
        operation, at = tokens[0], 1
        if at < len(tokens) and tokens[at][0] not in "({@":
            name, at = tokens[at], at + 1
        at = _skip_to_selection(tokens, at)
    fields = _root_fields(tokens, at)
    return None if fields is None else {"operation": operation, "name": name, "root_fields": fields}


def _skip_to_selection(tokens: list[str], at: int) -> int:
    depth = 0
    while at < len(tokens):
        word = tokens[at]
        if word == "{" and not depth:
            return at
        depth += word in ("(", "[", "{")
        depth -= word in (")", "]", "}")
        at += 1
    return at


def _root_fields(tokens: list[str], at: int) -> list[str] | None:
    if at >= len(tokens) or tokens[at] != "{":
        return None
    fields: list[str] = []
    depth = 1
    at += 1
    while at < len(tokens):
        word = tokens[at]
        if word in ("{", "(", "["):
            depth += 1
        elif word in ("}", ")", "]"):
            depth -= 1
            if not depth:
                return fields
        elif depth == 1:
            if word in ("@", "..."):
                # The name of a directive or of a fragment, or a type.
                at += 2 if tokens[at : at + 2] == ["...", "on"] else 1
            elif word.startswith("_") or word[0].isalpha():
                if tokens[at + 1 : at + 2] == [":"]:
                    at += 2
                    if at >= len(tokens):
                        return None
                    word = tokens[at]
                fields.append(word)
        at += 1
    return None
