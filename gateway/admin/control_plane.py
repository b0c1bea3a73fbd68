"""What ``/api`` answers about the gateway itself: version, status, schemas, history, explain."""

from __future__ import annotations

import inspect
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gateway.admin import openapi
from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise_views import VERSION
from gateway.admin.json_text import BadJSON, read_json
from gateway.admin.refusals import BadBody, BadParameter, NotAllowed, NotFound
from gateway.model import (
    consumer,
    credential,
    global_rule,
    plugin_metadata,
    route,
    service,
    service_upstream,
    ssl,
    stream_route,
)
from gateway.model.credential import split_id
from gateway.model.record import Change, Record, Revision
from gateway.model.schema import enterprise_required
from gateway.registry import PluginRegistry

Explain = Callable[[Mapping[str, Any]], Any]
"""From ``method``, ``url``, ``headers`` (pairs of text) and perhaps ``client_ip`` and ``body`` (text) to a
JSON object, or an awaitable of one. May raise ConfigErrors."""

Status = Callable[[], Any]
"""A JSON object, or an awaitable of one."""
History = Callable[..., Awaitable[Sequence[Revision]]]
"""``IConfigStore.history``."""

CORE_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "route": route.SCHEMA,
    "service": service.SCHEMA,
    "upstream": service_upstream.SCHEMA,
    "ssl": ssl.SCHEMA,
    "consumer": consumer.SCHEMA,
    "consumer_credential": credential.SCHEMA,
    "global_rule": global_rule.SCHEMA,
    "plugin_metadata": plugin_metadata.SCHEMA,
    "stream_route": stream_route.SCHEMA,
    "stream_service": service.STREAM_SCHEMA,
}
"""What ``/api/schema/core`` publishes; clients take their defaults from it (contract §6.4)."""

MAX_REVISIONS = 1000
MAX_HEADERS = 200


def only(call: Call, *methods: str) -> None:
    """Refuse other methods. Raises NotAllowed."""
    if call.method not in methods:
        names = [name for method in methods for name in ((method, "HEAD") if method == "GET" else (method,))]
        raise NotAllowed(names)


class ControlPlane:
    """Answers the calls that read, but do not change, the configuration."""

    def __init__(self, explain: Explain, status: Status, history: History | None) -> None:
        self._explain = explain
        self._status = status
        self._history = history

    async def version(self, call: Call) -> Answer:
        """``GET /api/version``."""
        only(call, "GET")
        return Answer(200, {"value": VERSION})

    async def status(self, call: Call) -> Answer:
        """``GET /api/status``."""
        only(call, "GET")
        result = self._status()
        if inspect.isawaitable(result):
            result = await result
        return Answer(200, {"value": dict(result)})

    async def core_schemas(self, call: Call) -> Answer:
        """``GET /api/schema/core``."""
        only(call, "GET")
        return Answer(200, {"value": CORE_SCHEMAS})

    async def openapi(self, call: Call) -> Answer:
        """``GET /api/openapi.json``: the description of the Admin API, for tools."""
        only(call, "GET")
        return Answer(200, openapi.document(call.query.choice("dialect", openapi.dialects())))

    async def revisions(self, call: Call) -> Answer:
        """``GET /api/revisions``: who changed what, when and why; newest first, no documents."""
        only(call, "GET")
        if self._history is None:
            raise NotFound()
        found = await self._history(
            group=call.query.one("gateway_group_id"),
            kind=call.query.one("kind"),
            id=call.query.one("id"),
            before=call.query.number("before", None),
            limit=call.query.number("limit", 100, most=MAX_REVISIONS),
        )
        return Answer(200, {"list": [_revision(each) for each in found], "total": len(found)})

    async def explain(self, call: Call) -> Answer:
        """``GET`` or ``POST /api/explain``: what the data plane would do with a request."""
        only(call, "GET", "POST")
        result = self._explain(_from_query(call) if call.method == "GET" else _asked(call.document()))
        if inspect.isawaitable(result):
            result = await result
        return Answer(200, {"value": result})


def _revision(revision: Revision) -> dict[str, Any]:
    shown: dict[str, Any] = {"revision": revision.number, "at": revision.at, "author": revision.author}
    if revision.reason is not None:
        shown["reason"] = revision.reason
    pairs = zip(revision.changes, revision.before, strict=True)
    shown["changes"] = [_change(change, before) for change, before in pairs]
    return shown


def _change(change: Change, before: Record | None) -> dict[str, Any]:
    shown = {"kind": change.kind, "id": change.id}
    if change.group:
        shown["gateway_group_id"] = change.group
    if change.kind == "credential":
        shown["consumer"], shown["id"] = split_id(change.id)
    shown["did"] = "removed" if change.value is None else "created" if before is None else "replaced"
    return shown


