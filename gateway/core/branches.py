"""From what a schema checker found to what a person should hear: the alternative they meant.

A value that fits none of several alternatives fails in as many ways. The nearest alternative
is the one the writer most likely meant, so its problems are told instead of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.model.problems import Problem

_CHOICES = ("anyOf", "oneOf")
_DISCRIMINATORS = ("enum", "const", "not")


def _is_other_type(branch: Sequence[Problem], problem: Problem) -> bool:
    return any(inner.rule == "type" and inner.path == problem.path for inner in branch)


def required_only(problem: Problem) -> list[list[str]] | None:
    """The member names each alternative asks for, if that is all any of them found wrong."""
    if problem.rule not in _CHOICES or not problem.branches:
        return None
    if any(
        inner.rule != "required" or len(inner.path) != len(problem.path) + 1
        for b in problem.branches
        for inner in b
    ):
        return None
    return [[str(inner.expected) for inner in branch] for branch in problem.branches]


def wanted_types(problem: Problem) -> list[str] | None:
    """The types the alternatives ask for, if the value has none of them."""
    if problem.rule not in _CHOICES or not problem.branches:
        return None
    wanted: list[str] = []
    for branch in problem.branches:
        if not _is_other_type(branch, problem):
            return None
        for inner in branch:
            if inner.rule == "type" and inner.path == problem.path:
                names = inner.expected if isinstance(inner.expected, list) else [inner.expected]
                wanted.extend(str(name) for name in names if name not in wanted)
    return wanted


def _partly_there(problem: Problem) -> Sequence[Problem] | None:
    schemas = problem.expected if isinstance(problem.expected, list) else []
    if len(schemas) != len(problem.branches):
        return None
    pairs = sorted(zip(problem.branches, schemas, strict=True), key=lambda pair: len(pair[0]))
    (nearest, schema), *others = pairs
    wanted = schema.get("required", ()) if isinstance(schema, Mapping) else ()
    if len(wanted) > len(nearest) and all(len(branch) > len(nearest) for branch, _ in others):
        return nearest
    return None


def closest(problem: Problem) -> Sequence[Problem] | None:
    """
    The problems of the alternative nearest to what was written.

    Returns:
        None if there is no telling: no alternatives, none of the value's type, or they only
        differ in which members are required and none is partly there and nearer than the others.
    """
    if problem.rule not in _CHOICES:
        return None
    if required_only(problem) is not None:
        return _partly_there(problem)
    near = [branch for branch in problem.branches if not _is_other_type(branch, problem)]
    if not near:
        return None
    return min(near, key=lambda branch: sum(10 if p.rule in _DISCRIMINATORS else 1 for p in branch))


def expand(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Replace each choice by the problems of its nearest alternative; none is told twice."""
    seen: set[tuple[object, str]] = set()
    waiting = list(problems)[::-1]
    while waiting:
        problem = waiting.pop()
        nearest = closest(problem)
        if nearest is not None:
            waiting.extend(reversed(nearest))
            continue
        key = (problem.path, problem.rule)
        # Problems of our own share a rule and a path and still differ.
        if problem.schema_path and key in seen:
            continue
        seen.add(key)
        yield problem
