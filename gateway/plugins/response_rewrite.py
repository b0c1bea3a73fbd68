"""response-rewrite: another status, other fields and other content for the answer."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from attrs import define, frozen
from zope.interface import implementer

from gateway.core.chain import Predicate
from gateway.core.content_coding import KNOWN, Decoder, coding_of
from gateway.core.exchange import Exchange
from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.regex_limits import Regex
from gateway.core.regexes import Replacement, compile_regex, regex_flags
from gateway.core.rewriting import FRAMING, FieldChanges, check_values
from gateway.factories import Factory
from gateway.interfaces import IBodyFilterPhase, IHeaderFilterPhase, PluginServices

NAME = "response-rewrite"
MAX_BYTES = 67108864

_VALUE: dict[str, Any] = {"type": ["string", "number"]}
_MAP: dict[str, Any] = {"type": "object", "minProperties": 1, "patternProperties": {"^[^:]+$": _VALUE}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "status_code": {"type": "integer", "minimum": 200, "maximum": 598, "description": "The new status."},
        "headers": {
            "description": "Fields to add, to set and to remove, in this order; or a map of what to set.",
            "anyOf": [
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "properties": {
                        "add": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "pattern": "^[^:]+:"},
                        },
                        "set": _MAP,
                        "remove": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "pattern": "^[^:]+$"},
                        },
                    },
                },
                _MAP,
            ],
        },
        "body": {"type": "string", "description": "The new content."},
        "body_base64": {"type": "boolean", "default": False, "description": "body is written in base64."},
        "filters": {
            "type": "array",
            "minItems": 1,
            "description": "Replacements in the content, one after another.",
            "items": {
                "type": "object",
                "required": ["regex", "replace"],
                "properties": {
                    "regex": {"type": "string", "minLength": 1},
                    "scope": {"type": "string", "enum": ["once", "global"], "default": "once"},
                    "replace": {"type": "string"},
                    "options": {"type": "string", "default": "jo"},
                },
            },
        },
        "vars": {"type": "array", "description": "An expression: only answers that it holds for."},
        "max_resp_body_size": {
            "type": "integer",
            "minimum": 1,
            "default": MAX_BYTES,
            "description": "Bytes of content; in more, filters replace nothing.",
        },
    },
    "dependencies": {"body": {"not": {"required": ["filters"]}}, "filters": {"not": {"required": ["body"]}}},
}

_ABOUT_CONTENT = frozenset(
    {b"content-length", b"content-encoding", b"etag", b"last-modified", b"accept-ranges"}
    | {b"content-md5", b"digest", b"content-digest", b"repr-digest"}
)


@frozen(eq=False)
class Filter:
    """One replacement. Text stands for bytes, one character each, unless the option ``u`` is set."""

    pattern: Regex
    replacement: Replacement
    count: int
    charset: str

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Filter:
        """Read settings that fit the schema; ValueError with words for the user."""
        options = settings.get("options", "jo")
        unicode = "u" in options
        try:
            flags = regex_flags(options) | (0 if unicode else re.ASCII)
            regex, replace = settings["regex"], settings["replace"]
            if not unicode:
                regex, replace = (
                    text.encode("utf-8", "replace").decode("latin-1") for text in (regex, replace)
                )
            pattern = compile_regex(regex, flags)
        except ValueError as error:
            raise ValueError(f"invalid regex_opts or regex in filters: {error}") from None
        once = settings.get("scope", "once") == "once"
        return cls(pattern, Replacement(replace), 1 if once else 0, "utf-8" if unicode else "latin-1")

    def __call__(self, data: bytes) -> bytes:
        """The content, with the matches replaced."""
        text = data.decode(self.charset, "surrogateescape")
        return self.pattern.sub(self.replacement, text, self.count).encode(self.charset, "surrogateescape")


@define(eq=False)
class _Pass:
    """What filters know about one answer: the content so far, as it came and decoded, and how it is coded."""

    decoder: Decoder | None
    held: list[bytes]
    coded: list[bytes]
    size: int = 0
    given_up: bool = False


@implementer(IHeaderFilterPhase)
@frozen(eq=False)
class ResponseRewrite:
    """
    response-rewrite with one configuration, of which the content stays as it is.

    Attributes:
        key: Its own place in ``Exchange.context``.
    """

    status: int | None
    changes: FieldChanges | None
    vars: Predicate | None
    key: str

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``."""
        if self.vars is None or self.vars(exchange):
            self.begin(exchange)
            if self.status is not None:
                exchange.status = self.status
            if self.changes is not None:
                self.changes.apply(exchange, exchange.response_fields)

    def begin(self, exchange: Exchange) -> None:
        """Prepare for the content of an answer that is rewritten."""


