"""Path patterns: how a route's path is read, and what a request's path has to look like to fit.

    /a/b         exact: that path only
    /a*          prefix: the text before ``*``, then anything
    /a/*rest     the same, and what ``*`` stood for is the parameter ``rest``
    /a/:id/b     ``:id`` is one whole segment, a parameter
    /a/:id.json  what follows the name is text that must follow in the path
    /a/*/b       ``*`` stands for any text, slashes and nothing included

A name is letters, digits, ``_`` and ``-``. A ``:`` that does not start a segment, or that no
name follows, is an ordinary character (data-plane contract §3.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from attrs import frozen

NO_PARAMS: Mapping[str, str] = MappingProxyType({})
"""The parameters of a pattern that has none."""

_SPECIAL = re.compile(
    r"(?P<param>(?<=/):(?P<segment>[A-Za-z0-9_-]+))"
    r"|(?P<star>\*(?:(?<=/\*)(?P<rest>[A-Za-z0-9_-]+)(?=/|\Z))?)"
)


class Kind(Enum):
    """How a pattern is compared; the first two need no look at the path once it is found."""

    EXACT = "exact"
    PREFIX = "prefix"
    SEGMENTS = "segments"
    TEXT = "text"


@frozen
class Shape:
    """
    Which segments after a pattern's literal text are fixed.

    Patterns of one literal text and one shape lie in one dict, by their fixed segments.

    Attributes:
        count: How many segments a path must have there; at least as many if *open*.
        open: Whether the last may go on over more segments.
        fixed: Indexes of the segments whose text is given.
    """

    count: int
    open: bool
    fixed: tuple[int, ...]


@frozen(eq=False)
class Pattern:
    """
    A path pattern, compiled. ``parse`` makes them.

    Attributes:
        text: As configured.
        literal: What stands before its first parameter or ``*``: the path starts with it.
        names: Its parameters, in order; None for a ``*`` without a name.
        shape: Set for ``SEGMENTS``. key: the text of the shape's fixed segments.
    """

    text: str
    kind: Kind
    literal: str
    names: tuple[str | None, ...] = ()
    shape: Shape | None = None
    key: tuple[str, ...] = ()
    _splits: int = 0
    _open: bool = False
    _fixed: tuple[tuple[int, str], ...] = ()
    _wanted: tuple[tuple[int, str], ...] = ()
    _rest: str | None = None
    _regex: re.Pattern[str] | None = None

    def params(self, path: str) -> Mapping[str, str] | None:
        """
        Compare with a normalised path.

        Returns:
            The values of its parameters; None if *path* does not fit.
        """
        if self.kind is Kind.EXACT:
            return NO_PARAMS if path == self.literal else None
        if not path.startswith(self.literal):
            return None
        if self.kind is Kind.PREFIX:
            name = self.names[0]
            return NO_PARAMS if name is None else {name: path[len(self.literal) :]}
        if self.kind is Kind.SEGMENTS:
            return self._by_segment(path)
        assert self._regex is not None
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        return {name: value for name, value in zip(self.names, found.groups(), strict=True) if name}

    def _by_segment(self, path: str) -> Mapping[str, str] | None:
        parts = path[len(self.literal) :].split("/", self._splits)
        if len(parts) != self._splits + self._open:
            return None
        for index, want in self._fixed:
            if parts[index] != want:
                return None
        values: dict[str, str] = {}
        for index, name in self._wanted:
            if not parts[index]:
                return None
            values[name] = parts[index]
        if self._rest is not None:
            values[self._rest] = parts[-1]
        return values


@lru_cache(maxsize=1024)
def parse(text: str) -> Pattern:
    """
    Read a path pattern. Every text is one; nothing is refused.

    Args:
        text: With the service's prefix in front; decoded, as paths are matched decoded.
    """
    specials = list(_SPECIAL.finditer(text))
    if not specials:
        return Pattern(text, Kind.EXACT, text)
    first = specials[0]
    literal = text[: first.start()]
    names = tuple(found["segment"] or found["rest"] for found in specials)
    if first["star"] and first.end() == len(text):
        return Pattern(text, Kind.PREFIX, literal, names)
    if first["param"]:
        segments = _segments(text[first.start() :])
        if segments is not None:
            return _by_segments(text, literal, names, segments, specials[-1]["star"] is not None)
    return Pattern(text, Kind.TEXT, literal, names, regex=re.compile(_expression(text, specials), re.DOTALL))


def _by_segments(
    text: str, literal: str, names: tuple[str | None, ...], segments: tuple[str | None, ...], opened: bool
) -> Pattern:
    fixed = tuple((index, part) for index, part in enumerate(segments) if part is not None)
    unfixed = [index for index, part in enumerate(segments) if part is None]
    named = list(zip(unfixed, names, strict=True))
    rest = named.pop()[1] if opened else None
    count = len(segments)
    return Pattern(
        text,
        Kind.SEGMENTS,
        literal,
        names,
        Shape(count, opened, tuple(index for index, _ in fixed)),
        tuple(part for _, part in fixed),
        splits=count - 1 if opened else count,
        # A path of too many segments splits into one part more.
        open=opened,
        fixed=fixed,
        wanted=tuple((index, name) for index, name in named if name is not None),
        rest=rest,
    )


_WHOLE_PARAM = re.compile(r":[A-Za-z0-9_-]+")
_WHOLE_STAR = re.compile(r"\*[A-Za-z0-9_-]*")


def _segments(text: str) -> tuple[str | None, ...] | None:
    """The segments of *text*, None for a parameter; None if some are neither text nor one parameter."""
    parts = text.split("/")
    read: list[str | None] = []
    for index, part in enumerate(parts):
        if _WHOLE_PARAM.fullmatch(part) or (index == len(parts) - 1 and _WHOLE_STAR.fullmatch(part)):
            read.append(None)
        elif "*" in part or re.match(_WHOLE_PARAM, part):
            return None
        else:
            read.append(part)
    return tuple(read)


def _expression(text: str, specials: list[re.Match[str]]) -> str:
    """
    The regular expression of a pattern that mixes ``*`` with other text.

    What stands between two ``*`` is taken at the first place where it fits, for good (an atomic
    group): no later choice could fit more, and the time stays proportional to the path's
    length, whatever a client sends.
    """
    chunks = [""]
    stars = 0
    end = 0
    for found in specials:
        chunks[-1] += re.escape(text[end : found.start()])
        end = found.end()
        if found["star"]:
            stars += 1
            chunks.append("")
        else:
            # Without more text in its segment a parameter is the whole segment.
            chunks[-1] += "([^/]++)" if text[end : end + 1] in ("", "/", "*") else "([^/]+?)"
    chunks[-1] += re.escape(text[end:])
    if not stars:
        return chunks[0]
    inner = "".join(f"(?>(.*?){chunk})" for chunk in chunks[1:-1])
    return f"(?>{chunks[0]}){inner}(.*){chunks[-1]}"
