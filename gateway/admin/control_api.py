"""The control API: what is loaded and how it is, for whoever has a shell on this machine.

It changes nothing and asks for no token, so it listens on loopback unless told otherwise. Secrets are
masked. With workers it knows what they know.

Source: data-plane contract §15.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape
from typing import Any

from klein import Klein
from twisted.logger import Logger
from twisted.web.resource import IResource

from gateway.admin.control_plane import CORE_SCHEMAS
from gateway.control.control import Control
from gateway.model.record import Record
from gateway.registry import PluginRegistry
from gateway.store.sealing import Path, plugin_places

HIDDEN = "******"
_SECRETS = frozenset({"client_key", "key", "keys"})
_TYPES: Mapping[str, str] = {
    "routes": "route",
    "services": "service",
    "upstreams": "upstream",
    "stream_routes": "stream_route",
}
"""What can have health checks: name in a path → kind."""

Health = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]


class ControlAPI:
    """
    The control API.

    Every method that ends in an answer is called by Klein.
    """

    app = Klein()
    _log = Logger()

    def __init__(self, control: Control, registry: PluginRegistry, group: str, health: Health) -> None:
        """
        Args:
            group: The gateway group that is served. health: The upstreams being checked, of all workers.
        """
        self._control = control
        self._registry = registry
        self._group = group
        self._health = health

    def resource(self) -> IResource:
        """The root of the resource tree, for a ``Site``."""
        found: IResource = self.app.resource()
        return found

    # -- answers

    def _json(self, request: Any, content: Any, status: int = 200) -> bytes:
        request.setResponseCode(status)
        request.setHeader(b"content-type", b"application/json")
        return json.dumps(content, separators=(",", ":"), default=_plain).encode() + b"\n"

    def _missing(self, request: Any, text: str, status: int = 404) -> bytes:
        return self._json(request, {"error_msg": text}, status)

    @app.handle_errors(Exception)
    def _failed(self, request: Any, failure: Any) -> bytes:
        code = getattr(failure.value, "code", None)  # werkzeug's: no such path, no such method
        if code is not None:
            return self._missing(request, str(getattr(failure.value, "name", "")).lower(), code)
        self._log.failure("a call of the control API failed", failure)
        return self._missing(request, "internal error", 500)

    # -- schemas

    @app.route("/v1/schema", methods=["GET"])
    def _schema(self, request: Any) -> bytes:
        plugins: dict[str, Any] = {}
        for name in self._registry.names:
            factory = self._registry.factory(name)
            plugins[name] = {
                "priority": factory.priority,
                "version": factory.version,
                "schema": self._registry.published_schema(name),
            }
            credential = self._registry.published_schema(name, credential=True)
            if credential is not None:
                plugins[name].update(type="auth", consumer_schema=credential)
            if factory.metadata_schema is not None:
                plugins[name]["metadata_schema"] = factory.metadata_schema
        return self._json(request, {"main": CORE_SCHEMAS, "plugins": plugins, "stream_plugins": {}})

    # -- health

    @app.route("/v1/healthcheck", methods=["GET"])
    async def _healthcheck(self, request: Any) -> bytes:
        found = await self._health()
        accepted = request.getHeader(b"accept") or b""
        if b"text/html" in accepted:
            request.setHeader(b"content-type", b"text/html; charset=utf-8")
            return _page(found)
        return self._json(request, list(found))

    @app.route("/v1/healthcheck/<kind>/<id>", methods=["GET"])
    async def _healthcheck_of(self, request: Any, kind: str, id: str) -> bytes:
        if kind not in _TYPES:
            return self._missing(request, f"invalid src type {kind}", 400)
        if self._control.state.get(self._group, _TYPES[kind], id) is None:
            return self._missing(request, f"{kind}[{id}] not found")
        for upstream in await self._health():
            if upstream["name"] == f"/apisix/{kind}/{id}":
                return self._json(request, upstream)
        return self._missing(request, f"no checker for {kind}[{id}]")

    # -- what is loaded

    def _all(self, request: Any, kind: str) -> bytes:
        records = self._control.state.all(self._group, kind).values()
        return self._json(request, [self._view(record) for record in records])

    def _one(self, request: Any, kind: str, id: str) -> bytes:
        record = self._control.state.get(self._group, kind, id)
        if record is None:
            return self._missing(request, f"{kind}[{id}] not found")
        return self._json(request, self._view(record))

    def _view(self, record: Record) -> dict[str, Any]:
        return {
            "key": f"/apisix/{record.kind}s/{record.id}",
            "value": {"id": record.id, **self._shown(record.value)},
            "createdIndex": record.created_revision,
            "modifiedIndex": record.modified_revision,
        }

    def _shown(self, value: Any) -> Any:
        """A document without its secrets."""
        if isinstance(value, list | tuple):
            return [self._shown(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        shown = {}
        for name, member in value.items():
            if name == "plugins" and isinstance(member, Mapping):
                shown[name] = self._plugins(member)
            elif name == "tls" and isinstance(member, Mapping):
                shown[name] = {key: HIDDEN if key in _SECRETS else one for key, one in member.items()}
            else:
                shown[name] = self._shown(member)
        return shown

    def _plugins(self, plugins: Mapping[str, Any]) -> dict[str, Any]:
        hidden = set(plugin_places(plugins, self._registry.secret_fields))
        shown: dict[str, Any] = self._shown(_without(plugins, hidden))
        return shown

    @app.route("/v1/routes", methods=["GET"])
    def _routes(self, request: Any) -> bytes:
        return self._all(request, "route")

    @app.route("/v1/route/<id>", methods=["GET"])
    def _route(self, request: Any, id: str) -> bytes:
        return self._one(request, "route", id)

    @app.route("/v1/services", methods=["GET"])
    def _services(self, request: Any) -> bytes:
        return self._all(request, "service")

    @app.route("/v1/service/<id>", methods=["GET"])
    def _service(self, request: Any, id: str) -> bytes:
        return self._one(request, "service", id)

    @app.route("/v1/upstreams", methods=["GET"])
    def _upstreams(self, request: Any) -> bytes:
        return self._all(request, "upstream")

    @app.route("/v1/upstream/<id>", methods=["GET"])
    def _upstream(self, request: Any, id: str) -> bytes:
        return self._one(request, "upstream", id)

    @app.route("/v1/plugin_metadatas", methods=["GET"])
    def _metadatas(self, request: Any) -> bytes:
        records = self._control.state.all(self._group, "plugin_metadata").values()
        return self._json(request, [self._metadata_of(record) for record in records])

    @app.route("/v1/plugin_metadata/<name>", methods=["GET"])
    def _metadata(self, request: Any, name: str) -> bytes:
        record = self._control.state.get(self._group, "plugin_metadata", name)
        if record is None:
            return self._missing(request, f"plugin metadata[{name}] not found")
        return self._json(request, self._metadata_of(record))

    def _metadata_of(self, record: Record) -> dict[str, Any]:
        return {**self._plugins({record.id: record.value})[record.id], "id": record.id}

    # -- errands

    @app.route("/v1/gc", methods=["POST"])
    def _gc(self, request: Any) -> bytes:
        gc.collect()
        return b""

    @app.route("/v1/plugins/reload", methods=["PUT"])
    def _reload(self, request: Any) -> bytes:
        """Plugins are loaded when the gateway starts, their settings whenever they change: nothing is due."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"done"


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


def _without(value: Any, hidden: set[Path], path: Path = ()) -> Any:
    """A copy of *value*, masked at the places *hidden*."""
    if path in hidden:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: _without(item, hidden, (*path, name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, hidden, (*path, place)) for place, item in enumerate(value)]
    return value


def _page(found: Sequence[Mapping[str, Any]]) -> bytes:
    rows = []
    for upstream in found:
        for node in upstream["nodes"]:
            counts = ", ".join(f"{name} {count}" for name, count in node["counter"].items())
            cells = (
                upstream["name"],
                upstream["type"],
                f"{node['ip']}:{node['port']}",
                node["status"],
                counts,
            )
            rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>\n")
    return (
        "<!DOCTYPE html>\n<title>Health checks</title>\n<table>\n"
        "<tr><th>upstream</th><th>type</th><th>node</th><th>status</th><th>counters</th></tr>\n"
        f"{''.join(rows)}</table>\n"
    ).encode()
