"""Arbitrary documents that fit a JSON Schema, for hypothesis: as much of draft 7 as plugins' schemas use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        "$uri",
        "$arg_a",
        "${http_x ?? d}",
        "$1",
        "/",
        "/a?b",
        "a b",
        "\r\nX: 1",
        "%0d%0a",
        "é",
        "(a+)",
        "a.example",
    ]
)
_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
_NUMBERS = st.sampled_from([0, 1, 2, 5, 60, 100, 200, 400, 500, 598, 1000, 65535])
_VARIABLES = st.sampled_from(["arg_a", "uri", "http_x", "status", "remote_addr", "nothing"])
_RULES = st.one_of(
    st.tuples(_VARIABLES, st.sampled_from(["==", "~=", ">", "<="]), st.integers(-5, 600) | TEXT),
    st.tuples(_VARIABLES, st.sampled_from(["~~", "~*"]), st.sampled_from(["^a", "[0-9]+", ""])),
    st.tuples(_VARIABLES, st.just("in"), st.lists(TEXT, max_size=3)),
    st.tuples(_VARIABLES, st.just("!"), st.just("has"), TEXT),
).map(list)
EXPRESSIONS = st.lists(_RULES, min_size=1, max_size=3)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=5,
)


def documents(schema: Mapping[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """
    Documents that fit *schema*, nearly always: what a keyword of another kind asks for may be missed.

    Args:
        name: Of the member. Those whose schema only says ``array`` are expressions, where they are called so.
    """
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(list(schema["enum"]))
    if "examples" in schema:
        # What most texts are not: an address, a URL, the name of a plugin.
        plain = {name: value for name, value in schema.items() if name != "examples"}
        return st.sampled_from(schema["examples"]) | documents(plain, name)
    kind = schema.get("type")
    branches = schema.get("oneOf") or schema.get("anyOf")
    if branches and kind != "object":
        return st.one_of(
            [
                documents({**{k: v for k, v in schema.items() if k not in ("oneOf", "anyOf")}, **one}, name)
                for one in branches
            ]
        )
    if isinstance(kind, list):
        return st.one_of([documents({**schema, "type": one}, name) for one in kind])
    match kind:
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "integer" | "number":
            return _numbers(schema)
        case "string":
            return _texts(schema)
        case "array":
            return _arrays(schema, name)
        case "object":
            return _objects(schema, branches)
    return _JSON


def _numbers(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -10))
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 100_000))
    fitting = st.integers(
        int(low) + ("exclusiveMinimum" in schema), int(high) - ("exclusiveMaximum" in schema)
    )
    return fitting | _NUMBERS.filter(lambda number: low < number < high)


def _texts(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 64)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], alphabet=st.characters(codec="ascii")).filter(
            lambda text: least <= len(text) <= most
        )
    if least > 8:
        return st.text("abcdefgh", min_size=least, max_size=max(least, min(most, least + 8)))
    return TEXT.filter(lambda text: least <= len(text) <= most)


def _arrays(schema: Mapping[str, Any], name: str) -> st.SearchStrategy[list[Any]]:
    items = schema.get("items")
    least, most = schema.get("minItems", 0), schema.get("maxItems", schema.get("minItems", 0) + 3)
    if items is None:
        return EXPRESSIONS if least <= 1 else st.lists(_JSON, min_size=least, max_size=most)
    if items == {"type": "array"} or (
        isinstance(items, Mapping) and items.get("type") == "array" and "items" not in items
    ):
        return st.lists(EXPRESSIONS, min_size=least, max_size=min(most, least + 3))
    if isinstance(items, list):
        return st.tuples(*(documents(one) for one in items)).map(list)
    unique = repr if schema.get("uniqueItems") else None
    return st.lists(documents(items, name), min_size=least, max_size=min(most, least + 3), unique_by=unique)


@st.composite
def _objects(
    draw: st.DrawFn, schema: Mapping[str, Any], branches: list[Mapping[str, Any]] | None
) -> dict[str, Any]:
    members: dict[str, Any] = dict(schema.get("properties", {}))
    required = set(schema.get("required", ()))
    left_out: set[str] = set()
    if branches:
        chosen = draw(st.integers(0, len(branches) - 1))
        branch = branches[chosen]
        if "type" in branch:
            made: dict[str, Any] = draw(documents(branch))
            return made
        required |= set(branch.get("required", ()))
        members.update(branch.get("properties", {}))
        if "oneOf" in schema:
            others = [one.get("required", ()) for index, one in enumerate(branches) if index != chosen]
            left_out = {name for names in others for name in names} - required
    document = {}
    for name, member in members.items():
        if name in required or (name not in left_out and draw(st.booleans())):
            document[name] = draw(documents(member, name) if isinstance(member, Mapping) else _JSON)
    for name in required - members.keys():
        document[name] = draw(_JSON)
    free = [*schema.get("patternProperties", {}).values()]
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        free.append(more)
    if free:
        least = max(0, schema.get("minProperties", 0) - len(document))
        names = draw(st.lists(_NAMES, min_size=least, max_size=least + 2, unique=True))
        document.update({name: draw(documents(free[0])) for name in names})
    elif not members and "properties" not in schema:
        document.update(draw(st.dictionaries(_NAMES, TEXT, max_size=3)))
    if not document and schema.get("minProperties") and members:
        name = draw(st.sampled_from(sorted(members)))
        document[name] = draw(documents(members[name], name))
    return document
