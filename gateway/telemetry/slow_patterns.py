"""Tells the log which regular expressions take too long: each of them once in a while, not once a request."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from gateway.core.regex_limits import LIMIT, MatchTimeout

EVERY_S = 60.0
"""Seconds in which a pattern is told of once."""
MAX_KNOWN = 1000
"""Patterns that are remembered; with more, all are forgotten."""

_log = Logger()


class SlowPatterns:
    """What is told of patterns that were given up (``gateway.core.regex_limits.Limit.reached``)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """
        Args:
            monotonic: Seconds.
        """
        self._monotonic = monotonic
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def reached(self, timeout: MatchTimeout) -> None:
        """A search was given up."""
        key = (timeout.owner, timeout.pattern)
        now_s = self._monotonic()
        told_s, since = self._told.get(key, (-EVERY_S, 0))
        if now_s - told_s < EVERY_S:
            self._told[key] = (told_s, since + 1)
            return
        if len(self._told) >= MAX_KNOWN:
            self._told.clear()
        self._told[key] = (now_s, 0)
        _log.warn(
            "{owner}: a search for the regular expression {pattern} took more than {limit_ms} ms "
            "and was given up ({since} more since the last line like this)",
            owner=timeout.owner or "somewhere",
            pattern=timeout.pattern,
            limit_ms=round(LIMIT.seconds * 1000),
            since=since,
        )
