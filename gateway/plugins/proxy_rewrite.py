"""proxy-rewrite: another target, method, Host and other fields for the request that goes upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.core.paths import BadPath, normalise
from gateway.core.regex_limits import Regex
from gateway.core.regexes import Replacement, captures, compile_regex
from gateway.core.rewriting import FieldChanges, check_values, escape_path, escape_query, split_target
from gateway.core.variables import Getter, Template, compile_template, getter
from gateway.factories import Factory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices

NAME = "proxy-rewrite"
CAPTURES = "proxy_rewrite_captures"
"""In ``Exchange.context``: what the groups of the pattern of ``regex_uri`` caught, the whole match first."""

METHODS = (
    *("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND"),
    *("LOCK", "UNLOCK", "PATCH", "TRACE"),
)
_VALUES: dict[str, Any] = {
    "type": ["string", "number", "array"],
    "items": {"type": ["string", "number"]},
    "minItems": 1,
}
_CHANGE: dict[str, Any] = {"type": "object", "minProperties": 1, "patternProperties": {"^[^:]+$": _VALUES}}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "uri": {
            "type": "string",
            "minLength": 1,
            "maxLength": 4096,
            "pattern": "^/",
            "description": "The new path, decoded, with variables; a query may follow after a question mark.",
        },
        "regex_uri": {
            "type": "array",
            "minItems": 2,
            "items": {"type": "string"},
            "description": "Pairs: a pattern for the path, and what takes its place. The first match counts.",
        },
        "method": {"type": "string", "enum": list(METHODS), "description": "The new method."},
        "host": {
            "type": "string",
            "pattern": r"^[0-9a-zA-Z-.]+(:\d{1,5})?$",
            "description": "The Host to send where the upstream's pass_host is pass.",
        },
        "headers": {
            "description": "Fields to add, to set and to remove, in this order.",
            "anyOf": [
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "properties": {
                        "add": _CHANGE,
                        "set": _CHANGE,
                        "remove": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "minLength": 1, "pattern": "^[^:]+$"},
                        },
                    },
                },
                _CHANGE,
            ],
        },
        "use_real_request_uri_unsafe": {
            "type": "boolean",
            "default": False,
            "description": "Start from the target as it was sent, and send the result without escaping it.",
        },
    },
}

_CAPTURE = re.compile(r"(?<!\\)\$([0-9]{1,3})")
_UNSENDABLE = re.compile(rb"[\x00-\x20\x7f]")


def _find(name: str) -> Getter:
    """Variables, and ``$1`` for what a group of the pattern caught."""
    if not name.isdecimal():
        return getter(name)
    index = int(name)

    def read(exchange: Exchange) -> object:
        caught: tuple[str, ...] = exchange.context.get(CAPTURES, ())
        return caught[index] if index < len(caught) else None

    return read


def _changes(settings: Mapping[str, Any]) -> FieldChanges:
    """The changes of fields; ``$1x`` is group 1 and an x."""

    def spelt(value: Any) -> Any:
        if isinstance(value, str):
            return _CAPTURE.sub(r"${\1}", value)
        if isinstance(value, Mapping):
            return {name: spelt(member) for name, member in value.items()}
        if isinstance(value, list):
            return [spelt(member) for member in value]
        return value

    return FieldChanges.parse(spelt(settings), _find)


def pairs_of(regex_uri: list[str]) -> tuple[tuple[Regex, Replacement], ...]:
    """
    The compiled pairs.

    Raises:
        ValueError: an odd number, or a pattern that is none.
    """
    if len(regex_uri) % 2:
        raise ValueError("The length of regex_uri should be an even number")
    pairs = []
    for pattern, replacement in zip(regex_uri[::2], regex_uri[1::2], strict=True):
        try:
            pairs.append((compile_regex(pattern), Replacement(replacement)))
        except ValueError as error:
            raise ValueError(f"invalid regex_uri({pattern}, {replacement}): {error}") from None
    return tuple(pairs)


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class ProxyRewrite:
    """
    proxy-rewrite with one configuration.

    Attributes:
        uri: Templates of the path and, if there is one, of the query.
        pairs: Of ``regex_uri``.
        raw: Whether the target as it was sent is where it starts.
        host_changes: Those of ``changes`` that are about Host.
    """

    uri: tuple[Template, Template | None] | None
    pairs: tuple[tuple[Regex, Replacement], ...]
    raw: bool
    method: bytes | None
    host: bytes | None
    changes: FieldChanges | None
    host_change: Template | None

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``."""
        if self.uri is not None:
            self._to_uri(exchange, *self.uri)
        elif self.pairs:
            self._by_pattern(exchange)
        elif self.raw:
            exchange.target = exchange.request.target
        if self.changes is not None:
            self.changes.apply(exchange, exchange.fields)
            exchange.forget_cookies()
        if self.host is not None:
            exchange.upstream_host = self.host
        elif self.host_change is not None:
            exchange.upstream_host = escape_path(self.host_change(exchange)) or None
        if self.method is not None:
            exchange.method = self.method

    def _to_uri(self, exchange: Exchange, path: Template, query: Template | None) -> None:
        # With raw the text has its escapes already; a variable's question mark is still no query's.
        text = path(exchange)
        target = escape_query(text).replace(b"?", b"%3F") if self.raw else escape_path(text)
        if query is not None:
            target += b"?" + escape_query(query(exchange))
        exchange.target = target if self.raw else _with_query(target, exchange.query)

    def _by_pattern(self, exchange: Exchange) -> None:
        start = exchange.request.target.decode("utf-8", "surrogateescape") if self.raw else _path(exchange)
        for pattern, replacement in self.pairs:
            match = pattern.search(start)
            if match is None:
                continue
            exchange.context[CAPTURES] = captures(match)
            text = replacement.substitute(match)
            if not text.startswith("/"):
                text = "/" + text
            if self.raw:
                exchange.target = escape_query(text)
                return
            # A question mark in the path came as %3F: it does not begin a query.
            path, mark, query = text.partition("?") if "?" not in start else (text, "", "")
            target = escape_path(path)
            exchange.target = _with_query(
                target + b"?" + escape_query(query) if mark else target, exchange.query
            )
            return
        if self.raw:
            exchange.target = exchange.request.target


