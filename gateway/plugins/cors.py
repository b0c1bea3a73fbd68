"""cors: tells browsers which other sites' pages may use a route, and answers their preflight requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import configured_value
from gateway.core.regex_limits import MatchTimeout
from gateway.core.regexes import compile_regex
from gateway.factories import Factory
from gateway.interfaces import IHeaderFilterPhase, IPureHooks, IRewritePhase, PluginServices
from gateway.model.schema import fill, is_reference

_ORIGINS = r"^(\*|\*\*|null|\w+://[^,]+(,\w+://[^,]+)*)$"
_REGEXES: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {"type": "string", "minLength": 1, "maxLength": 4096},
}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "allow_origins": {
            "type": "string",
            "pattern": _ORIGINS,
            "default": "*",
            "description": "Origins whose pages may: * for all, ** for all with credentials, null, "
            "or a comma list of scheme://host[:port].",
        },
        "allow_methods": {
            "type": "string",
            "default": "*",
            "description": "Methods they may use; ** is all there are.",
        },
        "allow_headers": {
            "type": "string",
            "default": "*",
            "description": "Headers they may send; ** is whatever the browser asks for.",
        },
        "expose_headers": {"type": "string", "description": "Headers of answers that pages may read."},
        "max_age": {
            "type": "integer",
            "default": 5,
            "description": "Seconds that a browser may remember a preflight; -1: not at all.",
        },
        "allow_credential": {
            "type": "boolean",
            "default": False,
            "description": "Whether requests may carry cookies and the like; then nothing may be *.",
        },
        "allow_origins_by_regex": {
            **_REGEXES,
            "description": "Regular expressions of origins; where they are set allow_origins does not count.",
        },
        "allow_origins_by_metadata": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1, "maxLength": 4096},
            "description": "Names of lists in the plugin's metadata whose origins may, too.",
        },
        "timing_allow_origins": {
            "type": "string",
            "pattern": _ORIGINS,
            "description": "Origins that may see timings: as allow_origins.",
        },
        "timing_allow_origins_by_regex": {
            **_REGEXES,
            "description": "As allow_origins_by_regex, for timings.",
        },
    },
}

_METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "allow_origins": {
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": _ORIGINS},
            "description": "Name → origins, as in the setting allow_origins.",
        }
    },
    "required": ["allow_origins"],
}

ALL_METHODS = "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE"
PREFLIGHT = "cors_preflight"
_ORIGIN = "cors origin"
"""In ``Exchange.context``: the Origin as the client sent it."""

Allowed = Callable[[bytes | None], bytes | None]
"""Origin → what ``Access-Control-Allow-Origin`` says; None: it is not allowed."""

_ANSWER = Reply(200, b"", (), PREFLIGHT)


def _listed(text: str) -> Allowed:
    if text == "*":
        return lambda origin: b"*"
    if text == "**":
        return lambda origin: origin or b"*"
    origins = frozenset(configured_value(one) for one in text.split(","))
    return lambda origin: origin if origin in origins else None


def _matched(texts: list[str]) -> Allowed:
    patterns = tuple(compile_regex(text) for text in texts)

    def allowed(origin: bytes | None) -> bytes | None:
        if origin is None:
            return None
        text = origin.decode("utf-8", "surrogateescape")
        try:
            return origin if any(pattern.search(text) for pattern in patterns) else None
        except MatchTimeout:
            # The upstream may have done its work already: browsers are told nothing, which is a refusal.
            return None

    return allowed


def _named(names: list[str], lists: Mapping[str, str]) -> Allowed:
    tests = [_listed(lists[name]) for name in names if name in lists]

    def allowed(origin: bytes | None) -> bytes | None:
        for test in tests:
            found = test(origin)
            if found is not None:
                return found
        return None

    return allowed


@implementer(IRewritePhase, IHeaderFilterPhase, IPureHooks)
@frozen(eq=False)
class CORS:
    """
    cors with one configuration.

    Attributes:
        allowed: Tried one after the other. timing: As one of them; None if nobody asked.
        fields: What is sent to every origin that is allowed, besides the origin itself.
        echo_headers: Whether the headers that the browser asks for are allowed.
        vary: Whether the answer depends on the origin.
    """

    allowed: tuple[Allowed, ...]
    timing: Allowed | None
    fields: tuple[tuple[bytes, bytes], ...]
    echo_headers: bool
    vary: bool

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``. A preflight needs no credentials, so it is answered before anybody asks."""
        exchange.context[_ORIGIN] = exchange.fields.get(b"origin")
        return _ANSWER if exchange.method == b"OPTIONS" else None

    def header_filter(self, exchange: Exchange) -> None:
        """See ``IHeaderFilterPhase``. An upstream's own fields of these names are replaced."""
        answer = exchange.response_fields
        context = exchange.context
        origin: bytes | None = context[_ORIGIN] if _ORIGIN in context else exchange.fields.get(b"origin")
        if self.vary:
            answer.add(b"vary", b"Origin")
        for allowed in self.allowed:
            value = allowed(origin)
            if value is not None:
                answer.set(b"access-control-allow-origin", value)
                for name, text in self.fields:
                    answer.set(name, text)
                if self.echo_headers:
                    asked = exchange.fields.get(b"access-control-request-headers")
                    answer.remove(b"access-control-allow-headers")
                    if asked is not None:
                        answer.add(b"access-control-allow-headers", asked)
                break
        if self.timing is not None:
            value = self.timing(origin)
            if value is not None:
                answer.set(b"timing-allow-origin", value)


