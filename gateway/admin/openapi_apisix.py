"""The OpenAPI 3.1 document of the apisix dialect, made from its table of kinds (contract §4, §5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway import __version__
from gateway.admin.apisix_kinds import APISIX_KINDS, ApisixKind
from gateway.admin.openapi_schema import Node, converted

_ROOT = "/apisix/admin"
_STATUS = {
    "400": "The document or a parameter is not acceptable; nothing was stored",
    "401": "No valid key, or one that may only read",
    "403": "The address may not connect",
    "404": "It is not there",
    "405": "The resource has other methods",
    "412": "If-Match or If-None-Match does not hold",
    "413": "Too much content",
    "503": "The configuration store did not take the write",
}
_ERROR: Node = {
    "type": "object",
    "properties": {
        "error_msg": {"type": "string"},
        "message": {"type": "string"},
        "description": {"type": "string"},
    },
}
_INDEX: Node = {"type": "integer", "minimum": 0, "description": "the revision of the store"}
_TTL: Node = {"name": "ttl", "in": "query", "schema": {"type": "integer", "minimum": 1}}
_FORCE: Node = {"name": "force", "in": "query", "schema": {"enum": ["true", "false"]}}
_LISTING: tuple[Node, ...] = (
    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "page_size", "in": "query", "schema": {"type": "integer", "minimum": 10, "maximum": 500}},
    {"name": "name", "in": "query", "schema": {"type": "string"}},
    {"name": "label", "in": "query", "schema": {"type": "string"}},
)


def document() -> Node:
    """The document, as ``gateway.admin.openapi.document`` gives it."""
    schemas: Node = {"error": _ERROR}
    paths: dict[str, Node] = {}
    for kind in APISIX_KINDS.values():
        schemas[kind.name] = converted(kind.schema)
        _resource(kind, paths)
    for path, summary, answer in _PAGES:
        paths[_ROOT + path] = {"get": _operation(summary, _named(path), None, {"200": answer})}
    _whole(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API, apisix dialect",
            "version": __version__,
            "description": "Resources of one gateway group, with a key of [apisix] in gw.ini.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {status: _refusal(words) for status, words in _STATUS.items()},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
        },
    }


_PAGES: Sequence[tuple[str, str, Node]] = (
    ("/plugins/list", "List: names of plugins", {"type": "array", "items": {"type": "string"}}),
    ("/plugins", "List: plugins with their schemas", {"type": ["object", "array"]}),
    ("/plugins/{name}", "Show: schema of a plugin's settings", {"type": "object"}),
    ("/schema/{name}", "Show: schema of a resource", {"type": "object"}),
    ("/schema/plugins/{name}", "Show: schema of a plugin's settings", {"type": "object"}),
)


_DIGEST: Node = {
    "name": "X-Digest",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[0-9a-zA-Z]+$"},
    "description": "what the content is told apart by, such as its SHA-1",
}
_ARRAYS: Node = {"type": "object", "additionalProperties": {"type": "array"}}


def _whole(paths: dict[str, Node]) -> None:
    """What is about all resources at once (contract §4.7, §6.5)."""
    put = _operation("Replace everything", [_DIGEST], {"type": "object"}, {"202": {}})
    put["responses"]["204"] = {"description": "It is what there is already"}
    put["responses"]["202"].pop("content")
    get = _operation("Show everything", [], None, {"200": {"type": "object"}})
    paths[f"{_ROOT}/configs"] = {"get": get, "put": put}
    dry = _operation("Check many documents, and store nothing", [], _ARRAYS, {"200": {"type": "object"}})
    paths[f"{_ROOT}/configs/validate"] = {"post": dry}
    check = _operation("Check a document by its schema", _named("{name}"), {"type": "object"}, {"200": {}})
    check["responses"]["200"].pop("content")
    paths[f"{_ROOT}/schema/validate/{{name}}"] = {"post": check}


def _named(path: str) -> list[Node]:
    return [_in_path("name")] if "{name}" in path else []


def _resource(kind: ApisixKind, paths: dict[str, Node]) -> None:
    base, parameters = f"{_ROOT}/{kind.path}", []
    if kind.parent is not None:
        base = f"{_ROOT}/consumers/{{username}}/{kind.path}"
        parameters.append(_in_path("username"))
    ids = ["manager", "id"] if kind.name == "secret" else ["id"]
    own = [*parameters, *map(_in_path, ids)]
    collection: Node = paths.setdefault(base, {})
    item: Node = paths.setdefault(base + "".join(f"/{{{name}}}" for name in ids), {})
    body: Node = {"$ref": f"#/components/schemas/{kind.name}"}
    shown = _object({"key": {"type": "string"}, "value": {"type": "object"}}, "key", "value")
    indexed: Node = {
        **shown,
        "properties": {**shown["properties"], "createdIndex": _INDEX, "modifiedIndex": _INDEX},
    }
    listed = _object(
        {"total": {"type": "integer"}, "list": {"type": "array", "items": indexed}}, "total", "list"
    )
    deleted = _object({"deleted": {"type": "string"}, "key": {"type": "string"}}, "deleted", "key")
    what = kind.words
    collection["get"] = _operation(f"List: {what}", [*parameters, *_LISTING], None, {"200": listed})
    if "POST" not in kind.refused:
        collection["post"] = _operation(f"Create: {what}", [*parameters, _TTL], body, {"201": shown})
    item["get"] = _operation(f"Show: {what}", own, None, {"200": indexed})
    written = {"200": shown, "201": shown}
    item["put"] = _operation(f"Create or replace: {what}", [*own, _TTL], body, written)
    if "PATCH" not in kind.refused:
        item["patch"] = _operation(f"Patch: {what}", [*own, _TTL], {"type": "object"}, {"200": shown})
    item["delete"] = _operation(f"Delete: {what}", [*own, _FORCE], None, {"200": deleted})


def _in_path(name: str) -> Node:
    pattern = r"^[a-zA-Z0-9-_.]+$"
    schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _object(properties: Node, *required: str) -> Node:
    return {"type": "object", "properties": properties, "required": list(required)}


def _operation(summary: str, parameters: Sequence[Node], body: Node | None, answers: Node) -> Node:
    responses: Node = {
        status: {"description": "Done", "content": {"application/json": {"schema": answer}}}
        for status, answer in answers.items()
    }
    responses |= {status: {"$ref": f"#/components/responses/{status}"} for status in _STATUS}
    made: Node = {"summary": summary, "parameters": list(parameters), "responses": responses}
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


def _refusal(words: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
    return {"description": words, "content": content}
