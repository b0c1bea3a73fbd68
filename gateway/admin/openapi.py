"""The OpenAPI 3.1 document of the Admin API, made from the schemas that check it.

The resources of a gateway group come from the table of kinds; the calls of the control plane from
``gateway.admin.openapi_calls``. ``python -m gateway.admin.openapi [apisix]`` writes the documents that are
shipped as ``docs/openapi.json`` and ``docs/openapi-apisix.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway import __version__
from gateway.admin import openapi_apisix
from gateway.admin.kind import Kind
from gateway.admin.kinds import KINDS
from gateway.admin.openapi_calls import CALLS, Operation
from gateway.admin.openapi_schema import converted
from gateway.model.schema import Schema

Node = dict[str, Any]

_STATUS = {
    "400": "The document, a parameter or a patch is not acceptable; nothing was stored",
    "401": "No valid credential",
    "403": "The caller may not do this",
    "404": "It is not there",
    "405": "The path has other methods",
    "412": "If-Match or If-None-Match does not hold",
    "413": "Too much content",
    "415": "The content says that it is no JSON",
    "429": "Too many failed log-ins",
    "503": "The configuration store did not take the write",
}
_ERROR: Node = {
    "type": "object",
    "required": ["error_msg"],
    "properties": {
        "error_msg": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer of the place"},
                    "rule": {"type": "string"},
                    "expected": {},
                    "got": {},
                    "hint": {"type": "string"},
                },
            },
        },
    },
}
_TIME: Node = {"type": "integer", "description": "unix seconds"}
_GROUP: Node = {
    "name": "gateway_group_id",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
    "description": "Not needed with the admin key of a gateway group",
    "example": "default",
}
_LISTING: tuple[Node, ...] = (
    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "page_size", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "direction", "in": "query", "schema": {"enum": ["desc", "asc"]}},
    {"name": "search", "in": "query", "schema": {"type": "string"}},
    {"name": "label", "in": "query", "schema": {"type": "string"}, "description": "Has this label"},
)
_WAIT: Node = {
    "name": "wait",
    "in": "query",
    "schema": {"enum": ["served", "stored"], "default": "served"},
    "description": "When to answer: once the change is served, or once it is stored",
}


def document(dialect: str = "enterprise") -> Node:
    """
    The document of one dialect.

    Raises:
        KeyError: there is no description of that dialect.
    """
    return _DIALECTS[dialect]()


def dialects() -> Sequence[str]:
    """Those that are described."""
    return list(_DIALECTS)


def _enterprise() -> Node:
    schemas: Node = {"error": _ERROR}
    paths: dict[str, Node] = {}
    for kind in KINDS.values():
        if "enterprise" in kind.shapes:
            _resource(kind, schemas, paths)
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Admin API, enterprise dialect",
            "version": __version__,
            "description": "Resources of gateway groups below /apisix/admin, the control plane below /api.",
        },
        "security": [{"key": []}, {"basic": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {status: _refusal(words) for status, words in _STATUS.items()},
            "parameters": {each["name"]: each for each in (_GROUP, _WAIT, *_LISTING)},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
                "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "session"},
            },
        },
    }


def _resource(kind: Kind, schemas: Node, paths: dict[str, Node]) -> None:
    shape = kind.shapes["enterprise"]
    schema = converted(shape.checker({}).schema)
    if kind.name == "service":
        other = converted(shape.checker({"type": "stream"}).schema)
        schema["properties"]["type"] = {"const": "http"}
        other["properties"]["type"] = {"const": "stream"}
        other["required"] = [*other["required"], "type"]
        schema = {"anyOf": [schema, other]}
    schemas[kind.name] = schema
    schemas[f"{kind.name}_answer"] = _answered(kind, schema)
    base = "/apisix/admin"
    parameters: list[Node] = [_shared(_GROUP)]
    if kind.parent is not None:
        parent = KINDS[kind.parent]
        base += f"/{parent.shapes['enterprise'].path}/{{{kind.parent}_id}}"
        parameters.append(_path_parameter(f"{kind.parent}_id"))
    base += f"/{shape.path}"
    ids = ["manager", "id"] if kind.id_segments == 2 else ["id"]
    own = [_path_parameter(name) for name in ids]
    value = {"$ref": f"#/components/schemas/{kind.name}_answer"}
    body = {"$ref": f"#/components/schemas/{kind.name}"}
    collection, item = (
        paths.setdefault(base, {}),
        paths.setdefault(base + "".join(f"/{{{n}}}" for n in ids), {}),
    )
    what = kind.title
    if "L" in shape.methods:
        listed = (
            {"value": {"type": "object"}}
            if kind.bare
            else {"list": {"type": "array", "items": value}, "total": {"type": "integer"}}
        )
        orders = ["updated_at", "created_at", "name", *kind.orders]
        more: list[Node] = [{"name": "order_by", "in": "query", "schema": {"enum": orders}}]
        more += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in kind.filters]
        collection["get"] = _described(
            f"List: {what}", [*parameters, *map(_shared, _LISTING), *more], None, _object(listed)
        )
    one = _object({"value": value, "warning_msg": {"type": "string"}}, "value")
    if "C" in shape.methods:
        collection["post"] = _described(f"Create: {what}", parameters, body, one)
    if "G" in shape.methods:
        item["get"] = _described(f"Show: {what}", [*parameters, *own], None, one)
    if "U" in shape.methods:
        item["put"] = _described(f"Create or replace: {what}", [*parameters, *own], body, one)
    if "P" in shape.methods:
        patch = {"oneOf": [_JSON_PATCH, {"type": "object"}]}
        item["patch"] = _described(f"Patch: {what}", [*parameters, *own], patch, one)
    if "D" in shape.methods:
        item["delete"] = _described(f"Delete: {what}", [*parameters, *own], None, {"type": "object"})


_JSON_PATCH: Node = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
    },
}


def _path_parameter(name: str) -> Node:
    schema = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[a-zA-Z0-9-_.]+$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _answered(kind: Kind, schema: Node) -> Node:
    """What an answer's document looks like: what was written, without what is hidden, and its times."""
    if kind.bare:
        return {"type": "object"}
    if "anyOf" in schema:
        return {"anyOf": [_answered(kind, part) for part in schema["anyOf"]]}
    members = dict(schema.get("properties", {}))
    for name in kind.shapes["enterprise"].hidden:
        members.pop(name, None)
    members |= {"created_at": _TIME, "updated_at": _TIME}
    needed = ["created_at", "updated_at", kind.id_member or "id"]
    return {"type": "object", "properties": {"id": {"type": "string"}, **members}, "required": needed}