def _check(config: Mapping[str, Any]) -> None:
    if config.get("allow_credential"):
        filled = fill(_SCHEMA, config)
        names = ("allow_origins", "allow_methods", "allow_headers", "expose_headers", "timing_allow_origins")
        if "*" in [filled.get(name) for name in names]:
            raise ValueError("you can not set '*' for other option when 'allow_credential' is true")
    for name in ("allow_origins_by_regex", "timing_allow_origins_by_regex"):
        for text in config.get(name, ()):
            if is_reference(text):
                continue
            try:
                compile_regex(text)
            except ValueError as error:
                raise ValueError(f"{name}: invalid regular expression: {error}") from None


def _fields(filled: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    methods, headers = filled["allow_methods"], filled["allow_headers"]
    pairs = [
        ("methods", ALL_METHODS if methods == "**" else methods),
        ("max-age", str(filled["max_age"])),
        ("expose-headers", filled.get("expose_headers")),
        ("headers", None if headers == "**" else headers),
        ("credentials", "true" if filled["allow_credential"] else None),
    ]
    spelt = {"methods": "allow-methods", "headers": "allow-headers", "credentials": "allow-credentials"}
    return tuple(
        (f"access-control-{spelt.get(name, name)}".encode(), configured_value(text))
        for name, text in pairs
        if text
    )


def _make(config: Mapping[str, Any], services: PluginServices) -> CORS:
    filled = fill(_SCHEMA, config)
    by_regex = filled.get("allow_origins_by_regex")
    allowed = [_listed(filled["allow_origins"]) if by_regex is None else _matched(by_regex)]
    names = filled.get("allow_origins_by_metadata")
    if names is not None:
        allowed.append(_named(names, services.metadata.get("allow_origins", {})))
    timing: Allowed | None = None
    if "timing_allow_origins_by_regex" in filled:
        timing = _matched(filled["timing_allow_origins_by_regex"])
    elif "timing_allow_origins" in filled:
        timing = _listed(filled["timing_allow_origins"])
    return CORS(
        tuple(allowed),
        timing,
        _fields(filled),
        filled["allow_headers"] == "**",
        filled["allow_origins"] != "*" or by_regex is not None,
    )


plugin = Factory(
    name="cors",
    priority=4000,
    schema=_SCHEMA,
    metadata_schema=_METADATA_SCHEMA,
    check=_check,
    make=_make,
)
