"""Regular expressions in the words users write them in: PCRE's, compiled by Python's ``re``.

``compile_regex`` spells what the two write differently, and sees to it that no search takes too long;
``Replacement`` is the text that takes the place of a match, with ``$1`` for what a group has caught.
"""

from __future__ import annotations

import re

from attrs import field, frozen

from gateway.core.regex_limits import Regex, limited

PATTERN_LIMIT = 4096
"""The longest regular expression, in characters."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "space": r"\s",
    "word": r"\w",
    "xdigit": "0-9a-fA-F",
    "punct": r"!-/:-@\[-`{-~",
}
_DIALECT = re.compile(r"\\(?P<escape>.)|\(\?<(?P<name>[A-Za-z_]\w*)>|\[:(?P<kind>\w+):\]", re.DOTALL)
_ESCAPES = {"z": r"\Z", "Z": r"(?=\n?\Z)"}


def python_dialect(pattern: str) -> str:
    """Spell what PCRE and Python write differently the Python way."""

    def respell(found: re.Match[str]) -> str:
        if found["name"]:
            return f"(?P<{found['name']}>"
        if found["kind"]:
            return _CLASSES.get(found["kind"], found[0])
        return _ESCAPES.get(found["escape"], found[0])

    return _DIALECT.sub(respell, pattern)


def compile_regex(pattern: str, flags: int = 0) -> Regex:
    """
    Compile a regular expression.

    Args:
        pattern: In PCRE's dialect. flags: Of ``re``.
    Returns:
        A pattern of ``re`` if searches can only take time in proportion to the text's length; else one
        whose searches raise ``MatchTimeout`` when they take too long.
    Raises:
        ValueError: it is none, or longer than ``PATTERN_LIMIT``; the text says why.
    """
    if len(pattern) > PATTERN_LIMIT:
        raise ValueError(f"longer than {PATTERN_LIMIT} characters")
    try:
        return limited(pattern, python_dialect(pattern), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None


_OPTIONS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_IDLE_OPTIONS = frozenset("jodDJUua")
"""Letters that say how to compile, or for what text; they do not change what matches here."""


def regex_flags(options: str) -> int:
    """
    The flags of option letters such as ``joi``.

    Raises:
        ValueError: a letter has no meaning.
    """
    flags = 0
    for letter in options:
        if letter not in _OPTIONS and letter not in _IDLE_OPTIONS:
            raise ValueError(f'unknown option "{letter}"')
        flags |= _OPTIONS.get(letter, 0)
    return flags


_GROUP = re.compile(r"\$(?:(?P<bare>[0-9]{1,3})|\{(?P<braced>[0-9]{1,3})\}|(?P<dollar>\$))")


@frozen
class Replacement:
    """
    The text that takes the place of a match. ``$1`` and ``${1}`` are what a group has caught, ``$0`` the
    whole match, ``$$`` a dollar sign; a group that does not exist, or took no part, is nothing.
    """

    text: str
    _pieces: tuple[str | int, ...] = field(init=False, repr=False)

    @_pieces.default
    def _parse(self) -> tuple[str | int, ...]:
        pieces: list[str | int] = []
        end = 0
        for found in _GROUP.finditer(self.text):
            pieces.append(self.text[end : found.start()])
            end = found.end()
            pieces.append("$" if found["dollar"] else int(found["bare"] or found["braced"]))
        pieces.append(self.text[end:])
        return tuple([piece for piece in pieces if piece != ""])

    def __call__(self, match: re.Match[str]) -> str:
        """The text for one match."""
        groups = captures(match)
        parts = []
        for piece in self._pieces:
            if isinstance(piece, str):
                parts.append(piece)
            elif piece < len(groups):
                parts.append(groups[piece])
        return "".join(parts)

    def substitute(self, match: re.Match[str]) -> str:
        """The subject of *match* with the match replaced."""
        return match.string[: match.start()] + self(match) + match.string[match.end() :]


def captures(match: re.Match[str]) -> tuple[str, ...]:
    """What each group has caught, the whole match first; nothing for a group that took no part."""
    return (match[0], *[text or "" for text in match.groups()])
