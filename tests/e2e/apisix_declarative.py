"""A declarative client of the apisix dialect: it dumps, compares and syncs as the known ones do.

Written from Admin API contract §6.2 and §6.3 alone, over real sockets: the calls, their order, and
what such a client compares literally.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.gateway_process import LIMIT_S, Answer, exchange

Config = dict[str, list[dict[str, Any]]]

MANAGED = {"managed-by": "adc"}
_TIMES = ("create_time", "update_time", "createdIndex", "modifiedIndex")
_ROUTE = (
    *("name", "desc", "labels", "uris", "hosts", "methods", "remote_addrs", "vars", "filter_func"),
    *("service_id", "enable_websocket", "plugins", "priority", "timeout"),
)


def sha1(text: str) -> str:
    """The id such a client makes from a name."""
    return hashlib.sha1(text.encode()).hexdigest()


class Client:
    """One kept connection with a key."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        self._headers = {"X-API-KEY": key, "Content-Type": "application/json"}

    def close(self) -> None:
        self._connection.close()

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One call below ``/apisix/admin``; bytes go out as they are."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        fields = {**self._headers, **(headers or {})}
        return exchange(self._connection, method, f"/apisix/admin{path}", body=content, headers=fields)

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """A call that must be accepted: its JSON."""
        answer = self.call(method, path, body)
        assert 200 <= answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json

    # dump

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self.call("GET", path)
        if answer.status == 404 and path.endswith("/credentials"):
            return []
        assert answer.status == 200, (path, answer.status, answer.body)
        items = answer.json["list"]
        assert all(set(item) == {"key", "value", "createdIndex", "modifiedIndex"} for item in items), items
        return [{**item["value"], "#": item["key"].rpartition("/")[2]} for item in items]

    def dump(self) -> Config:
        """What the gateway holds, as such a client understands it."""
        lists = {
            name: self._list(f"/{name}")
            for name in (
                "services",
                "routes",
                "upstreams",
                "ssls",
                "consumers",
                "plugin_configs",
                "global_rules",
            )
        }
        lists["plugin_metadata"] = self._list("/plugin_metadata")
        self.call("GET", "/stream_routes")
        upstreams = {each["id"]: _plain(each) for each in lists["upstreams"]}
        routes: dict[str, list[dict[str, Any]]] = {}
        for route in lists["routes"]:
            plain = _plain(route)
            routes.setdefault(plain.pop("service_id"), []).append(
                {k: v for k, v in plain.items() if k != "status"}
            )
        services = []
        for service in lists["services"]:
            plain = _plain(service)
            upstream = upstreams[plain.pop("upstream_id")]
            plain["upstream"] = {k: v for k, v in upstream.items() if k not in ("id", "name")}
            services.append({**plain, "routes": _sorted(routes.get(service["id"], []))})
        consumers = []
        for consumer in lists["consumers"]:
            credentials = [
                _plain(each) for each in self._list(f"/consumers/{consumer['username']}/credentials")
            ]
            consumers.append({**_plain(consumer), "credentials": _sorted(credentials)})
        metadata = [{**_plain(each), "id": each["#"]} for each in lists["plugin_metadata"]]
        return {
            "services": _sorted(services),
            "consumers": _sorted(consumers),
            "ssls": _sorted([_plain(each) for each in lists["ssls"]]),
            "global_rules": _sorted([_plain(each) for each in lists["global_rules"]]),
            "plugin_metadata": _sorted(metadata),
        }

    # sync

    def sync(self, wanted: Config) -> int:
        """Make the gateway hold *wanted*; the number of calls that took."""
        calls = self.plan(wanted)
        for method, path, body in calls:
            self.must(method, path, body)
        return len(calls)

    def plan(self, wanted: Config) -> list[tuple[str, str, Any]]:
        """The calls that a sync would make, in order: none if nothing differs."""
        have = self.dump()
        deletes: list[tuple[str, str, Any]] = []
        writes: list[tuple[str, str, Any]] = []
        mine, theirs = _by_id(have["services"]), _by_id(wanted.get("services", []))
        for id, service in mine.items():
            kept = _by_id(theirs.get(id, {}).get("routes", []))
            deletes += [
                ("DELETE", f"/routes/{route}", None)
                for route in _by_id(service["routes"])
                if route not in kept
            ]
        for id in mine:
            if id not in theirs:
                deletes += [("DELETE", f"/services/{id}", None), ("DELETE", f"/upstreams/{id}", None)]
        users, wanted_users = (
            _by_id(have["consumers"], "username"),
            _by_id(wanted.get("consumers", []), "username"),
        )
        gone: list[tuple[str, str, Any]] = []
        for name, consumer in users.items():
            kept = _by_id(wanted_users.get(name, {}).get("credentials", []))
            if name not in wanted_users:
                deletes.append(("DELETE", f"/consumers/{name}", None))
            # The known client deletes credentials also of a consumer that is gone by then.
            gone += [
                ("DELETE", f"/consumers/{name}/credentials/{id}", None)
                for id in _by_id(consumer["credentials"])
                if id not in kept
            ]
        for section in ("ssls", "global_rules", "plugin_metadata"):
            old, new = _by_id(have[section]), _by_id(wanted.get(section, []))
            deletes += [("DELETE", f"/{section}/{id}", None) for id in old if id not in new]
            for id, value in new.items():
                shown = {k: v for k, v in value.items() if k not in ("key", "keys")}
                if old.get(id) != shown:
                    body = {k: v for k, v in value.items() if k != "id" or section != "plugin_metadata"}
                    writes.append(("PUT", f"/{section}/{id}", body))
        for id, service in theirs.items():
            old = mine.get(id, {})
            if old.get("upstream") != service["upstream"]:
                body = {**service["upstream"], "id": id, "name": service["name"]}
                writes.append(("PUT", f"/upstreams/{id}", body))
            own = {k: v for k, v in service.items() if k not in ("routes", "upstream")}
            if {k: v for k, v in old.items() if k not in ("routes", "upstream")} != own:
                writes.append(("PUT", f"/services/{id}", {**own, "upstream_id": id}))
            old_routes = _by_id(old.get("routes", []))
            for route_id, route in _by_id(service["routes"]).items():
                if old_routes.get(route_id) != route:
                    body = {k: route[k] for k in _ROUTE if k in route}
                    body.update(id=route_id, service_id=id, status=1)
                    writes.append(("PUT", f"/routes/{route_id}", body))
        for name, consumer in wanted_users.items():
            old = users.get(name, {})
            own = {k: v for k, v in consumer.items() if k != "credentials"}
            if {k: v for k, v in old.items() if k != "credentials"} != own:
                writes.append(("PUT", f"/consumers/{name}", own))
            old_ones = _by_id(old.get("credentials", []))
            for id, value in _by_id(consumer["credentials"]).items():
                if old_ones.get(id) != value:
                    writes.append(("PUT", f"/consumers/{name}/credentials/{id}", value))
        return [*deletes, *writes, *gone]


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in value.items() if name not in (*_TIMES, "#")}


def _by_id(items: list[dict[str, Any]], name: str = "id") -> dict[str, dict[str, Any]]:
    return {item[name]: item for item in items}


def _sorted(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: str(item.get("id", item.get("username"))))
