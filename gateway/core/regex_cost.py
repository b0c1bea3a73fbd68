"""How long a search may take: an upper bound on the steps of Python's ``re``, from the pattern alone.

``re`` tries one way through a pattern after another, and has no limit of its own. Of each part two numbers
are known for a text of *n* characters: in how many ways it can match at one place, and the steps to find
them all. Parts in a row multiply the ways; so does a repeat, once for each time it goes round, and where
that has no end neither has the search. A repeat before a delimiter that it cannot match itself
(``[a-z]+\\.``) has one way alone.
"""

from __future__ import annotations

import math
import re

# Not public, but the same since Python 3.11. What is not known here counts as endless.
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Cost = tuple[float, float]
"""In how many ways a part matches at one place, and the steps to find them all."""

BUDGET = 500_000.0
"""Steps that a search may take without a limit: some 10 ms."""
LINEAR = 50.0
"""Steps for each character of a text that may have any length."""
_SIZES = tuple(2**power for power in range(16, 3, -1))
_LARGE = 2**20

_DELIMITERS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~")
_WORDS = frozenset({ops.CATEGORY_DIGIT, ops.CATEGORY_WORD, ops.CATEGORY_SPACE})
"""Kinds of characters that have no delimiter among them."""
_GROUP, _ROUND = 4.0, 10.0
"""Steps to enter and leave a group, and to go round a repeat of more than one character."""
_ENDLESS: Cost = (math.inf, math.inf)
_LEAVES = frozenset({ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN, ops.AT, ops.CATEGORY, ops.FAILURE})
_REPEATS = frozenset({ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT})


def safe_length(pattern: str, flags: int = 0) -> int | None:
    """
    The longest text that a pattern may be searched in without a limit of time.

    Args:
        pattern: One that ``re`` accepts. flags: Of ``re``.
    Returns:
        Characters, 0 for none at all; None: any text, the search takes time in proportion to its length.
    """
    tree = parser.parse(pattern, flags)
    anchored = _anchored(tree, bool(tree.state.flags & re.MULTILINE))

    def steps(n: int) -> float:
        each = _sequence(tree, n)[1]
        return n + each if anchored else n * each

    if steps(_LARGE) <= _LARGE * LINEAR:
        return None
    return next((n for n in _SIZES if steps(n) <= BUDGET), 0)


def _anchored(items: Any, multiline: bool) -> bool:
    """Whether a search fails at once wherever the text does not begin."""
    if not len(items):
        return False
    op, argument = items[0]
    if op is ops.AT:
        return argument is ops.AT_BEGINNING_STRING or (argument is ops.AT_BEGINNING and not multiline)
    if op is ops.SUBPATTERN:
        _, added, _, inner = argument
        return _anchored(inner, multiline or bool(added & re.MULTILINE))
    return op is ops.BRANCH and all(_anchored(one, multiline) for one in argument[1])


def _sequence(items: Any, n: int, after: str = "") -> Cost:
    """What parts in a row cost; *after* is the delimiter behind them, if there is one."""
    ways, steps = 1.0, 0.0
    for place, (op, argument) in enumerate(items):
        behind = after if place + 1 == len(items) else _delimiter(*items[place + 1])
        more, each = _cost(op, argument, n, behind)
        steps += ways * each
        ways *= more
    return ways, steps


def _delimiter(op: Any, argument: Any) -> str:
    """The character, if a part is one that is no letter, digit or space: none that has a letter case."""
    character = chr(argument) if op is ops.LITERAL else ""
    return character if character in _DELIMITERS else ""


def _can_match(op: Any, argument: Any, character: str) -> bool:
    """Whether a part for one character can match a delimiter."""
    if op is ops.LITERAL:
        return bool(argument == ord(character))
    if op is ops.IN:
        negated = argument[0][0] is ops.NEGATE
        return negated != any(_can_match(kind, what, character) for kind, what in argument[negated:])
    if op is ops.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    if op is ops.CATEGORY:
        return argument not in _WORDS
    return not (op is ops.NOT_LITERAL and argument == ord(character))


def _cost(op: Any, argument: Any, n: int, after: str) -> Cost:
    if op in _LEAVES:
        return 1.0, 1.0
    if op is ops.GROUPREF:
        return 1.0, float(n)
    if op is ops.SUBPATTERN:
        ways, steps = _sequence(argument[-1], n, after)
        return ways, steps + _GROUP * ways
    if op is ops.BRANCH:
        parts = [_sequence(one, n) for one in argument[1]]
        return sum(ways for ways, _ in parts), sum(1.0 + steps for _, steps in parts)
    if op is ops.GROUPREF_EXISTS:
        parts = [_sequence(one or (), n) for one in argument[1:]]
        return max(ways for ways, _ in parts), 1.0 + sum(steps for _, steps in parts)
    if op in (ops.ASSERT, ops.ASSERT_NOT):
        return 1.0, _GROUP + _sequence(argument[1], n)[1]
    if op is ops.ATOMIC_GROUP:
        return 1.0, _GROUP + _sequence(argument, n)[1]
    if op in _REPEATS:
        least, most, body = argument
        return _repeat(op, least, most, body, n, after)
    return _ENDLESS


def _repeat(op: Any, least: Any, most: Any, body: Any, n: int, after: str) -> Cost:
    width = body.getwidth()[0]
    rounds = int(min(most, n // width if width else max(least, n)))
    counts = max(1.0, rounds - int(least) + 1.0)
    if len(body) == 1 and body[0][0] in _LEAVES:
        single, what = body[0]
        if after and not _can_match(single, what, after):
            return 1.0, 2.0 * rounds + 1.0
        return 1.0 if op is ops.POSSESSIVE_REPEAT else counts, rounds + 1.0
    ways, steps = _sequence(body, n)
    steps += _ROUND
    if op is ops.POSSESSIVE_REPEAT:
        return 1.0, (rounds + 1.0) * steps
    if ways <= 1.0:
        return counts, (rounds + 1.0) * steps
    if math.log(ways) * (rounds + 1) > 100:
        return _ENDLESS
    # Each round multiplies: 1 + ways + ways² + …
    total = (ways ** (rounds + 1) - 1) / (ways - 1)
    return total, total * steps