@implementer(IBodyFilterPhase)
@frozen(eq=False)
class BodyRewrite(ResponseRewrite):
    """The content is replaced as a whole."""

    body: bytes

    def begin(self, exchange: Exchange) -> None:
        """What was said of the old content does not hold for the new one."""
        exchange.response_fields.remove_all(_ABOUT_CONTENT)
        exchange.context[self.key] = self.body

    def body_filter(self, exchange: Exchange, data: bytes, last: bool) -> bytes:
        """See ``IBodyFilterPhase``. All of it in the place of the first piece."""
        left: bytes | None = exchange.context.get(self.key)
        if left is None:
            return data
        exchange.context[self.key] = b""
        return left


@implementer(IBodyFilterPhase)
@frozen(eq=False)
class FilterRewrite(ResponseRewrite):
    """Parts of the content are replaced."""

    filters: tuple[Filter, ...]
    max_bytes: int
    services: PluginServices

    def begin(self, exchange: Exchange) -> None:
        """Have the content decoded; what was said of it does not hold any more."""
        coding = coding_of(exchange.response_fields)
        if coding in (b"", b"identity"):
            decoder = None
        elif coding in KNOWN:
            decoder = Decoder(coding)
        else:
            self.services.log.warn(
                "{origin}: response-rewrite cannot look into content coded {coding}",
                origin=self.services.origin,
                coding=coding.decode("latin-1"),
            )
            return
        exchange.response_fields.remove_all(_ABOUT_CONTENT)
        exchange.context[self.key] = _Pass(decoder, [], [])

    def body_filter(self, exchange: Exchange, data: bytes, last: bool) -> bytes:
        """
        See ``IBodyFilterPhase``. Holds ``max_bytes``; larger content passes as it is, and so does what is not
        in the coding that its field names.
        """
        state: _Pass | None = exchange.context.get(self.key)
        if state is None:
            return data
        if state.decoder is not None:
            if not state.given_up:
                state.coded.append(data)
            data = state.decoder.decode(data)
            if state.decoder.damaged and not state.given_up:
                return self._as_it_came(exchange, state)
        if state.given_up:
            return data
        state.held.append(data)
        state.size += len(data)
        if state.size > self.max_bytes:
            state.given_up = True
            self.services.log.warn(
                "{origin}: response-rewrite leaves content of more than {limit} bytes as it is",
                origin=self.services.origin,
                limit=self.max_bytes,
            )
        elif not last:
            return b""
        content, state.held, state.coded = b"".join(state.held), [], []
        if not state.given_up:
            for replaced in self.filters:
                content = replaced(content)
        return content

    def _as_it_came(self, exchange: Exchange, state: _Pass) -> bytes:
        del exchange.context[self.key]
        self.services.log.warn(
            "{origin}: response-rewrite leaves content as it is that is not in its coding",
            origin=self.services.origin,
        )
        return b"".join(state.coded)


def _body(config: Mapping[str, Any]) -> bytes:
    text: str = config["body"]
    if not config.get("body_base64", False):
        return text.encode("utf-8", "replace")
    if not text:
        raise ValueError("invalid base64 content")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("invalid base64 content") from None


def _vars(config: Mapping[str, Any]) -> Predicate | None:
    raw = config.get("vars")
    try:
        return compile_expression(raw) if raw else None
    except ExpressionError as error:
        raise ValueError(f"failed to validate the 'vars' expression: {error}") from None


def _check(config: Mapping[str, Any]) -> None:
    _vars(config)
    if "body" in config:
        _body(config)
    elif config.get("body_base64"):
        raise ValueError("invalid base64 content")
    for one in config.get("filters", ()):
        Filter.parse(one)
    headers = config.get("headers", {})
    FieldChanges.parse(headers)
    check_values(headers)


def _make(config: Mapping[str, Any], services: PluginServices) -> ResponseRewrite:
    changes = FieldChanges.parse(config["headers"]).without(FRAMING) if "headers" in config else None
    # Two copies may meet one answer: a global rule's and a route's.
    common = (config.get("status_code"), changes, _vars(config), f"{NAME} {services.origin}")
    if "body" in config:
        return BodyRewrite(*common, _body(config))
    if "filters" in config:
        filters = tuple([Filter.parse(one) for one in config["filters"]])
        return FilterRewrite(*common, filters, config.get("max_resp_body_size", MAX_BYTES), services)
    return ResponseRewrite(*common)


plugin = Factory(name=NAME, priority=899, schema=SCHEMA, check=_check, make=_make)
