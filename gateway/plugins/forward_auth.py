"""forward-auth: another service decides whether a request may pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from zope.interface import implementer

from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.core.fields import Pair, configured_name, configured_value
from gateway.core.forwarded import HOP_BY_HOP
from gateway.core.reasons import BODY_TOO_LARGE
from gateway.core.variables import Template, compile_template, getter
from gateway.factories import Factory
from gateway.interfaces import (
    HttpAnswer,
    HttpCallFailed,
    HttpCalls,
    IAccessPhase,
    IExplainedHooks,
    KeepAlive,
    PluginLog,
    PluginServices,
)
from gateway.model.schema import fill, is_reference

MAX_IDLE_MS = 86_400_000
"""A longer keepalive_timeout counts as a day."""
_NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "default": []}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "uri": {
            "type": "string",
            "examples": ["http://127.0.0.1:9000/auth"],
            "description": "The service's URL.",
        },
        "allow_degradation": {
            "type": "boolean",
            "default": False,
            "description": "Let requests pass while the service cannot be reached.",
        },
        "status_on_error": {
            "type": "integer",
            "minimum": 200,
            "maximum": 599,
            "default": 403,
            "description": "The status of the answer while it cannot be reached.",
        },
        "ssl_verify": {
            "type": "boolean",
            "default": True,
            "description": "Whether its certificate must be valid.",
        },
        "request_method": {
            "type": "string",
            "enum": ["GET", "POST"],
            "default": "GET",
            "description": "How it is asked; POST sends it the request's content.",
        },
        "request_headers": {**_NAMES, "description": "Headers of the client that it is told."},
        "extra_headers": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "number"]},
            "description": "More headers for it; values may hold variables.",
        },
        "upstream_headers": {**_NAMES, "description": "Headers of its answer that the upstream is told."},
        "client_headers": {
            **_NAMES,
            "description": "Headers of its answer that the client is told when it refuses.",
        },
        "timeout": {
            "type": "integer",
            "minimum": 1,
            "maximum": 60000,
            "default": 3000,
            "description": "Milliseconds it may take.",
        },
        "keepalive": {
            "type": "boolean",
            "default": True,
            "description": "Whether connections are kept for the next call.",
        },
        "keepalive_timeout": {
            "type": "integer",
            "minimum": 1000,
            "default": 60000,
            "description": "Milliseconds that a connection nobody uses is kept.",
        },
        "keepalive_pool": {
            "type": "integer",
            "minimum": 1,
            "default": 5,
            "description": "Connections nobody uses that are kept, by each process.",
        },
        "max_req_body_size": {
            "type": "integer",
            "minimum": 1,
            "default": 67108864,
            "description": "Bytes of content that are held for POST; more is answered 413.",
        },
    },
    "required": ["uri"],
}

DENIED = "forward_auth_denied"
UNREACHABLE = "forward_auth_unreachable"
_TOO_LARGE = Reply(413, None, (), BODY_TOO_LARGE)
_request_uri = getter("request_uri")


@frozen
class Config:
    """Settings; the schema explains and defaults them. Names of fields are in lower case."""

    uri: str
    post: bool
    request_headers: tuple[bytes, ...]
    extra_headers: tuple[tuple[bytes, Template], ...]
    upstream_headers: tuple[bytes, ...]
    client_headers: frozenset[bytes]
    allow_degradation: bool
    status_on_error: int
    ssl_verify: bool
    timeout_s: float
    keep: KeepAlive
    max_req_body_size: int

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Config:
        """Read settings that fit the schema; ValueError if a resolved reference does not."""
        filled = fill(_SCHEMA, config)
        _check_uri(filled["uri"])
        return cls(
            uri=filled["uri"],
            post=filled["request_method"] == "POST",
            request_headers=tuple(map(configured_name, filled["request_headers"])),
            extra_headers=tuple(
                (configured_name(name), compile_template(_spelt(value)))
                for name, value in filled.get("extra_headers", {}).items()
                # These would break the call in two.
                if configured_name(name) not in _FRAMING
            ),
            upstream_headers=tuple(map(configured_name, filled["upstream_headers"])),
            client_headers=frozenset(map(configured_name, filled["client_headers"])),
            allow_degradation=filled["allow_degradation"],
            status_on_error=int(filled["status_on_error"]),
            ssl_verify=filled["ssl_verify"],
            timeout_s=filled["timeout"] / 1000,
            keep=KeepAlive(
                min(filled["keepalive_pool"], 1 << 16) if filled["keepalive"] else 0,
                min(filled["keepalive_timeout"], MAX_IDLE_MS) / 1000,
            ),
            max_req_body_size=int(filled["max_req_body_size"]),
        )


@implementer(IAccessPhase, IExplainedHooks)
@frozen(eq=False)
class ForwardAuth:
    """
    forward-auth with one configuration.

    Attributes:
        max_answer_bytes: Content of the service's answer; one with more counts as none.
    """

    config: Config
    http: HttpCalls = field(repr=False)
    log: PluginLog = field(repr=False)
    max_answer_bytes: int

    async def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``."""
        config = self.config
        content: bytes | None = None
        if config.post:
            try:
                content = await exchange.read_content(config.max_req_body_size)
            except ContentTooLarge:
                return _TOO_LARGE
        try:
            answer = await self.http.request(
                "POST" if config.post else "GET",
                config.uri,
                fields=self._fields(exchange),
                content=content,
                timeout_s=config.timeout_s,
                verify=config.ssl_verify,
                max_bytes=self.max_answer_bytes,
                keep=config.keep,
            )
        except HttpCallFailed as failed:
            self.log.warn("failed to process forward auth, err: {why}", why=str(failed))
            if config.allow_degradation:
                return None
            return Reply(config.status_on_error, None, (), UNREACHABLE, str(failed))
        if answer.status >= 300:
            return self._refusal(answer)
        for name in config.upstream_headers:
            exchange.fields.remove(name)
            for have, value in answer.fields:
                if have == name:
                    exchange.fields.add(name, value)
        if b"cookie" in config.upstream_headers:
            exchange.forget_cookies()
        return None

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``: who would be asked. Their answer may cost them something."""
        method = "POST" if self.config.post else "GET"
        return Explanation(None, f"would ask {method} {_shown(self.config.uri)}", sure=False)

    def _fields(self, exchange: Exchange) -> list[Pair]:
        """What the service is told. What the gateway says about the client is not for the client to say."""
        config = self.config
        told: dict[bytes, bytes] = {
            b"x-forwarded-proto": b"https" if exchange.connection.tls else b"http",
            b"x-forwarded-method": exchange.method,
            b"x-forwarded-host": exchange.host.encode("utf-8", "surrogateescape"),
            b"x-forwarded-uri": str(_request_uri(exchange)).encode("utf-8", "surrogateescape"),
            b"x-forwarded-for": exchange.client_ip.encode(),
        }
        if config.post:
            for name in (b"content-type", b"content-encoding"):
                value = exchange.fields.get(name)
                if value is not None:
                    told[name] = value
        for name, template in config.extra_headers:
            told[name] = configured_value(template(exchange))
        pairs = list(told.items())
        for name in config.request_headers:
            if name not in told and name not in _FRAMING:
                pairs.extend((name, value) for value in exchange.fields.get_all(name))
        return pairs

    def _refusal(self, answer: HttpAnswer) -> Reply:
        wanted = self.config.client_headers
        fields = [pair for pair in answer.fields if pair[0] in wanted and pair[0] not in _FRAMING]
        if answer.content and not any(name == b"content-type" for name, _ in fields):
            kind = answer.field(b"content-type") or b"text/plain; charset=utf-8"
            fields.append((b"content-type", kind))
            coding = answer.field(b"content-encoding")
            if coding is not None and b"content-encoding" not in wanted:
                fields.append((b"content-encoding", coding))
        return Reply(answer.status, answer.content, tuple(fields), DENIED)


_FRAMING = HOP_BY_HOP | {b"content-length", b"expect"}
"""Fields of one message or one connection; each has its own."""


def _spelt(value: str | float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shown(uri: str) -> str:
    """A URI without what may be a secret in it: user, password and query."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _check_uri(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not uri.isascii() or any(character <= " " for character in uri):
        raise ValueError("uri must be an absolute URL of http or https")


def _check(config: Mapping[str, Any]) -> None:
    if not is_reference(config["uri"]):
        _check_uri(config["uri"])
    for member in ("request_headers", "upstream_headers", "client_headers", "extra_headers"):
        for name in config.get(member, ()):
            if not is_reference(name):
                configured_name(name)


def _make(config: Mapping[str, Any], services: PluginServices) -> ForwardAuth:
    max_answer_bytes = int(services.settings.get("forward_auth_answer_bytes", 1 << 20))
    return ForwardAuth(Config.parse(config), services.http, services.log, max_answer_bytes)


plugin = Factory(name="forward-auth", priority=2002, schema=_SCHEMA, check=_check, make=_make)
