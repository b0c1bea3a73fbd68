"""A regular expression whose search would take years, and a limit that is soon reached."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.regex_limits import LIMIT, MatchTimeout

PATTERN = "(a|aa)+$"
TEXT = "a" * 80 + "!"


def short_limit(case: SynchronousTestCase) -> list[MatchTimeout]:
    """
    Have searches given up after 10 ms, until *case* ends.

    Returns:
        What is told of them.
    """
    told: list[MatchTimeout] = []
    case.patch(LIMIT, "seconds", 0.01)
    case.patch(LIMIT, "reached", told.append)
    return told
