"""redirect: sends the client elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.regex_limits import Regex
from gateway.core.regexes import Replacement, compile_regex
from gateway.core.rewriting import escape_path, utf8
from gateway.core.variables import Template, compile_template
from gateway.factories import Factory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginServices

NAME = "redirect"
REASON = "redirected"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "uri": {"type": "string", "minLength": 2, "description": "Where to, with variables."},
        "regex_uri": {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": {"type": "string"},
            "description": "A pattern for the path, and what takes the place of what it matches.",
        },
        "http_to_https": {"type": "boolean", "description": "From http to https, the same otherwise."},
        "ret_code": {
            "type": "integer",
            "minimum": 200,
            "maximum": 599,
            "default": 302,
            "description": "The status; not for http_to_https.",
        },
        "encode_uri": {
            "type": "boolean",
            "default": False,
            "description": "Percent-encode the path of what uri and regex_uri make.",
        },
        "append_query_string": {
            "type": "boolean",
            "default": False,
            "description": "Append the request's query.",
        },
    },
    "oneOf": [{"required": ["uri"]}, {"required": ["regex_uri"]}, {"required": ["http_to_https"]}],
}

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def _pattern(regex_uri: list[str]) -> tuple[Regex, Replacement]:
    try:
        return compile_regex(regex_uri[0]), Replacement(regex_uri[1])
    except ValueError as error:
        raise ValueError(f"invalid regex_uri({regex_uri[0]}, {regex_uri[1]}): {error}") from None


def _safe(location: str) -> bytes:
    """As it is, but no control character: a variable's value cannot end the line."""
    return utf8(_CONTROLS.sub(lambda found: f"%{ord(found[0]):02X}", location))


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class Redirect:
    """
    redirect with one configuration.

    Attributes:
        to: Where a request is to go; None for one that is not redirected.
    """

    to: Callable[[Exchange], str | None]
    status: int
    encode: bool
    append_query: bool

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``."""
        location = self.to(exchange)
        if location is None:
            return None
        text = _safe(location)
        if self.encode:
            path, mark, query = location.partition("?")
            text = escape_path(path) + _safe(mark + query)
        if self.append_query and (query_bytes := exchange.query):
            text += (b"&" if b"?" in text else b"?") + query_bytes
        return _reply(self.status, text)


def _reply(status: int, location: bytes) -> Reply:
    return Reply(status, None, ((b"location", location),), REASON)


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class ToHttps:
    """
    ``http_to_https``.

    Attributes:
        place: Scheme, host and port, with variables.
        trusted: Whether a peer's ``X-Forwarded-Proto`` is believed.
    """

    place: Template
    trusted: Callable[[str], bool]

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``."""
        scheme = b"https" if exchange.connection.tls else b"http"
        if self.trusted(exchange.connection.client_ip):
            scheme = exchange.fields.get(b"x-forwarded-proto") or scheme
        if scheme.lower() != b"http":
            return None
        # Other methods keep theirs, and their content (RFC 9110 section 15.4.9).
        status = 301 if exchange.request.method in (b"GET", b"HEAD") else 308
        _, mark, query = exchange.request.target.partition(b"?")
        return _reply(status, _safe(self.place(exchange)) + escape_path(exchange.path) + mark + query)


def _check(config: Mapping[str, Any]) -> None:
    if config.get("http_to_https") and config.get("append_query_string"):
        raise ValueError("only one of `http_to_https` and `append_query_string` can be configured.")
    if "regex_uri" in config:
        _pattern(config["regex_uri"])


def _make(config: Mapping[str, Any], services: PluginServices) -> Redirect | ToHttps:
    to: Callable[[Exchange], str | None]
    if config.get("http_to_https"):
        port = services.settings.get("redirect_https_port", "443")
        place = "https://${host}" + ("" if port in ("443", "0") else f":{port}")
        return ToHttps(compile_template(place), services.trusted)
    if "uri" in config:
        to = compile_template(config["uri"])
    elif "regex_uri" in config:
        pattern, replacement = _pattern(config["regex_uri"])

        def to(exchange: Exchange) -> str | None:
            match = pattern.search(exchange.path)
            return None if match is None else replacement.substitute(match)
    else:

        def to(exchange: Exchange) -> str | None:
            return None

    return Redirect(
        to,
        config.get("ret_code", 302),
        config.get("encode_uri", False),
        config.get("append_query_string", False),
    )


plugin = Factory(name=NAME, priority=900, schema=SCHEMA, check=_check, make=_make)
