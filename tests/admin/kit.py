"""An Admin API in memory, and a client for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from attrs import define, field, frozen
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gateway.admin.app import AdminAPI
from gateway.admin.calls import Limits
from gateway.admin.tokens import bootstrap_change
from gateway.control.control import Control
from gateway.control.state import State
from gateway.interfaces import ICredentialFactory, IPluginFactory, ISharedSettings
from gateway.model.record import Change, Revision
from gateway.registry import PluginRegistry
from gateway.store.memory import MemoryStore

TOKEN = "a7ee-test-token"
GROUP = {"gateway_group_id": "default"}


@define
class FakeClock:
    now: float = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@define
class Publisher:
    """Serves nothing; can be told to refuse or to wait."""

    fault: Exception | None = None
    waiting: Deferred[None] | None = None
    published: list[Revision] = field(factory=list)

    async def prepare(self, changes: Sequence[Change]) -> None:
        if self.fault is not None:
            raise self.fault

    async def publish(self, revision: Revision) -> None:
        if self.waiting is not None:
            await self.waiting
        self.published.append(revision)


@implementer(IPluginFactory, ISharedSettings)
@define
class Limiter:
    """An ordinary plugin."""

    name: str = "limit-count"
    version: str = "0.1"
    priority: int = 1002
    kind: str = "general"
    schema: dict[str, Any] = field(
        factory=lambda: {
            "type": "object",
            "properties": {
                "count": {"type": "integer", "minimum": 1},
                "group": {"type": "string"},
                "nodes": {"type": "array", "items": {"type": "object", "required": ["host"]}},
                "redis_password": {"type": "string", "minLength": 8, "pattern": "^[a-z]+$"},
            },
            "required": ["count"],
        }
    )
    metadata_schema: dict[str, Any] | None = None
    secret_fields: tuple[str, ...] = ("redis_password",)

    def check(self, config: Mapping[str, Any]) -> None:
        if config["count"] == 13:
            raise ValueError("13 brings bad luck")

    def shared_name(self, config: Mapping[str, Any]) -> str | None:
        group = config.get("group")
        return group if isinstance(group, str) else None

    def make(self, config: Mapping[str, Any], services: Any) -> object:
        return object()


@implementer(IPluginFactory, ICredentialFactory)
@define
class JWT:
    """The parts of jwt-auth that the Admin API meets."""

    name: str = "jwt-auth"
    version: str = "0.1"
    priority: int = 2510
    kind: str = "auth"
    schema: dict[str, Any] = field(
        factory=lambda: {"type": "object", "properties": {"header": {"type": "string"}}}
    )
    metadata_schema: dict[str, Any] | None = None
    secret_fields: tuple[str, ...] = ()
    credential_schema: dict[str, Any] = field(
        factory=lambda: {
            "type": "object",
            "properties": {
                "key": {"type": "string", "minLength": 1},
                "secret": {"type": "string", "minLength": 1},
                "algorithm": {"type": "string", "default": "HS256"},
            },
            "required": ["key"],
            "dependencies": {
                "algorithm": {
                    "oneOf": [
                        {"properties": {"algorithm": {"enum": ["HS256"]}}},
                        {
                            "properties": {
                                "algorithm": {"enum": ["RS256"]},
                                "public_key": {"type": "string"},
                            },
                            "required": ["public_key"],
                        },
                    ]
                }
            },
        }
    )
    credential_secret_fields: tuple[str, ...] = ("secret",)
    key_field: str = "key"

    def check(self, config: Mapping[str, Any]) -> None:
        pass

    def make(self, config: Mapping[str, Any], services: Any) -> object:
        return object()

    def check_credential(self, config: Mapping[str, Any]) -> None:
        if config.get("algorithm", "HS256") == "HS256" and "secret" not in config:
            raise ValueError('property "secret" is required when using HS based algorithms')

    def credential(self, config: Mapping[str, Any]) -> object:
        return object()


class KeyAuth(JWT):
    """The parts of key-auth that the Admin API meets."""

    def check_credential(self, config: Mapping[str, Any]) -> None:
        pass


def registry() -> PluginRegistry:
    """Two plugins that authenticate and one that does not."""
    key_auth = KeyAuth(
        name="key-auth", priority=2500, credential_schema={"type": "object", "required": ["key"]}
    )
    return PluginRegistry([(JWT(), "tests"), (key_auth, "tests"), (Limiter(), "tests")])


@frozen
class Reply:
    status: int
    headers: Headers
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def value(self) -> Any:
        return self.json["value"]

    @property
    def error(self) -> str:
        return str(self.json["error_msg"])

    def field(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return None if values is None else values[0]


class Gateway:
    """The Admin API over a memory store, with one token."""

    def __init__(self, plugins: PluginRegistry | None = None, **more: Any) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.store.open()
        self.publisher = Publisher()
        self.control = Control(self.store, self.publisher, self.clock, State(0, {}))
        done(
            Deferred.fromCoroutine(self.control.write(lambda s: [bootstrap_change(TOKEN)], author="gateway"))
        )
        self.asked: list[Any] = []
        options: dict[str, Any] = {
            "explain": self.explain,
            "status": lambda: {"ok": True},
            "limits": Limits(max_body_bytes=100_000),
            "history": self.store.history,
            **more,
        }
        self.api = AdminAPI(self.control, plugins or registry(), clock=self.clock, **options)
        self.agent = RequestTraversalAgent(self.api.resource())

    def explain(self, query: Mapping[str, Any]) -> Any:
        self.asked.append(query)
        return {"outcome": "forwarded"}

    def start(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | str | None = None,
        token: str | None = TOKEN,
        headers: Mapping[str, str | bytes | list[str]] | None = None,
    ) -> Deferred[Any]:
        """Send; bytes go out as they are, anything else as JSON."""
        if query is None and path.startswith("/apisix/admin/"):
            query = GROUP
        if query:
            path += "?" + (query if isinstance(query, str) else urlencode(query))
        fields = Headers()
        for name, value in (headers or {}).items():
            for line in value if isinstance(value, list) else [value]:
                raw_line = line if isinstance(line, bytes) else line.encode()
                fields.addRawHeader(name.encode(), raw_line)
        if token is not None:
            fields.setRawHeaders("X-API-KEY", [token])
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        producer = None if raw is None else Content(raw, len(raw))
        url = b"http://127.0.0.1" + path.encode()
        answer: Deferred[Any] = self.agent.request(method.encode(), url, fields, producer)
        return answer

    def call(self, method: str, path: str, body: object = None, **more: Any) -> Reply:
        response = done(self.start(method, path, body, **more), self.agent)
        return Reply(response.code, response.headers, done(readBody(response), self.agent))

    def seed(self) -> None:
        """The service, route, consumer and credential of the guide."""
        for path, document in GUIDE:
            reply = self.call("PUT", path, document)
            assert reply.status == 200, reply.raw


@implementer(IBodyProducer)
@frozen
class Content:
    """A request's content, sent in one piece."""

    raw: bytes
    length: int

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self.raw)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


