"""Expressions: conditions on a request, written as JSON arrays, compiled into one function.

    [["arg_v", "==", "2"], ["http_x", "~~", "^a"]]          both hold
    ["OR", ["arg_v", "==", "2"], ["arg_v", "!", "has", 3]]  one holds

Source: data-plane contract §4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gateway.core.addresses import AddressSet
from gateway.core.exchange import Exchange
from gateway.core.regexes import compile_regex
from gateway.core.variables import getter

Predicate = Callable[[Exchange], bool]
Test = Callable[[object], bool]

DEPTH_LIMIT = 32
"""How deep logical lists may be nested."""

Number = int | float

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_HEX = re.compile(r"([+-]?)0[xX]([0-9a-fA-F]{1,32})")


class ExpressionError(ValueError):
    """
    An expression that cannot be compiled. The text is one of the contract's:
    ``rule should be wrapped inside brackets``, ``rule too short``, ``bad 'not' expression``,
    ``invalid expression``, ``invalid operator '<op>'``, ``invalid ip address``; or, for a bad
    regular expression, ``invalid regular expression: <why>``.
    """


def compile_expression(raw: Sequence[object]) -> Predicate:
    """
    Compile an expression.

    Args:
        raw: An array of rules that must all hold, or one logical list (``AND``, ``OR``, ``!AND``,
            ``!OR`` and two or more operands); parsed JSON. An empty array always holds.
    Returns:
        A function that never waits, and raises nothing but ``MatchTimeout``. Operands are evaluated from
        left to right, and no more of them than needed.
    Raises:
        ExpressionError: see there.
    """
    if not isinstance(raw, list | tuple):
        raise ExpressionError("invalid expression")
    if not raw:
        return _always
    return _group(raw, 0)


def _always(exchange: Exchange) -> bool:
    return True


def _group(raw: Sequence[object], depth: int) -> Predicate:
    """An array of rules, or a logical list."""
    if depth > DEPTH_LIMIT:
        raise ExpressionError("invalid expression")
    operator = raw[0].upper() if isinstance(raw[0], str) else "AND"
    operands = raw
    if isinstance(raw[0], str):
        if operator not in ("AND", "OR", "!AND", "!OR"):
            raise ExpressionError("rule should be wrapped inside brackets")
        operands = raw[1:]
        if len(operands) < 2:
            raise ExpressionError("rule too short")
    parts = tuple([_operand(operand, depth) for operand in operands])
    if operator == "AND":
        return parts[0] if len(parts) == 1 else _all(parts)
    if operator == "OR":
        return _any(parts)
    whole = _all(parts) if operator == "!AND" else _any(parts)
    return lambda exchange: not whole(exchange)


def _all(parts: tuple[Predicate, ...]) -> Predicate:
    def holds(exchange: Exchange) -> bool:
        for part in parts:  # noqa: SIM110
            if not part(exchange):
                return False
        return True

    return holds


def _any(parts: tuple[Predicate, ...]) -> Predicate:
    def holds(exchange: Exchange) -> bool:
        for part in parts:  # noqa: SIM110
            if part(exchange):
                return True
        return False

    return holds


def _operand(raw: object, depth: int) -> Predicate:
    if not isinstance(raw, list | tuple):
        raise ExpressionError("rule should be wrapped inside brackets")
    if not raw:
        raise ExpressionError("rule too short")
    head = raw[0]
    if isinstance(head, list | tuple) or (isinstance(head, str) and head.upper() in _LOGICAL):
        return _group(raw, depth + 1)
    return _rule(raw)


_LOGICAL = frozenset({"AND", "OR", "!AND", "!OR"})


def _rule(raw: Sequence[object]) -> Predicate:
    """``[name, value]``, ``[name, operator, value]`` or ``[name, "!", operator, value]``."""
    if len(raw) < 2:
        raise ExpressionError("rule too short")
    if len(raw) > 4 or not isinstance(raw[0], str):
        raise ExpressionError("invalid expression")
    read = getter(raw[0])
    if len(raw) == 4:
        if raw[1] != "!":
            raise ExpressionError("bad 'not' expression")
        refused = _test(raw[2], raw[3])
        return lambda exchange: not refused(read(exchange))
    if len(raw) == 3 and raw[1] == "!":
        raise ExpressionError("bad 'not' expression")
    test = _equal(raw[1]) if len(raw) == 2 else _test(raw[1], raw[2])
    return lambda exchange: test(read(exchange))


def _test(operator: object, right: object) -> Test:
    if not isinstance(operator, str):
        if isinstance(operator, int | float) and not isinstance(operator, bool):
            raise ExpressionError(f"invalid operator '{operator}'")
        raise ExpressionError("invalid expression")
    make = _OPERATORS.get(operator.lower())
    if make is None:
        raise ExpressionError(f"invalid operator '{operator}'")
    return make(right)


# -- operators: each takes the right side and returns a test of the left


def to_number(value: object) -> Number | None:
    """
    Convert the way the operators do.

    Args:
        value: Numbers stay; text may be decimal or hexadecimal, with white space around it.
    Returns:
        None for everything else: booleans, lists, ``nan``, ``inf``, ``1_000``, the empty text.
    """
    if isinstance(value, str):
        text = value.strip(" \t\r\n\v\f")
        if _WHOLE.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            return float(text)
        found = _HEX.fullmatch(text)
        if found is None:
            return None
        number = int(found[2], 16)
        return -number if found[1] == "-" else number
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _same(left: object, right: object) -> bool:
    """Plain equality without conversion: in JSON ``true`` is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _equal(right: object) -> Test:
    if right is None:
        return lambda left: left is None
    if isinstance(right, int | float) and not isinstance(right, bool):
        number = right
        return lambda left: to_number(left) == number
    return lambda left: _same(left, right)


