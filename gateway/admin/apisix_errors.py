"""Refusals in the words of the apisix dialect (Admin API contract §4.2, §4.8): one problem an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.admin.apisix_kinds import BY_NAME
from gateway.admin.calls import Answer
from gateway.admin.refusals import Invalid, NotAllowed, NotFound, Refusal, Stale, TooLarge
from gateway.core import schema_words
from gateway.model.problems import PathPart, Problem
from gateway.registry import PluginRegistry

KEY_NOT_FOUND: Mapping[str, str] = {"message": "Key not found"}

_RANKS = {
    word: rank
    for rank, word in enumerate(
        (
            *("type", "required", "dependencies", "properties", "patternProperties", "additionalProperties"),
            *("minProperties", "maxProperties", "minItems", "maxItems", "items", "uniqueItems"),
            *("minLength", "maxLength", "pattern", "format", "enum", "const"),
            *("allOf", "anyOf", "oneOf", "not", "if"),
        )
    )
}
_NAMED = frozenset({"properties", "patternProperties", "dependencies"})
_LAST = len(_RANKS)


def _order(problem: Problem) -> list[int]:
    """Where the check stands that finds it: what is told first comes first."""
    way = list(problem.schema_path)
    order = []
    while way:
        word = way.pop(0)
        order.append(_RANKS.get(str(word), _LAST))
        if word in _NAMED and way:
            way.pop(0)
        elif way and isinstance(way[0], int):
            order.append(int(way.pop(0)))
    return order


def first(problems: Sequence[Problem]) -> Problem:
    """
    The problem that is told.

    Two forms of one field come before the schema's problems, in the order of its keywords, and
    those before all others.
    """

    def place(problem: Problem) -> tuple[int, list[int]]:
        if problem.rule == "conflict":
            return 0, []
        return (1, _order(problem)) if problem.schema_path else (2, [])

    return min(problems, key=place)


class ApisixErrors:
    """Turns refusals into answers."""

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry

    def answer(self, refusal: Refusal) -> Answer:
        """The answer for *refusal*; 400 unless its kind says otherwise."""
        match refusal:
            case Invalid():
                return Answer(400, {"error_msg": self.text(refusal.kind, refusal.problems)})
            case NotFound(what="resource"):
                return Answer(404, KEY_NOT_FOUND)
            case NotFound():
                return Answer(404, {"error_msg": str(refusal)})
            case NotAllowed():
                return Answer(405, {"error_msg": str(refusal)}, {"Allow": ", ".join(refusal.allowed)})
            case Stale():
                return Answer(412, {"error_msg": str(refusal)})
            case TooLarge():
                text = (
                    f"invalid request body: request size {refusal.size} is greater than the maximum size "
                    f"{refusal.limit} allowed"
                )
                return Answer(400, {"error_msg": text})
        return Answer(400, {"error_msg": str(refusal)})

    def text(self, kind: str, problems: Sequence[Problem]) -> str:
        """Say what is wrong with a document of *kind*."""
        problem = first(problems)
        if problem.rule == "plugin" and problem.branches:
            inner = first(problem.branches[0])
            words = schema_words.text(inner, hidden=self._is_secret(kind, (*problem.path, *inner.path)))
            name = problem.expected
            return f"{problem.message}failed to check the configuration of plugin {name} err: {words}"
        if problem.schema_path:
            return "invalid configuration: " + self.schema_text(kind, problems)
        return problem.message

    def schema_text(self, kind: str, problems: Sequence[Problem]) -> str:
        """What the schema says about a document of *kind*, with nothing in front."""
        problem = first(problems)
        return schema_words.text(problem, hidden=self._is_secret(kind, problem.path))

    def _is_secret(self, kind: str, path: Sequence[PathPart]) -> bool:
        if path[:1] == ("plugins",) and len(path) > 2:
            name = str(path[1])
            secret = set(self._registry.secret_fields(name))
            if self._registry.is_auth(name):
                secret.add(str(self._registry.factory(name).key_field))
            return path[2] in secret
        known = BY_NAME.get(kind)
        return "client_key" in path or (known is not None and any(part in known.secrets for part in path))