def _path(exchange: Exchange) -> str:
    """The decoded path of what would be sent: without the service's prefix, if that was cut off."""
    if exchange.target == exchange.request.target:
        return exchange.path
    try:
        return normalise(exchange.target)
    except BadPath:
        return exchange.path


def _with_query(target: bytes, query: bytes) -> bytes:
    if not query:
        return target
    return target + (b"&" if b"?" in target else b"?") + query


def _check(config: Mapping[str, Any]) -> None:
    pairs_of(config.get("regex_uri", []))
    if "headers" in config:
        _changes(config["headers"])
        check_values(config["headers"])


def _make(config: Mapping[str, Any], services: PluginServices) -> ProxyRewrite:
    uri = None
    if "uri" in config:
        path, query = split_target(config["uri"])
        uri = (compile_template(path), None if query is None else compile_template(query))
    changes = _changes(config["headers"]) if "headers" in config else None
    host_change = None
    if changes is not None:
        host_change = next((values[0] for name, values in changes.sets if name == b"host"), None)
        # Host stands apart from the other fields: where it goes and what it says are one question.
        changes = changes.without(frozenset((b"host",)))
    return ProxyRewrite(
        uri=uri,
        pairs=pairs_of(config.get("regex_uri", [])),
        raw=config.get("use_real_request_uri_unsafe", False),
        method=config["method"].encode() if "method" in config else None,
        host=config["host"].encode("ascii", "backslashreplace") if "host" in config else None,
        changes=changes,
        host_change=host_change,
    )


plugin = Factory(name=NAME, priority=1008, schema=SCHEMA, check=_check, make=_make)
