"""Whole configurations as they come over the wire: JSON, or YAML that could have been JSON."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

from gateway.admin.calls import Call
from gateway.admin.json_text import BadJSON, read_json, write_json
from gateway.admin.refusals import BadBody
from gateway.model.schema import Document

MAX_NODES = 1_000_000
"""Values in one YAML text, each counted as often as an alias repeats it."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _JSONLoader(_Loader):  # type: ignore[misc]
    """Reads what JSON could say: no dates, and no member twice."""

    yaml_implicit_resolvers: ClassVar[Any] = {
        first: [(tag, regex) for tag, regex in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "duplicate member", node.start_mark)
        return mapping


def _read_yaml(raw: bytes) -> Any:
    try:
        value = yaml.load(raw, _JSONLoader)  # noqa: S506 - a safe loader, made stricter
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" at line {mark.line + 1} column {mark.column + 1}"
        raise BadJSON(f"{getattr(error, 'problem', None) or 'not YAML'}{where}") from None
    except (RecursionError, ValueError, OverflowError):
        raise BadJSON("not YAML that could be JSON") from None
    if value is None:
        raise BadJSON("empty request body")
    _check_size(value)
    try:
        return read_json(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        text = str(error) if isinstance(error, BadJSON) else "it holds what JSON cannot say"
        raise BadJSON(text) from None


def _check_size(value: Any) -> None:
    # Aliases make few bytes stand for any number of values, or for a circle of them.
    waiting, seen = [value], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        if seen + len(waiting) > MAX_NODES:
            raise BadJSON(f"more than {MAX_NODES} values")


def is_yaml(type: str | None) -> bool:
    """Whether a content type is one of YAML."""
    return type is not None and "yaml" in type.partition(";")[0].lower()


def read_configuration(call: Call) -> Document:
    """
    The content of a call: an object, in JSON or, if its type says so, in YAML.

    Raises:
        BadBody: it is neither.
    """
    raw = call.read()
    try:
        value = _read_yaml(raw) if is_yaml(call.headers("content-type")) else read_json(raw)
    except BadJSON as error:
        raise BadBody(f"invalid request body: {error}") from None
    if not isinstance(value, dict):
        raise BadBody("invalid request body: an object is needed")
    return value


def write_configuration(call: Call, document: Document) -> tuple[bytes, str]:
    """The text of *document* in the form that a call accepts, and its content type."""
    if is_yaml(call.headers("accept")):
        text: str = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
        return text.encode(), "application/yaml"
    return write_json(document), "application/json"
