"""A declarative client: it brings a gateway group to what a document says, as ADC does.

It makes the calls of Admin API contract §6.1 in the order of §6.3, up to ten writes at a time, and
compares as §6.4 says: defaults that the server announces are merged into the local document before
it is held against what the server shows.

A document holds ``services`` (each with ``routes`` or ``stream_routes``, and ``upstreams``), ``consumers``
(each with ``credentials``), ``ssls``, ``global_rules`` and ``plugin_metadata`` (by plugin).
"""

from __future__ import annotations

import copy
import hashlib
import http.client
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlencode

from attrs import frozen

from tests.limits import LIMIT_S

ADMIN = "/apisix/admin"
Document = dict[str, Any]

_SERVICE = ("name", "desc", "labels", "upstream", "plugins", "path_prefix", "strip_path_prefix", "hosts")
_ROUTE = (
    *("name", "desc", "labels", "methods", "enable_websocket", "plugins"),
    *("paths", "priority", "timeout", "vars"),
)
_STREAM_ROUTE = ("name", "desc", "labels", "plugins", "server_addr", "server_port", "remote_addr")
_CONSUMER = ("username", "desc", "labels", "plugins")
_CREDENTIAL = ("name", "desc", "labels", "plugins")
_SSL = ("labels", "type", "snis", "cert", "client")
_UPSTREAM_EXTRAS = ("id", "created_at", "updated_at")