def _object(properties: Node, *required: str) -> Node:
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def _described(summary: str, parameters: Sequence[Node], body: Node | None, answer: Node | None) -> Node:
    made: Node = {"summary": summary, "parameters": list(parameters), "responses": dict(_responses(answer))}
    if summary.partition(":")[0] in ("Create", "Create or replace", "Patch", "Delete"):
        made["parameters"].append(_shared(_WAIT))
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


def _responses(answer: Node | None) -> Iterator[tuple[str, Node]]:
    content = {} if answer is None else {"content": {"application/json": {"schema": answer}}}
    yield "200", {"description": "Done", **content}
    for status in _STATUS:
        yield status, {"$ref": f"#/components/responses/{status}"}


def _refusal(words: str) -> Node:
    return {
        "description": words,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}},
    }


def _shared(parameter: Node) -> Node:
    return {"$ref": f"#/components/parameters/{parameter['name']}"}


def _operation(call: Operation) -> Node:
    parameters = [_path_parameter(name) for name in call.in_path]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in call.query.items()]
    if call.in_group:
        parameters.append(_shared(_GROUP))
    body = None if call.body is None else converted(call.body)
    answer: Schema = {"type": "object"} if call.answer is None else call.answer
    made = _described(call.summary, parameters, body, dict(answer))
    if call.open:
        made["security"] = []
    return made


_DIALECTS = {"enterprise": _enterprise, "apisix": openapi_apisix.document}


def text(dialect: str = "enterprise") -> str:
    """The document as it is shipped: one line a path and a schema, so that changes can be read."""
    whole = document(dialect)
    paths, components = whole.pop("paths"), whole.pop("components")
    schemas = components.pop("schemas")
    head, rest = _compact(whole)[:-1], _compact(components)[1:]
    lines = [head + ',"paths":{', *_lines(paths), '},"components":{"schemas":{', *_lines(schemas)]
    return "\n".join([*lines, "}," + rest + "}"]) + "\n"


def _lines(members: Node) -> Iterator[str]:
    last = len(members) - 1
    for index, (name, member) in enumerate(members.items()):
        yield f"{json.dumps(name)}:{_compact(member)}{',' if index < last else ''}"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    import sys

    sys.stdout.write(text(*sys.argv[1:2]))
