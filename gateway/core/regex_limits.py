"""Patterns whose search may take long, with a limit of time.

``re`` has none: one request with a text that suits ``(a+)+$`` would hold the whole process. Where
``gateway.core.regex_cost`` cannot rule that out for a text, the library ``regex`` searches instead, which
understands what ``re`` does and looks at the clock. It takes a few microseconds longer to begin.

A few things it takes differently: ``\\w`` includes combining marks, ``\\s`` none of U+001C to U+001F, and
an i without regard to case is not the Turkish one without a dot.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import regex
from attrs import define, field

from gateway.core.regex_cost import safe_length

LENGTH_STEP = 1_048_576
"""The limit is for a text of fewer characters, and once more for each further so many."""


class MatchTimeout(Exception):
    """
    A search was given up: nobody knows whether the pattern matches.

    Attributes:
        pattern: As it was written. owner: Where; empty if that is not known.
    """

    def __init__(self, pattern: str, owner: str) -> None:
        super().__init__(f"{owner or 'somewhere'}: the regular expression {pattern} took too long")
        self.pattern = pattern
        self.owner = owner


def _nobody(timeout: MatchTimeout) -> None:
    """Nobody listens."""


@define
class Limit:
    """
    What holds for all patterns of this process, those that are compiled already too.

    Attributes:
        seconds: CPU time of one search.
        reached: Told of each search that was given up; it must not raise.
    """

    seconds: float = 0.05
    reached: Callable[[MatchTimeout], None] = _nobody


LIMIT = Limit()

_owner: ContextVar[str] = ContextVar("owner", default="")


@contextmanager
def compiling_for(owner: str) -> Iterator[None]:
    """Patterns that are compiled meanwhile stand in the settings of *owner*: ``plugin acl of route/1``."""
    token = _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(token)


_left: ContextVar[list[float] | None] = ContextVar("left", default=None)
_QUICK_S = 0.0001
"""Searches that take less than this are not counted where several share one limit."""


@contextmanager
def sharing_limit(length: int = 0) -> Iterator[None]:
    """
    Have all searches meanwhile take no longer than one: for texts of which a client can send many.

    Args:
        length: Characters of the texts together.
    """
    token = _left.set([_allowed(length)])
    try:
        yield
    finally:
        _left.reset(token)


def _allowed(length: int) -> float:
    return LIMIT.seconds * (1 + length // LENGTH_STEP)


@define(eq=False)
class LimitedPattern:
    """
    As a ``re.Pattern``, but in texts of more than ``safe`` characters a search is given up in time.

    Every search may raise ``MatchTimeout``.
    """

    pattern: str
    owner: str
    safe: int
    _quick: re.Pattern[str] = field(repr=False)
    _careful: Any = field(default=None, repr=False)

    @property
    def groups(self) -> int:
        """As ``re.Pattern.groups``."""
        return self._quick.groups

    def search(self, text: str) -> re.Match[str] | None:
        """As ``re.Pattern.search``."""
        if len(text) <= self.safe:
            return self._quick.search(text)
        found: re.Match[str] | None = self._in_time(text, self.careful.search, text)
        return found

    def split(self, text: str) -> list[str | Any]:
        """As ``re.Pattern.split``."""
        if len(text) <= self.safe:
            return self._quick.split(text)
        parts: list[str | Any] = self._in_time(text, self.careful.split, text)
        return parts

    def sub(self, replacement: Callable[[re.Match[str]], str], text: str, count: int = 0) -> str:
        """As ``re.Pattern.sub``."""
        if len(text) <= self.safe:
            return self._quick.sub(replacement, text, count)
        made: str = self._in_time(text, self.careful.sub, replacement, text, count)
        return made

    @property
    def careful(self) -> Any:
        """The same as a ``regex.Pattern``: made when needed, for that takes longer than most searches."""
        if self._careful is None:
            spelt = _REGEX_DIALECT.sub(_as_text, self._quick.pattern)
            self._careful = regex.compile(spelt, _regex_flags(self._quick.flags))
        return self._careful

    def _in_time(self, text: str, call: Callable[..., Any], *args: Any) -> Any:
        left = _left.get()
        try:
            if left is None:
                return call(*args, timeout=_allowed(len(text)))
            started_s = time.thread_time()
            result = call(*args, timeout=max(left[0], _QUICK_S))
            took_s = time.thread_time() - started_s
            if took_s > _QUICK_S:
                left[0] -= took_s
            return result
        except TimeoutError:
            timeout = MatchTimeout(self.pattern, self.owner)
            LIMIT.reached(timeout)
            raise timeout from None


Regex = re.Pattern[str] | LimitedPattern


def limited(written: str, pattern: str, flags: int) -> Regex:
    """
    Compile a pattern, with a limit if it needs one.

    Args:
        written: As its user wrote it. pattern: As ``re`` reads it. flags: Of ``re``.
    Raises:
        re.error, OverflowError, RecursionError: it is none.
    """
    quick = re.compile(pattern, flags)
    safe = _safe_length(pattern, flags)
    if safe is None:
        return quick
    compiled = LimitedPattern(written, _owner.get(), safe, quick)
    if not safe:
        try:
            compiled.careful  # noqa: B018 - whoever writes it hears what is wrong
        except regex.error as error:
            raise re.error(str(error)) from None
    return compiled


_safe_length = lru_cache(1024)(safe_length)

# What is text to ``re`` and something else to ``regex``: a brace that begins no count (how many mistakes
# a match may have), and a class of POSIX that does not exist.
_REGEX_DIALECT = re.compile(r"\\N\{[^}]*\}|\\.|\{(?!\d*,?\d*\})|\[:", re.DOTALL)


def _as_text(found: re.Match[str]) -> str:
    return {"{": r"\{", "[:": r"[\:"}.get(found[0], found[0])


def _regex_flags(flags: int) -> int:
    """The flags of ``regex`` that mean the same; ASCII has another number there."""
    ascii_only = regex.ASCII if flags & re.ASCII else 0
    return int(regex.VERSION0 | ascii_only | (flags & ~re.ASCII))