def _from_query(call: Call) -> dict[str, Any]:
    headers: list[tuple[str, str]] = []
    for text in call.query.all("header"):
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise BadParameter("header", "value must look like Name:Value")
        headers.append((name.strip(), value.strip()))
    asked: dict[str, Any] = {"headers": headers}
    for member in ("method", "url", "client_ip", "body"):
        if (word := call.query.one(member)) is not None:
            asked[member] = word
    given = call.query.one("headers")
    if given is not None:
        try:
            asked["headers"] = [*headers, *_pairs(read_json(given.encode()))]
        except BadJSON as error:
            raise BadParameter("headers", str(error)) from None
    return _asked(asked)


def _pairs(headers: object) -> list[tuple[str, str]]:
    """Read ``{"Name": "value" or ["value", …]}`` or a list of pairs."""
    items: list[Any] = []
    if isinstance(headers, dict):
        for name, given in headers.items():
            items.extend((name, value) for value in (given if isinstance(given, list) else [given]))
    else:
        items.extend(headers if isinstance(headers, list) else [None])
    if len(items) > MAX_HEADERS:
        raise BadBody(f"at most {MAX_HEADERS} headers are allowed")
    pairs = [tuple(item) for item in items if isinstance(item, (list, tuple)) and len(item) == 2]
    if len(pairs) != len(items) or not all(isinstance(part, str) for pair in pairs for part in pair):
        raise BadBody('Error at "/headers": value must be an object of strings')
    return [(str(name), str(value)) for name, value in pairs]


def _asked(document: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {"method": "GET"}
    for name in ("method", "url", "client_ip"):
        if name in document:
            if not isinstance(document[name], str):
                raise BadBody(f'Error at "/{name}": value must be a string')
            asked[name] = document[name]
    if asked.get("client_ip"):
        try:
            ipaddress.ip_address(asked["client_ip"])
        except ValueError:
            raise BadBody('Error at "/client_ip": value is not an IP address') from None
    if not asked.get("url"):
        raise BadBody('Error at "/url": property "url" is missing')
    try:
        port = urlsplit(asked["url"]).port
    except ValueError:
        raise BadBody('Error at "/url": value is not a URL') from None
    if port == 0:
        raise BadBody('Error at "/url": port 0 cannot be asked')
    asked["headers"] = _pairs(document.get("headers", {}))
    if "body" in document:
        _put_body(asked, document["body"])
    return asked


def _put_body(asked: dict[str, Any], body: object) -> None:
    """Content is text as it would be sent; anything else stands for its JSON."""
    if isinstance(body, str):
        asked["body"] = body
        return
    asked["body"] = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    if not any(name.lower() == "content-type" for name, _ in asked["headers"]):
        asked["headers"].append(("Content-Type", "application/json"))


class PluginPages:
    """Answers ``/apisix/admin/plugins…``: which plugins there are and what settings they take."""

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry

    async def all(self, call: Call) -> Answer:
        """``GET /plugins``: every plugin by name, with its schemas."""
        only(call, "GET")
        if _subsystem(call) == "stream":
            return Answer(200, {})
        return Answer(200, {name: self._page(name) for name in self._registry.names})

    async def names(self, call: Call) -> Answer:
        """``GET /plugins/list``: the names, highest priority first."""
        only(call, "GET")
        return Answer(200, [] if _subsystem(call) == "stream" else list(self._registry.names))

    async def schema(self, call: Call, name: str) -> Answer:
        """``GET /plugins/{name}`` and ``/schema/plugins/{name}``: one JSON schema."""
        only(call, "GET")
        subsystem = _subsystem(call)
        if name not in self._registry or subsystem == "stream":
            raise NotFound(f"plugin {name[:100]}")
        of_consumer = call.query.one("schema_type") in ("consumer", "consumer_schema")
        if call.query.one("schema_type") in ("metadata", "metadata_schema"):
            schema = self._registry.factory(name).metadata_schema
        else:
            schema = self._published(name, credential=of_consumer)
        if schema is None:
            raise BadParameter("schema_type", "the plugin has no such schema")
        return Answer(200, schema)

    def _published(self, name: str, *, credential: bool = False) -> Mapping[str, Any] | None:
        schema = self._registry.published_schema(name, credential=credential)
        more = [] if schema is None else enterprise_required(schema)
        if schema is None or not more:
            return schema
        return {**schema, "required": list(dict.fromkeys([*schema.get("required", ()), *more]))}

    def _page(self, name: str) -> dict[str, Any]:
        factory = self._registry.factory(name)
        page: dict[str, Any] = {
            "version": factory.version,
            "priority": factory.priority,
            "type": factory.kind,
            "schema": self._published(name),
        }
        for member, schema in (
            ("consumer_schema", self._registry.published_schema(name, credential=True)),
            ("metadata_schema", factory.metadata_schema),
        ):
            if schema is not None:
                page[member] = schema
        return page


def _subsystem(call: Call) -> str:
    return call.query.choice("subsystem", ("http", "stream"))
