"""The Admin API in memory, for clients of its apisix dialect."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from gateway.admin.app import ApisixOptions
from gateway.admin.static_keys import StaticKeys
from tests.admin.kit import Gateway, Reply

ADMIN = "an-admin-key-of-tests"
VIEWER = "a-viewer-key-of-tests"
UPSTREAM: dict[str, Any] = {"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}


def sealed(key: Any, value: Any) -> Any:
    """Stands for encryption: the secrets of plugins and of ssls become other text."""
    changed = dict(value)
    for name in ("key", "keys"):
        if name in value and key[1] == "ssl":
            changed[name] = "sealed"
    plugins = {name: dict(config) for name, config in value.get("plugins", {}).items()}
    for config in plugins.values():
        config.update({name: "sealed" for name in ("secret", "redis_password") if name in config})
    return {**changed, "plugins": plugins} if "plugins" in value else changed


class ApisixGateway(Gateway):
    """As ``Gateway``; its calls carry a static key and no gateway group."""

    def __init__(self, options: dict[str, Any] | None = None, **more: Any) -> None:
        apisix = ApisixOptions(keys=StaticKeys(ADMIN, VIEWER, "default"), seal=sealed)
        super().__init__(apisix=evolve(apisix, **(options or {})), **more)

    def send(self, method: str, path: str, body: object = None, **more: Any) -> Reply:
        """A call below ``/apisix/admin`` with the admin's key."""
        path, _, query = path.partition("?")
        return self.call(method, f"/apisix/admin{path}", body, **{"query": query, "token": ADMIN, **more})

    def put(self, path: str, body: object) -> Any:
        """A PUT that must be accepted: what it is answered."""
        reply = self.send("PUT", path, body)
        assert reply.status in (200, 201), reply.raw
        return reply.json

    def refused(self, method: str, path: str, body: object = None, status: int = 400) -> str:
        """A call that must be refused: what it says."""
        reply = self.send(method, path, body)
        assert reply.status == status, (reply.status, reply.raw)
        return reply.error