GUIDE: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "/apisix/admin/services/jwt-auth-httpbin-service",
        {
            "name": "jwt-auth-httpbin-service",
            "upstream": {
                "type": "roundrobin",
                "scheme": "http",
                "nodes": [{"host": "httpbin.org", "port": 80, "weight": 100}],
            },
        },
    ),
    (
        "/apisix/admin/routes/jwt-auth-route",
        {
            "name": "jwt-auth-route",
            "paths": ["/anything/jwt-auth"],
            "methods": ["GET"],
            "service_id": "jwt-auth-httpbin-service",
            "plugins": {"jwt-auth": {}},
        },
    ),
    ("/apisix/admin/consumers/jwt-auth-consumer", {"username": "jwt-auth-consumer"}),
    (
        "/apisix/admin/consumers/jwt-auth-consumer/credentials/jwt-auth-consumer-cred",
        {
            "name": "jwt-auth-consumer-cred",
            "plugins": {"jwt-auth": {"key": "user-1-identity", "secret": "my-shared-secret"}},
        },
    ),
)


def done(deferred: Deferred[Any], agent: RequestTraversalAgent | None = None) -> Any:
    """The result of a Deferred that fires without waiting."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    if agent is not None:
        agent.flush()
    if not results:
        raise AssertionError("no answer yet")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
