"""Refusals in the words of the enterprise dialect (Admin API contract §2.4, §2.7).

``error_msg`` tells every problem in one line. Beside it ``errors`` lists them for programs:
``pointer``, ``rule``, and where they help ``expected``, ``got`` and ``hint``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from gateway.admin import words_enterprise
from gateway.admin.calls import Answer
from gateway.admin.kinds import GATEWAY_GROUP, GROUPLESS, KINDS
from gateway.admin.refusals import (
    Denied,
    Invalid,
    NotAllowed,
    NotFound,
    Refusal,
    Stale,
    TooLarge,
    TooMany,
    Unauthorized,
    UnsupportedType,
)
from gateway.core import schema_words
from gateway.core.branches import expand
from gateway.model.problems import PathPart, Problem
from gateway.registry import PluginRegistry

MAX_TOLD = 50
_MAX_TEXT = 64
_PLAIN = frozenset(("reference", "duplicate", "plugin", "expression", "certificate"))
"""Rules whose message is the whole text: clients know it word for word."""

_ELSEWHERE = {
    "route": {
        "uri": 'use "paths"',
        "uris": 'use "paths"',
        "host": "hosts belong to the service",
        "hosts": "hosts belong to the service",
        "upstream": "the upstream belongs to the service",
        "upstream_id": "the upstream belongs to the service",
        "url": 'use "paths"',
        "path": 'use "paths"',
    },
    "service": {"upstream_id": 'put the upstream inline, as "upstream"', "host": 'use "hosts"'},
    "credential": {"username": "the consumer is named by the path"},
}

_STATUS: dict[type[Refusal], int] = {
    NotFound: 404,
    NotAllowed: 405,
    Stale: 412,
    TooLarge: 413,
    UnsupportedType: 415,
    Unauthorized: 401,
    Denied: 403,
    TooMany: 429,
}


class EnterpriseErrors:
    """Turns refusals into answers."""

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry

    def answer(self, refusal: Refusal) -> Answer:
        """The answer for *refusal*; 400 unless its kind says otherwise."""
        if isinstance(refusal, Invalid):
            return self._invalid(refusal)
        headers: dict[str, str] = {}
        if isinstance(refusal, NotAllowed):
            headers["Allow"] = ", ".join(refusal.allowed)
        elif isinstance(refusal, TooMany):
            headers["Retry-After"] = str(math.ceil(refusal.wait_s))
        return Answer(_STATUS.get(type(refusal), 400), {"error_msg": str(refusal)}, headers)

    def _invalid(self, refusal: Invalid) -> Answer:
        texts, errors = self._told(refusal.kind, refusal.problems)
        more = len(texts) - MAX_TOLD
        if more > 0:
            texts[MAX_TOLD:] = [f"and {more} more"]
        return Answer(400, {"error_msg": " | ".join(texts), "errors": errors[:MAX_TOLD]})

    def of_document(self, kind: str, problems: Sequence[Problem]) -> str:
        """The problems of one of many documents, in one line (Admin API contract §2.7)."""
        texts, _ = self._told(kind, problems)
        text = " | ".join(texts[:MAX_TOLD])
        return f"does not match schema due to: {text}" if text.startswith("Error at") else text

    def _told(self, kind: str, problems: Sequence[Problem]) -> tuple[list[str], list[dict[str, object]]]:
        texts: list[str] = []
        errors: list[dict[str, object]] = []
        for problem in expand(problems):
            if problem.rule == "plugin" and problem.branches:
                texts.extend(self._plugin_texts(kind, problem))
                # Paths inside branches are relative to the settings: first expand, then place.
                inner = [p.below(*problem.path) for p in expand(problem.branches[0])]
                errors.extend(self._entry(kind, p) for p in inner)
            else:
                plain = problem.rule in _PLAIN
                texts.append(problem.message if plain else words_enterprise.sentence(problem))
                errors.append(self._entry(kind, problem))
        return texts, errors

    def _plugin_texts(self, kind: str, problem: Problem) -> Iterator[str]:
        prefix = "invalid plugins configuration: " if kind in ("consumer", "credential") else ""
        name = problem.expected
        for inner in problem.branches[0]:
            hidden = self._is_secret(kind, (*problem.path, *inner.path))
            text = schema_words.text(inner, hidden=hidden)
            yield f"{prefix}failed to check the configuration of plugin {name} err: {text}"

    def _entry(self, kind: str, problem: Problem) -> dict[str, object]:
        entry: dict[str, object] = {"pointer": problem.pointer, "rule": problem.rule}
        expected = problem.expected
        if _is_short(expected) or (
            isinstance(expected, list) and 0 < len(expected) <= MAX_TOLD and all(map(_is_short, expected))
        ):
            entry["expected"] = expected
        if problem.rule in ("required", "additionalProperties"):
            pass
        elif _is_short(problem.got):
            if not self._is_secret(kind, problem.path):
                entry["got"] = problem.got
        elif isinstance(problem.got, str) and not self._is_secret(kind, problem.path):
            entry["got"] = problem.got[: _MAX_TEXT - 1] + "…"
        elif problem.rule == "type" and problem.got is not None:
            entry["got"] = "object" if isinstance(problem.got, dict) else "array"
        elif problem.rule == "type" and not self._is_secret(kind, problem.path):
            entry["got"] = None
        hint = _hint(kind, problem)
        if hint is not None:
            entry["hint"] = hint
        return entry

    def _is_secret(self, kind: str, path: Sequence[PathPart]) -> bool:
        """Whether the value at *path* must not be shown. Settings that nobody knows are not."""
        known = KINDS.get(kind) or GROUPLESS.get(kind, GATEWAY_GROUP)
        if path and path[0] == "plugins":
            if len(path) < 3:
                return True
            name = str(path[1])
            secret = set(self._registry.secret_fields(name))
            if self._registry.is_auth(name):
                secret.add(str(self._registry.factory(name).key_field))
            return name not in self._registry or path[2] in secret
        return any(part in known.secrets for part in path)


def _is_short(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    return isinstance(value, (bool, int, float))


def _hint(kind: str, problem: Problem) -> str | None:
    known = problem.expected if isinstance(problem.expected, list) else []
    if problem.rule == "additionalProperties" and isinstance(problem.got, str):
        name = problem.got
        elsewhere = _ELSEWHERE.get(kind, {}).get(name) if len(problem.path) == 1 else None
        if elsewhere is not None:
            return elsewhere
    elif problem.rule == "plugin" and len(problem.path) == 2 and known:
        name = str(problem.path[1])
    elif problem.rule == "enum" and isinstance(problem.got, str):
        # Letter case is what people get wrong most.
        same = [str(each) for each in known if str(each).lower() == problem.got.lower()]
        if same:
            return f'did you mean "{same[0]}"?'
        name = problem.got
    elif problem.rule in ("oneOf", "anyOf"):
        return words_enterprise.reason(problem)
    else:
        return None
    near = get_close_matches(name, map(str, known), 1, 0.6) if len(name) <= _MAX_TEXT else []
    return f'did you mean "{near[0]}"?' if near else None
