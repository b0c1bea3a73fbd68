"""proxy-mirror: a copy of each request, or of a sample, for another service; what that answers is ignored."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote

from attrs import define, field
from zope.interface import implementer

from gateway.core.exchange import Exchange
from gateway.core.explanation import Explanation
from gateway.core.fields import Pair
from gateway.core.forwarded import port_of, request_fields, upstream_host_value
from gateway.factories import Factory
from gateway.interfaces import (
    HttpCallFailed,
    HttpCalls,
    IBeforeProxyPhase,
    IExplainedHooks,
    IRewritePhase,
    PluginServices,
)
from gateway.model.schema import fill

NAME = "proxy-mirror"

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "host": {
            "type": "string",
            "pattern": r"^(http|grpc)s?://(\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z-._]+)(:[0-9]{1,5})?$(?!\n)",
            "description": "Where copies go, such as http://127.0.0.1:9797; no path.",
        },
        "path": {
            "type": "string",
            "pattern": r"^/[^?&\s#]+$",
            "description": "Path of the copies; by default that of the request.",
        },
        "path_concat_mode": {
            "type": "string",
            "enum": ["replace", "prefix"],
            "default": "replace",
            "description": "replace: path stands in for the request's. prefix: it stands before it.",
        },
        "sample_ratio": {
            "type": "number",
            "minimum": 0.00001,
            "maximum": 1,
            "default": 1,
            "description": "The share of requests that is copied.",
        },
    },
    "required": ["host"],
}
_WANTED = "mirror"
_SAFE = "/%:@!$&'()*+,;="
"""Stand in a path as they are (RFC 3986 section 3.3)."""


@implementer(IRewritePhase, IBeforeProxyPhase, IExplainedHooks)
@define(eq=False)
class ProxyMirror:
    """
    proxy-mirror with one configuration.

    Attributes:
        busy: Copies under way. dropped: Those that were not sent, because there were too many already.
    """

    base: str
    path: bytes | None
    prefix: bool
    ratio: float
    max_busy: int
    max_bytes: int
    timeout_s: float
    http: HttpCalls = field(repr=False)
    spawn: Callable[[Coroutine[Any, Any, Any]], None] = field(repr=False)
    random: Callable[[], float] = field(repr=False)
    busy: int = 0
    dropped: int = 0
    _memory: str = field(init=False)

    @_memory.default
    def _own(self) -> str:
        return f"{_WANTED} {id(self)}"

    def rewrite(self, exchange: Exchange) -> None:
        """See ``IRewritePhase``: whether this request is in the sample."""
        if self.ratio >= 1 or self.random() < self.ratio:
            exchange.context[self._memory] = True

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``. Where the copy goes is told as far as the settings say it."""
        share = "" if self.ratio >= 1 else f" of {self.ratio * 100:g} % of requests"
        return Explanation(None, f"sends a copy{share} to {self.base}")

    def before_proxy(self, exchange: Exchange) -> None:
        """See ``IBeforeProxyPhase``: the copy leaves with the first try, once its content is there."""
        if not exchange.context.pop(self._memory, False):
            return
        if self.busy >= self.max_busy:
            self.dropped += 1
            return
        method, url, fields = exchange.method.decode("latin-1"), self._url(exchange), _fields(exchange)

        def ready(content: bytes | None) -> None:
            if content is None or self.busy >= self.max_busy:
                self.dropped += 1
                return
            self.busy += 1
            self.spawn(self._send(method, url, fields, content))

        if exchange.content is not None or exchange.source is None:
            content = exchange.content or b""
            ready(content if len(content) <= self.max_bytes else None)
        else:
            exchange.source.record(self.max_bytes, ready)

    async def _send(self, method: str, url: str, fields: list[Pair], content: bytes) -> None:
        try:
            await self.http.request(
                method, url, fields=fields, content=content or None, timeout_s=self.timeout_s, verify=False
            )
        except HttpCallFailed:
            pass  # Nobody waits for it, and nobody is told.
        finally:
            self.busy -= 1

    def _url(self, exchange: Exchange) -> str:
        target = exchange.target
        if self.path is not None:
            _, mark, query = target.partition(b"?")
            target = self.path + (target if self.prefix else mark + query)
        return self.base + target.decode("latin-1")


def _fields(exchange: Exchange) -> list[Pair]:
    """As the upstream gets them."""
    client_host = exchange.fields.get(b"host") or b""
    connection = exchange.connection
    compiled, node = exchange.target_upstream, exchange.node
    host = exchange.upstream_host or client_host
    if compiled is not None and node is not None:
        host = upstream_host_value(
            compiled.upstream, node, client_host=client_host, override=exchange.upstream_host
        )
    return request_fields(
        exchange.fields,
        host=host,
        client_host=client_host or exchange.host.encode(),
        client_ip=exchange.client_ip.encode(),
        scheme=b"https" if connection.tls else b"http",
        port=port_of(client_host, connection.server_port),
        trusted=None,
        received=exchange.request.fields,
    )


def _make(config: Mapping[str, Any], services: PluginServices) -> ProxyMirror:
    filled = fill(_SCHEMA, config)
    host = filled["host"]
    if host.startswith("grpc"):
        services.log.warn(
            "{origin}: proxy-mirror copies to {host} over HTTP/1.1", origin=services.origin, host=host
        )
        host = "http" + host.removeprefix("grpc")
    path = filled.get("path")
    limits = services.settings
    return ProxyMirror(
        base=host,
        path=None if path is None else quote(path, _SAFE, errors="replace").encode("ascii"),
        prefix=filled["path_concat_mode"] == "prefix",
        ratio=filled["sample_ratio"],
        max_busy=int(limits.get("mirror_in_flight", 100)),
        max_bytes=int(limits.get("mirror_body_bytes", 1 << 20)),
        timeout_s=float(limits.get("mirror_timeout_s", 60)),
        http=services.http,
        spawn=services.spawn,
        random=services.random,
    )


plugin = Factory(name=NAME, priority=1010, schema=_SCHEMA, make=_make)
