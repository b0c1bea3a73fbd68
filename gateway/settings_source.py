"""Where settings come from: an ini file, and environment variables that override it.

Texts only; what they mean is ``gateway.settings``.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from attrs import define, field, frozen

PREFIX = "GATEWAY_"

_ORCHESTRATOR = re.compile(
    r".*_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|(.*_)?PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?"
)
"""Names that container platforms set by themselves for a service that is called ``gateway…``."""


@frozen
class Given:
    """
    A key's text.

    Attributes:
        variable: The environment variable it came from; empty if it came from the file.
    """

    text: str = field(repr=False)
    variable: str = ""

    @property
    def origin(self) -> str:
        """What a problem's line ends in."""
        return f" (from the environment variable {self.variable})" if self.variable else ""


@define
class Sources:
    """
    All texts given, and what is wrong with where they stand.

    Attributes:
        given: ``(section, key)`` → text. Only known keys.
        problems: One line each.
    """

    given: dict[tuple[str, str], Given] = field(factory=dict)
    problems: list[str] = field(factory=list)


def variable_of(section: str, key: str) -> str:
    """The environment variable that overrides a key."""
    return f"{PREFIX}{section}_{key}".upper()


def read_mapping(values: Mapping[str, Mapping[str, str]], known: Mapping[str, Collection[str]]) -> Sources:
    """
    Take texts from *values*: section → key → text.

    Args:
        known: Section → its keys.
    """
    sources = Sources()
    for section, keys in values.items():
        if section not in known:
            sources.problems.append(f"[{section}]: no such section{_hint(section, known)}")
            continue
        for key, text in keys.items():
            if key in known[section]:
                sources.given[section, key] = Given(text.strip())
            else:
                sources.problems.append(f"[{section}] {key}: no such key{_key_hint(section, key, known)}")
    return sources


def read_file(path: Path, known: Mapping[str, Collection[str]]) -> Sources:
    """
    Read an ini file: ``[section]``, ``key = value``, comments after ``#`` or ``;``.

    Values are taken as they are: nothing is interpolated. A value may go on in indented lines.
    A file that cannot be read is a problem like any other.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Sources(problems=[f"{path}: no such file; give another with --config"])
    except UnicodeDecodeError as error:
        return Sources(problems=[f"{path}: is not UTF-8 text (byte {error.start})"])
    except OSError as error:
        return Sources(problems=[f"{path}: cannot be read: {error.strerror or error}"])
    parser, problems = _parse(text, path)
    values = {section: dict(parser.items(section)) for section in parser.sections()}
    sources = read_mapping(values, known)
    sources.problems[:0] = problems
    return sources


def _parse(text: str, path: Path) -> tuple[configparser.RawConfigParser, list[str]]:
    problems = []
    try:
        parser = _parser(strict=True)
        parser.read_string(text)
        return parser, []
    except configparser.DuplicateOptionError as error:
        problems.append(f"[{error.section}] {error.option}: is given twice ({path}, line {error.lineno})")
    except configparser.DuplicateSectionError as error:
        problems.append(f"[{error.section}]: is there twice ({path}, line {error.lineno})")
    except configparser.Error:
        pass  # the second pass says it
    parser = _parser(strict=False)
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        problems.append(f"{path}, line {error.lineno}: stands before the first [section]")
    except configparser.ParsingError as error:
        # The line itself is not repeated: it may hold a secret.
        problems.extend(f"{path}, line {number}: is not 'key = value'" for number, _ in error.errors)
    return parser, problems


def _parser(*, strict: bool) -> configparser.RawConfigParser:
    return configparser.RawConfigParser(
        strict=strict,
        delimiters=("=",),
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=("#", ";"),
        default_section="\0",  # no section is special
        empty_lines_in_values=False,
    )


def read_environment(environ: Mapping[str, str], known: Mapping[str, Collection[str]]) -> Sources:
    """
    Take every ``GATEWAY_<SECTION>_<KEY>`` of *environ*.

    A name of a known section with no such key is a problem. Other names with the prefix are
    left alone unless they look like a slip: they may be somebody else's.
    """
    sources = Sources()
    by_variable = {variable_of(section, key): (section, key) for section, key in _pairs(known)}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        if variable in by_variable:
            sources.given[by_variable[variable]] = Given(environ[variable].strip(), variable)
            continue
        rest = variable.removeprefix(PREFIX)
        if _ORCHESTRATOR.fullmatch(rest):
            continue
        close = get_close_matches(variable, by_variable, n=1, cutoff=0.8)
        section, _, key = rest.lower().partition("_")
        if section in known and key:
            hint = f"; did you mean {close[0]}?" if close else ""
            sources.problems.append(f"[{section}] {key}: no such key{hint}{Given('', variable).origin}")
        elif close:
            sources.problems.append(f"{variable}: no such setting; did you mean {close[0]}?")
    return sources


def _pairs(known: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str]]:
    for section, keys in known.items():
        for key in keys:
            yield section, key


def _hint(word: str, among: Collection[str]) -> str:
    close = get_close_matches(word, among, n=1)
    return f"; did you mean [{close[0]}]?" if close else f"; there are {', '.join(among)}"


def _key_hint(section: str, key: str, known: Mapping[str, Collection[str]]) -> str:
    close = get_close_matches(key, known[section], n=1)
    if close:
        return f"; did you mean {close[0]}?"
    elsewhere = [other for other, keys in known.items() if key in keys]
    return f"; it belongs in [{elsewhere[0]}]" if elsewhere else ""