def _unequal(right: object) -> Test:
    equal = _equal(right)
    return lambda left: not equal(left)


def _never(left: object) -> bool:
    return False


def _ordered(compare: Callable[[Number, Number], bool]) -> Callable[[object], Test]:
    def make(right: object) -> Test:
        limit = to_number(right)
        if limit is None:
            return _never

        def test(left: object) -> bool:
            number = to_number(left)
            return number is not None and compare(number, limit)

        return test

    return make


def _searches(flags: int) -> Callable[[object], Test]:
    def make(right: object) -> Test:
        if not isinstance(right, str):
            raise ExpressionError("invalid regular expression: it must be text")
        try:
            search = compile_regex(right, flags).search
        except ValueError as error:
            raise ExpressionError(f"invalid regular expression: {error}") from None

        def test(left: object) -> bool:
            if isinstance(left, str):
                return search(left) is not None
            if isinstance(left, int | float) and not isinstance(left, bool):
                return search(str(left)) is not None
            return False

        return test

    return make


def _within(right: object) -> Test:
    if not isinstance(right, list | tuple):
        raise ExpressionError("invalid expression")
    texts = frozenset([member for member in right if isinstance(member, str)])
    others = tuple([member for member in right if not isinstance(member, str)])

    def test(left: object) -> bool:
        if isinstance(left, str):
            return left in texts
        return any(_same(left, member) for member in others)

    return test


def _has(right: object) -> Test:
    def test(left: object) -> bool:
        return isinstance(left, list | tuple) and any(_same(member, right) for member in left)

    return test


def _ip_match(right: object) -> Test:
    texts = [right] if isinstance(right, str) else right
    if not isinstance(texts, list | tuple) or not texts:
        raise ExpressionError("invalid ip address")
    try:
        addresses = AddressSet.parse(texts)
    except ValueError:
        raise ExpressionError("invalid ip address") from None
    return addresses.__contains__


_OPERATORS: dict[str, Callable[[object], Test]] = {
    "==": _equal,
    "~=": _unequal,
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    "~~": _searches(0),
    "~*": _searches(re.IGNORECASE),
    "in": _within,
    "has": _has,
    "ipmatch": _ip_match,
}
