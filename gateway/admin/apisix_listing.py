"""Lists of the apisix dialect: which records, which page (Admin API contract §4.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from gateway.admin.calls import Query
from gateway.admin.refusals import Refusal

MIN_PAGE, MAX_PAGE = 10, 500
MAX_PATTERN = 256
"""Characters of a regular expression that a client may send; of a longer one nothing is found."""

View = Mapping[str, Any]

_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{0,9})?([eE][0-9])?")
_DANGEROUS = re.compile(r"[+*}]\)?[+*{]|\)[+*{]|\\[1-9]|\(\?")
"""What can make a search take for ever: repeated groups, references back."""


class BadPage(Refusal):
    """The page size cannot be used; its text is the whole answer, not JSON."""


def searcher(pattern: str) -> Callable[[str], bool]:
    """
    A regular expression, searched anywhere in a text; one that is none is looked for as it stands.

    Expressions whose search could take for ever are looked for as they stand, too.
    """
    if len(pattern) > MAX_PATTERN:
        return lambda text: False
    try:
        if _DANGEROUS.search(pattern):
            raise re.error("dangerous")
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return lambda text: pattern in text
    return lambda text: compiled.search(text) is not None


def _named(value: View, found: Callable[[str], bool]) -> bool:
    name = value.get("name")
    return isinstance(name, str) and found(name)


def _at_uri(value: View, found: Callable[[str], bool]) -> bool:
    uris = value.get("uris", ())
    return any(isinstance(uri, str) and found(uri) for uri in (value.get("uri"), *uris))


def _filter(text: str) -> Mapping[str, str]:
    known = ("service_id", "upstream_id")
    try:
        return {name: value for name, value in parse_qsl(text, max_num_fields=20) if name in known}
    except ValueError:
        return {}


def conditions(query: Query, kind: str) -> list[Callable[[View], bool]]:
    """The conditions that a value must all meet to be in a list of *kind*."""
    found: list[Callable[[View], bool]] = []
    name, label, uri = query.one("name"), query.one("label"), query.one("uri")
    if name is not None:
        by_name = searcher(name)
        found.append(lambda value: _named(value, by_name))
    if label is not None:
        found.append(lambda value: label in value.get("labels", {}))
    if uri is not None and kind == "route":
        by_uri = searcher(uri)
        found.append(lambda value: _at_uri(value, by_uri))
    if kind in ("route", "stream_route") and (text := query.one("filter")) is not None:
        for member, wanted in _filter(text).items():
            found.append(lambda value, m=member, w=wanted: str(value.get(m)) == w)  # type: ignore[misc]
    return found


def page(query: Query, items: Sequence[Any]) -> Sequence[Any]:
    """
    The part of a list that is wanted: everything, unless both parameters are numbers.

    Raises:
        BadPage: the size is out of bounds.
    """
    number, size = _number(query.one("page")), _number(query.one("page_size"))
    if number is None or size is None:
        return items
    if not MIN_PAGE <= size <= MAX_PAGE:
        raise BadPage(f"page_size must be between {MIN_PAGE} and {MAX_PAGE}")
    start = (max(number, 1) - 1) * size
    return items[start : start + size]


def _number(text: str | None) -> int | None:
    # Whatever is a number counts, as it does for those who wrote such clients: 1.0, 1e2.
    if text is None or not _NUMBER.fullmatch(text):
        return None
    return int(float(text))
