"""What the apisix dialect tells about plugins and schemas (Admin API contract §4.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.admin.apisix_errors import ApisixErrors
from gateway.admin.apisix_kinds import APISIX_KINDS, BY_NAME
from gateway.admin.calls import Answer, Call
from gateway.admin.json_text import BadJSON, read_json
from gateway.model.apisix import fields, secret
from gateway.model.schema import Checker
from gateway.registry import PluginRegistry

_SUBSYSTEMS = ("http", "stream")
_EXTRA = {"plugins": fields.plugins, "id": fields.identifier, "timeout": fields.timeout}
_NOT_FOUND = {"error_msg": "not found"}


def _error(status: int, text: str) -> Answer:
    return Answer(status, {"error_msg": text})


class ApisixPages:
    """Answers ``plugins`` and ``schema`` below ``/apisix/admin``."""

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry
        self._errors = ApisixErrors(registry)

    async def plugins(self, call: Call, path: Sequence[str]) -> Answer:
        """``/plugins``, ``/plugins/list``, ``/plugins/reload`` and ``/plugins/{name}``."""
        if list(path) == ["reload"]:
            if call.method == "PUT":
                # Plugins are loaded at the start; what a change of them needs is a restart.
                return Answer(200, b"done")
            text = f"please use PUT method to reload the plugins, {call.method} method is not allowed."
            return _error(405, text)
        if call.method != "GET" or len(path) > 1:
            return Answer(404, _NOT_FOUND)
        subsystem = call.query.one("subsystem") or "http"
        if subsystem not in _SUBSYSTEMS and list(path) == ["list"]:
            return Answer(400, b"invalid subsystem passed")
        if subsystem not in _SUBSYSTEMS:
            return _error(400, f"unsupported subsystem: {subsystem[:100]}")
        names = self._registry.names if subsystem == "http" else ()
        if list(path) == ["list"]:
            return Answer(200, list(names))
        if call.query.one("all") == "true":
            return Answer(200, {name: self._plugin(name) for name in names})
        if not path:
            return _error(400, "not found plugin name")
        return self._schema_of(path[0], names, subsystem, call.query.one("schema_type"))

    def _plugin(self, name: str) -> dict[str, Any]:
        factory = self._registry.factory(name)
        page: dict[str, Any] = {
            "version": factory.version,
            "priority": factory.priority,
            "schema": self._registry.published_schema(name),
        }
        if factory.kind == "auth":
            page["type"] = "auth"
        if self._registry.is_auth(name):
            page["consumer_schema"] = self._registry.published_schema(name, credential=True)
        if factory.metadata_schema is not None:
            page["metadata_schema"] = factory.metadata_schema
        return page

    def _schema_of(self, name: str, names: Sequence[str], subsystem: str, of: str | None) -> Answer:
        if name not in names:
            return _error(404, f"plugin not found in subsystem {subsystem}")
        schema: Mapping[str, Any] | None
        if of == "metadata":
            schema = self._registry.factory(name).metadata_schema
        else:
            schema = self._registry.published_schema(name, credential=of == "consumer")
        return _error(400, "not found schema") if schema is None else Answer(200, schema)

    async def schema(self, call: Call, path: Sequence[str]) -> Answer:
        """``/schema/{type}``, ``/schema/plugins/{name}`` and ``/schema/validate/{resource}``."""
        if path and path[0] == "validate":
            return self._validate(call, path[1:])
        if call.method != "GET" or not path:
            return Answer(404, _NOT_FOUND)
        if len(path) == 2 and path[0] == "plugins":
            return self._schema_of(path[1], self._registry.names, "http", call.query.one("schema_type"))
        kind = BY_NAME.get(path[0])
        if len(path) == 2 and path[0] == "secret" and path[1] in secret.MANAGERS:
            return Answer(200, secret.MANAGERS[path[1]])
        if len(path) == 1 and kind is not None:
            return Answer(200, kind.schema)
        if len(path) == 1 and path[0] in _EXTRA:
            return Answer(200, _EXTRA[path[0]])
        return _error(400, f"not found schema: {'/'.join(path)[:100]}")

    def _validate(self, call: Call, path: Sequence[str]) -> Answer:
        if call.method != "POST" or len(path) != 1:
            return Answer(404, _NOT_FOUND)
        kind = APISIX_KINDS.get(path[0])
        if kind is None:
            return _error(404, f"Unsupported resource type: {path[0][:100]}")
        raw = call.read()
        try:
            document = read_json(raw)
        except BadJSON as error:
            text = f"invalid request body: {error}"
            return Answer(400, {"error_msg": text, "req_body": raw.decode("utf-8", "replace")})
        checker = Checker(kind.schema, references=True)
        problems = checker.problems(document)
        if problems:
            return _error(400, self._errors.schema_text(kind.name, problems))
        return Answer(200, None)
