"""request-validation: requests whose fields or content do not fit a JSON Schema are refused."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import jsonschema
from attrs import field, frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.regex_limits import Regex, compiling_for, sharing_limit
from gateway.core.regexes import compile_regex
from gateway.core.schema_words import text as words
from gateway.factories import Factory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices
from gateway.model.rules import with_end
from gateway.model.schema import Checker, announces_default, fill_any

MAX_BYTES = 67108864
FORM = "application/x-www-form-urlencoded"

HEADER_REASON = "request_headers_invalid"
BODY_REASON = "request_body_invalid"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "header_schema": {"type": "object", "description": "JSON Schema of the request's fields."},
        "body_schema": {"type": "object", "description": "JSON Schema of the request's content."},
        "rejected_code": {
            "type": "integer",
            "minimum": 200,
            "maximum": 599,
            "default": 400,
            "description": "The status of a refusal.",
        },
        "rejected_msg": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "description": "The content of a refusal; not set: what is wrong.",
        },
        "max_req_body_size": {
            "type": "integer",
            "minimum": 1,
            "default": MAX_BYTES,
            "description": "Bytes of content; more is answered 413.",
        },
    },
    "anyOf": [{"required": ["header_schema"]}, {"required": ["body_schema"]}],
}


def _regex(owner: str) -> Callable[[str], Regex]:
    """Compiles the regular expressions of a schema that stands in the settings of *owner*."""

    @lru_cache(1024)
    def compiled(pattern: str) -> Regex:
        with compiling_for(owner):
            return compile_regex(with_end(pattern, r"\z"))

    return compiled


def _checker(schema: Mapping[str, Any], member: str, owner: str = "") -> Checker:
    try:
        return Checker(schema, formats=True, regex=_regex(owner))
    except jsonschema.SchemaError as error:
        raise ValueError(f"{member} is no JSON Schema: {error.message:.200}") from None


_APPLICATORS = ("allOf", "anyOf", "oneOf")
_SUBSCHEMAS = ("not", "if", "then", "else")


def _names(schema: Any, depth: int = 0) -> Iterator[str]:
    """The member names that a schema of one object speaks of."""
    if not isinstance(schema, Mapping) or depth > 16:
        return
    for keyword in ("properties", "dependencies"):
        members = schema.get(keyword)
        if isinstance(members, Mapping):
            yield from members
    required = schema.get("required")
    if isinstance(required, list):
        yield from (name for name in required if isinstance(name, str))
    for keyword in _APPLICATORS:
        for part in schema.get(keyword) or ():
            yield from _names(part, depth + 1)
    for keyword in _SUBSCHEMAS:
        yield from _names(schema.get(keyword), depth + 1)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _gathered(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A document of pairs; what is there twice becomes a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class RequestValidation:
    """
    request-validation with one configuration.

    Attributes:
        spellings: Field names as the schema of the fields writes them, by their lower-case form.
        fills: Whether the schema of the content has defaults.
        max_fields: Of a form. thread_bytes: Larger content is checked in a thread.
    """

    headers: Checker | None
    spellings: Mapping[str, tuple[str, ...]]
    content: Checker | None
    fills: bool
    status: int
    message: str | None
    max_bytes: int
    max_fields: int
    thread_bytes: int
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = field(repr=False)

    def rewrite(self, exchange: Exchange) -> Any:
        """See ``IRewritePhase``."""
        if self.headers is not None:
            with sharing_limit():
                problems = self.headers.problems(self._fields(exchange))
            if problems:
                return self._refusal(words(problems[0]), HEADER_REASON)
        return None if self.content is None else self._check_content(exchange, self.content)

    def _fields(self, exchange: Exchange) -> dict[str, Any]:
        found = _gathered(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.fields
        )
        document: dict[str, Any] = {}
        for name, value in found.items():
            for spelt in self.spellings.get(name, (name,)):
                document[spelt] = value
        return document

    async def _check_content(self, exchange: Exchange, checker: Checker) -> Reply | None:
        data = await exchange.read_content(self.max_bytes)
        types = exchange.fields.get_all(b"content-type")
        if not data:
            return self._refusal(None, BODY_REASON, "there is no content")
        if len(types) > 1:
            return self._refusal(None, BODY_REASON, "there are several Content-Type fields")
        kind = types[0].decode("latin-1").partition(";")[0].strip().lower() if types else ""
        form = kind == FORM

        def check(patient: bool) -> tuple[str | None, bytes | None]:
            return _checked(data, checker, self.fills, self.max_fields if form else None, patient)

        if len(data) > self.thread_bytes:
            refusal, content = await self.in_thread(lambda: check(True))
        else:
            refusal, content = check(False)
        if refusal is not None:
            return self._refusal(refusal, BODY_REASON)
        if content is not None:
            # What was checked is what is sent: parsers do not agree about members that are there twice.
            exchange.content = content
        return None

    def _refusal(self, text: str | None, reason: str, detail: str = "") -> Reply:
        if self.message is not None:
            text = self.message
        if text is None:
            return Reply(self.status, None, (), reason, detail)
        return Reply.text(self.status, text, reason=reason, detail=detail)


def _checked(
    data: bytes, checker: Checker, fills: bool, form_fields: int | None, patient: bool
) -> tuple[str | None, bytes | None]:
    """
    Check content.

    Args:
        fills: Whether the schema has defaults to add.
        form_fields: The most that a form may have; None: it is JSON.
        patient: Whether it may take longer, and leaves the interpreter to other threads meanwhile.
    Returns:
        What is wrong with it, and JSON content written anew, with the defaults of the schema; each or both
        None.
    """
    try:
        document = _json(data, patient) if form_fields is None else _form(data, form_fields)
    except (ValueError, RecursionError) as error:
        return _brief(error), None
    try:
        if fills:
            document = fill_any(checker.schema, document)
        with sharing_limit(len(data)):
            problems = checker.problems(document)
        if problems:
            return words(problems[0]), None
        return None, None if form_fields is not None else _spelt(document, patient)
    except ValueError as error:  # a number may be too large to be written again
        return _brief(error), None
    except RecursionError as error:
        return _brief(error), None


def _form(data: bytes, max_fields: int) -> dict[str, Any]:
    text = data.decode("utf-8", "surrogateescape")
    pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=max_fields)
    return _gathered(pairs)


def _int(text: str) -> int:
    return int(text)


def _float(text: str) -> float:
    return float(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def _json(data: bytes, patient: bool) -> Any:
    if not patient:
        return json.loads(data, parse_constant=_no_constant)
    # The library's parser holds the interpreter until it calls something that is written in Python.
    return json.loads(
        data, parse_constant=_no_constant, parse_int=_int, parse_float=_float, object_pairs_hook=_object
    )


def _spelt(document: Any, patient: bool) -> bytes:
    """
    A document as JSON.

    Raises:
        ValueError: it holds a number that has no form in JSON.
    """
    for ascii_only in (False, True):
        encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=ascii_only, allow_nan=False)
        # Piece by piece the library writes in Python, as a whole it does not.
        text = "".join(encoder.iterencode(document)) if patient else encoder.encode(document)
        try:
            return text.encode()
        except UnicodeEncodeError:
            pass  # half a character: written as its escape
    raise AssertionError("ASCII has a form in UTF-8")


def _brief(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the content is nested too deeply"
    return f"failed to decode the content: {error}"[:256]


def _check(config: Mapping[str, Any]) -> None:
    for member in ("header_schema", "body_schema"):
        if member in config:
            _checker(config[member], member)


def _make(config: Mapping[str, Any], services: PluginServices) -> RequestValidation:
    headers = config.get("header_schema")
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(_names(headers)):
        spellings.setdefault(name.lower(), []).append(name)
    content = config.get("body_schema")
    limits = services.settings
    owner = f"plugin request-validation of {services.origin}"
    return RequestValidation(
        None if headers is None else _checker(headers, "header_schema", owner),
        {name: tuple(spelt) for name, spelt in spellings.items()},
        None if content is None else _checker(content, "body_schema", owner),
        announces_default(content),
        config.get("rejected_code", 400),
        config.get("rejected_msg"),
        config.get("max_req_body_size", MAX_BYTES),
        int(limits.get("request_validation_form_fields", 10_000)),
        int(limits.get("request_validation_thread_bytes", 65536)),
        services.in_thread,
    )


plugin = Factory(name="request-validation", priority=2800, schema=SCHEMA, check=_check, make=_make)
