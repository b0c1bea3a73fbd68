"""The OpenAPI 3.1 document of the apisix dialect, made from the schemas that check it (contract §4, §5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway import __version__
from gateway.admin.apisix import ROOT
from gateway.admin.apisix_kinds import APISIX_KINDS, ApisixKind
from gateway.model.apisix import secret

Node = dict[str, Any]
Convert = Callable[[Any], Any]
"""From a draft 7 schema to one of JSON Schema 2020-12."""

_STATUS = {
    "400": "The document, a parameter or a patch is not acceptable, or it is still used; nothing was changed",
    "401": "No valid key, or one that may only read",
    "404": "It is not there",
    "405": "The resource has no such method",
    "412": "If-Match or If-None-Match does not hold",
    "503": "The configuration store did not take the write",
}
_TEXT: Node = {"type": "string"}
_NUMBER: Node = {"type": "integer"}
_OBJECT: Node = {"type": "object"}
_ERROR: Node = {
    "type": "object",
    "properties": {"error_msg": _TEXT, "message": _TEXT, "description": _TEXT, "req_body": _TEXT},
}
_ID: Node = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-zA-Z0-9-_.]+$"}
_TTL: Node = {
    "name": "ttl",
    "in": "query",
    "schema": {"type": "number", "minimum": 0},
    "description": "Seconds until it goes by itself",
}
_FORCE: Node = {
    "name": "force",
    "in": "query",
    "schema": {"enum": ["true"]},
    "description": "Also if others use it",
}
_LISTING: tuple[Node, ...] = (
    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "page_size", "in": "query", "schema": {"type": "integer", "minimum": 10, "maximum": 500}},
    {"name": "name", "in": "query", "schema": _TEXT, "description": "A regular expression"},
    {"name": "label", "in": "query", "schema": _TEXT, "description": "Has a label with this key"},
)
_ROUTE_LISTING: tuple[Node, ...] = (
    {"name": "uri", "in": "query", "schema": _TEXT, "description": "A regular expression"},
    {"name": "filter", "in": "query", "schema": _TEXT, "example": "service_id=1"},
)


def document(convert: Convert) -> Node:
    """The document of this dialect."""
    schemas: Node = {"error": _ERROR}
    paths: dict[str, Node] = {}
    for kind in APISIX_KINDS.values():
        _resource(kind, convert, schemas, paths)
    for path, method, summary, body, answer in _others(schemas):
        paths.setdefault(ROOT + path, {})[method] = _operation(summary, _in_path(path), body, {"200": answer})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API, apisix dialect",
            "version": __version__,
            "description": "For clients of Apache APISIX's Admin API; without gateway_group_id.",
        },
        "security": [{"field": []}, {"parameter": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {status: _answer(words, _reference("error")) for status, words in _STATUS.items()},
            "securitySchemes": {
                "field": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
                "parameter": {"type": "apiKey", "in": "query", "name": "api_key"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "x_api_key"},
            },
        },
    }


def _resource(kind: ApisixKind, convert: Convert, schemas: Node, paths: dict[str, Node]) -> None:
    if kind.name == "secret":
        schemas[kind.name] = {"anyOf": [convert(schema) for schema in secret.MANAGERS.values()]}
    else:
        schemas[kind.name] = convert(kind.schema)
    needed = [*(["id"] if kind.has_id else []), *(["create_time", "update_time"] if kind.has_times else [])]
    value: Node = {"type": "object", "required": needed}
    written = _members(key=_TEXT, value=value)
    shown = _members(key=_TEXT, value=value, createdIndex=_NUMBER, modifiedIndex=_NUMBER)
    listed = _members(total=_NUMBER, list={"type": "array", "items": shown})
    base = "/consumers/{username}/credentials" if kind.parent else f"/{kind.path}"
    item = base + ("/{manager}/{id}" if kind.name == "secret" else "/{id}")
    made = {"201": written, "200": written}
    body = _reference(kind.name)
    titled = kind.title
    collection = paths.setdefault(ROOT + base, {})
    more = _ROUTE_LISTING if kind.name in ("route", "stream_route") else ()
    inside = _in_path(base)
    collection["get"] = _operation(f"List: {titled}", [*inside, *_LISTING, *more], None, {"200": listed})
    if "POST" not in kind.refused:
        collection["post"] = _operation(f"Create: {titled}", [*inside, _TTL], body, {"201": written})
    one = paths.setdefault(ROOT + item, {})
    own = _in_path(item)
    one["get"] = _operation(f"Show: {titled}", own, None, {"200": shown})
    one["put"] = _operation(f"Create or replace: {titled}", [*own, _TTL], body, made)
    if "PATCH" not in kind.refused:
        one["patch"] = _operation(f"Merge into: {titled}", [*own, _TTL], _OBJECT, {"200": written})
    gone = _members(deleted=_TEXT, key=_TEXT)
    one["delete"] = _operation(f"Delete: {titled}", [*own, _FORCE], None, {"200": gone})


def _others(schemas: Node) -> Iterator[tuple[str, str, str, Node | None, Node | None]]:
    """Path, method, summary, content and answer of what is no resource."""
    whole: Node = {
        "type": "object",
        "properties": {
            kind.path: {"type": "array", "items": _OBJECT}
            for kind in APISIX_KINDS.values()
            if kind.parent is None
        },
    }
    schemas["configuration"] = whole
    names: Node = {"type": "array", "items": _TEXT}
    yield "/plugins/list", "get", "List: plugins, by priority", None, names
    yield "/plugins/{name}", "get", "Show: the schema of a plugin's settings", None, _OBJECT
    yield "/schema/{type}", "get", "Show: the schema of a kind of resource", None, _OBJECT
    yield "/schema/plugins/{name}", "get", "Show: the schema of a plugin's settings", None, _OBJECT
    yield "/schema/validate/{resource}", "post", "Hold a document against its schema", _OBJECT, None
    yield "/configs/validate", "post", "Dry run of a configuration", _reference("configuration"), _OBJECT
    yield "/configs", "get", "Show: the whole configuration", None, _reference("configuration")


def _in_path(path: str) -> list[Node]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _ID} for name in names]


def _members(**members: Node) -> Node:
    return {"type": "object", "properties": members, "required": list(members)}


def _reference(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(words: str, schema: Node | None) -> Node:
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {"description": words, **content}


def _operation(
    summary: str, parameters: Sequence[Node], body: Node | None, answers: Mapping[str, Node | None]
) -> Node:
    responses: Node = {status: _answer("Done", schema) for status, schema in answers.items()}
    responses |= {status: {"$ref": f"#/components/responses/{status}"} for status in _STATUS}
    made: Node = {"summary": summary, "parameters": list(parameters), "responses": responses}
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made