class Failed(Exception):
    """A call was not answered with success. Attributes: ``status``, ``body``."""

    def __init__(self, call: str, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{call}: {status} {body[:500]!r}")


@frozen
class Event:
    """One difference: ``what`` is create, update or delete of the resource at ``path``."""

    what: str
    kind: str
    path: str
    body: Any = None


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def announced(schema: Mapping[str, Any]) -> Any:
    """The defaults in a schema: of objects and array elements; as the client merges them."""
    if "default" in schema:
        return schema["default"]
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        inner = announced(schema["items"])
        return None if inner is None else [inner]
    members = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        members.update(part.get("properties", {}))
    found = {name: announced(member) for name, member in members.items()}
    return {name: value for name, value in found.items() if value is not None} or None


def merged(value: Any, defaults: Any) -> Any:
    """*value* with scalar defaults wherever their parent is there."""
    if isinstance(value, dict) and isinstance(defaults, dict):
        full = dict(value)
        for name, default in defaults.items():
            if name in full:
                full[name] = merged(full[name], default)
            elif not isinstance(default, (dict, list)):
                full[name] = default
        return full
    if isinstance(value, list) and isinstance(defaults, list) and defaults:
        return [merged(item, defaults[0]) for item in value]
    return value


def picked(document: Mapping[str, Any], names: Iterable[str]) -> Document:
    return {name: document[name] for name in names if name in document}


class Declarative:
    """The client, for one gateway group."""

    def __init__(self, port: int, cafile: str, token: str, group: str = "default") -> None:
        """
        Args:
            group: The gateway group's name. Not asked for with an ``a7adm-`` key.
        """
        self._port = port
        self._context = ssl.create_default_context(cafile=cafile)
        self._headers = {"X-API-KEY": token, "Content-Type": "application/json"}
        self._scope: dict[str, str] = {}
        self._defaults: dict[str, Any] = {}
        self._group = group
        self._keyed = token.startswith("a7adm-")

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """One call; raises Failed unless it is answered with 2xx."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=LIMIT_S, context=self._context
        )
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, target, body=content, headers=self._headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise Failed(f"{method} {target}", response.status, raw)
        return json.loads(raw) if raw else None

    def ping(self) -> None:
        self.call("GET", "/api/gateway_groups")

    def start(self) -> None:
        """What comes before dump, diff, sync and validate."""
        version = self.call("GET", "/api/version")["value"]
        assert tuple(map(int, version.split("."))) >= (3, 9, 10), version
        if not self._keyed:
            groups = self.call("GET", "/api/gateway_groups", search=self._group, name=self._group)["list"]
            assert groups, f"gateway group {self._group} does not exist"
            self._scope = {"gateway_group_id": groups[0]["id"]}
        schemas = self.call("GET", "/api/schema/core")["value"]
        self._defaults = {name: announced(schema) for name, schema in schemas.items()}

    # Reading

    def dump(self, labels: Mapping[str, str] | None = None) -> Document:
        """The group as a document; ids come along as ``id``."""
        query = {**self._scope, **{f"labels[{name}]": value for name, value in (labels or {}).items()}}
        found: Document = {"services": [], "consumers": [], "ssls": []}
        for item in self.call("GET", f"{ADMIN}/services", **query)["list"]:
            found["services"].append(self._dump_service(item))
        for item in self.call("GET", f"{ADMIN}/consumers", **query)["list"]:
            path = f"{ADMIN}/consumers/{quote(item['username'])}/credentials"
            credentials = self.call("GET", path, **self._scope)["list"]
            consumer = picked(item, _CONSUMER)
            if credentials:
                consumer["credentials"] = [{"id": c["id"], **picked(c, _CREDENTIAL)} for c in credentials]
                assert all(c["plugins"] for c in credentials)
            found["consumers"].append(consumer)
        for item in self.call("GET", f"{ADMIN}/ssls", **query)["list"]:
            assert "key" not in item
            assert "keys" not in item
            found["ssls"].append({"id": item["id"], **picked(item, _SSL)})
        rules = self.call("GET", f"{ADMIN}/global_rules", **query)["list"]
        found["global_rules"] = {name: conf for rule in rules for name, conf in rule["plugins"].items()}
        found["plugin_metadata"] = self.call("GET", f"{ADMIN}/plugin_metadata", **query)["value"]
        return found

    def _dump_service(self, item: Document) -> Document:
        service = {"id": item["id"], **picked(item, _SERVICE)}
        upstreams = self.call("GET", f"{ADMIN}/services/{item['id']}/upstreams", **self._scope)["list"]
        others = [u for u in upstreams if u["id"] != item["id"]]
        if others:
            service["upstreams"] = [
                {"id": u["id"], **{n: v for n, v in u.items() if n not in _UPSTREAM_EXTRAS}} for u in others
            ]
        kind, members = ("stream_routes", _STREAM_ROUTE) if item["type"] == "stream" else ("routes", _ROUTE)
        routes = self.call("GET", f"{ADMIN}/{kind}", service_id=item["id"], **self._scope)["list"]
        if routes:
            service[kind] = [{"id": r["id"], **picked(r, members)} for r in routes]
        return service

    # Comparing

    def diff(self, local: Document, remote: Document | None = None, *, managed: bool = True) -> list[Event]:
        """
        What has to be done, in order.

        Args:
            managed: Whether the label of this client is put on what it writes.
        """
        remote = self.dump() if remote is None else remote
        wanted, there = self._flat(local, managed), self._flat(remote, False)
        events = [
            Event("delete", kind, path)
            for path, (kind, _, _) in there.items()
            if path not in wanted and not _goes_with_parent(path, there, wanted)
        ]
        streams = {sha1(s["name"]) for s in local.get("services", ()) if "stream_routes" in s}
        streams |= {s["id"] for s in local.get("services", ()) if "stream_routes" in s and "id" in s}
        for path, (kind, body, compared) in wanted.items():
            if path not in there:
                events.append(Event("create", kind, path, body))
                continue
            stream = kind == "service" and body["service_id"] in streams
            defaults = self._defaults["stream_service" if stream else _TABLES.get(kind, kind)]
            if merged(compared, defaults) != there[path][2]:
                events.append(Event("update", kind, path, merged(body, defaults)))
        return sorted(events, key=_turn)

    def _flat(self, document: Document, managed: bool) -> dict[str, tuple[str, Document, Document]]:
        """Path → kind, body of a PUT, and the members that are compared."""
        return {path: (kind, body, compared) for kind, path, body, compared in self._each(document, managed)}

    def _each(self, document: Document, managed: bool) -> Iterator[tuple[str, str, Document, Document]]:
        def labelled(members: Document) -> Document:
            if not managed:
                return members
            return {**members, "labels": {**members.get("labels", {}), "managed-by": "adc"}}

        for service in document.get("services", ()):
            id = service.get("id") or sha1(service["name"])
            members = labelled(picked(service, _SERVICE))
            stream = service.get("upstream", {}).get("scheme") in ("tcp", "udp", "tls")
            body = {"service_id": id, **members, "type": "stream" if stream else "http"}
            yield "service", f"services/{id}", body, members
            for upstream in service.get("upstreams", ()):
                own = upstream.get("id") or sha1(f"{service['name']}.{upstream['name']}")
                members = {name: value for name, value in upstream.items() if name != "id"}
                yield "upstream", f"services/{id}/upstreams/{own}", members, members
            for kind, member, names in (
                ("route", "routes", _ROUTE),
                ("stream_route", "stream_routes", _STREAM_ROUTE),
            ):
                for route in service.get(member, ()):
                    own = route.get("id") or sha1(f"{service['name']}.{route['name']}")
                    members = labelled(picked(route, names))
                    body = {f"{kind}_id": own, "service_id": id, **members}
                    yield kind, f"{member}/{own}", body, members
        for consumer in document.get("consumers", ()):
            members = labelled(picked(consumer, _CONSUMER))
            path = f"consumers/{consumer['username']}"
            yield "consumer", path, members, members
            for credential in consumer.get("credentials", ()):
                own = credential.get("id") or sha1(f"{consumer['username']}.{credential['name']}")
                members = picked(credential, _CREDENTIAL)
                yield "credential", f"{path}/credentials/{own}", {"id": own, **members}, members
        for certificate in document.get("ssls", ()):
            own = certificate.get("id") or sha1(",".join(certificate["snis"]))
            members = labelled(picked(certificate, _SSL))
            body = {"id": own, "status": 1, **members, **picked(certificate, ("key",))}
            yield "ssl", f"ssls/{own}", body, members
        for name, conf in document.get("global_rules", {}).items():
            body = {"plugins": {name: conf}}
            yield "global_rule", f"global_rules/{name}", body, body
        for name, conf in document.get("plugin_metadata", {}).items():
            yield "metadata", f"plugin_metadata/{name}", conf, conf

    # Writing

    def sync(self, local: Document) -> list[Event]:
        """Bring the group to *local*. Returns what was done."""
        events = self.diff(copy.deepcopy(local))
        with ThreadPoolExecutor(10) as pool:
            for turn in sorted({_turn(event) for event in events}):
                list(pool.map(self._write, [event for event in events if _turn(event) == turn]))
        return events

    def _write(self, event: Event) -> None:
        method = "DELETE" if event.what == "delete" else "PUT"
        self.call(method, f"{ADMIN}/{event.path}", event.body, **self._scope)

    def validate(self, local: Document) -> list[Document]:
        """The errors the server finds in *local*."""
        arrays: dict[str, list[Document]] = {}
        names = {"credential": "consumer_credentials", "metadata": "plugin_metadata"}
        for kind, path, body, _ in self._each(local, True):
            extra = {"id": path.rpartition("/")[2]} if kind == "metadata" else {}
            arrays.setdefault(names.get(kind, f"{kind}s"), []).append({**extra, **body})
        try:
            self.call("POST", f"{ADMIN}/configs/validate", arrays, **self._scope)
        except Failed as failed:
            answer = json.loads(failed.body)
            errors: list[Document] = answer["errors"]
            return errors
        return []


_TABLES = {"credential": "consumer_credential", "metadata": "plugin_metadata"}
_DELETES = ("route", "stream_route", "service", "upstream", "consumer", "ssl")
_UPDATES = ("route", "stream_route", "service", "upstream", "consumer")
_CREATES = ("service", "route", "stream_route", "consumer", "upstream")


def _turn(event: Event) -> tuple[int, int]:
    """When an event's turn comes; those of one turn go out together (contract §6.3)."""
    if event.kind in ("global_rule", "metadata", "credential"):
        late = ("global_rule", "metadata", "credential").index(event.kind)
        return (10 + late, ("delete", "create", "update").index(event.what))
    if event.what == "delete":
        return (0, _DELETES.index(event.kind))
    if event.kind == "ssl":
        return (1, 0)
    if event.what == "update":
        return (2, _UPDATES.index(event.kind))
    return (3, _CREATES.index(event.kind))


def _goes_with_parent(path: str, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the server takes it along, with the service or consumer that goes."""
    kind, _, _ = there[path]
    if kind in ("upstream", "credential"):
        return path.rsplit("/", 2)[0] not in wanted
    if kind in ("route", "stream_route"):
        return f"services/{there[path][1]['service_id']}" not in wanted
    return False
