"""The access log's line of a request that was served in the same way before: most of it is known."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from gateway.core import reasons
from gateway.core.exchange import Exchange
from gateway.core.log_variables import log_reader
from gateway.telemetry.log_values import COMMON

_CHANGING = {
    "time_local": "%s",
    "time_iso8601": "%s",
    "status": "%d",
    "body_bytes_sent": "%d",
    "request_time": "%.3f",
    "upstream_status": "%d",
    "upstream_response_time": "%.3f",
    "apisix_request_id": "%s",
}
"""What is new in each line, and how it is written. None of it needs escapes."""
_TIMES = frozenset({"time_local", "time_iso8601"})


def _ordinary(exchange: Exchange) -> bool:
    """Whether the first node that was asked has answered, and that was passed on."""
    outcome = exchange.outcome
    return (
        len(exchange.attempts) == 1
        and outcome is not None
        and outcome.decided_by == "upstream"
        and outcome.reason is reasons.OK
    )


class KnownLine:
    """A format whose variables are such that the rest of a line follows from the request that was sent."""

    def __init__(self, frame: str, names: Sequence[str]) -> None:
        """
        Args:
            frame: The line, with ``%s`` where variables stand. names: Those, in order.
        """
        # It is filled in twice: what is known, and then the rest.
        self._frame = frame.replace("%%", "%%%%")
        self._equals = frame.count("=")
        self._new = [(place, _CHANGING[name]) for place, name in enumerate(names) if name in _CHANGING]
        self._time = log_reader("time_local" if "time_local" in names else "time_iso8601")
        places = list(_CHANGING)
        self._arrange = itemgetter(*[places.index(name) for name in names if name in _CHANGING])

    @classmethod
    def of(cls, frame: str, names: Sequence[str]) -> KnownLine | None:
        """None if a line of this format has something in it that has to be read each time."""
        changing = [name for name in names if name in _CHANGING]
        if len(changing) < 2 or not set(names) <= {*COMMON, *_CHANGING} or set(names) >= _TIMES:
            return None
        return cls(frame, names)

    def learn(self, sent: Any, exchange: Exchange, values: Sequence[str], text: str) -> None:
        """
        Remember a line.

        Args:
            sent: ``Exchange.sent``: what it is the line of.
            values: What stands in the line, in order; nothing of it needed escapes. text: The line.
        """
        # Arguments are masked by their names, and plugins may add to those.
        if text.count("=") != self._equals or not _ordinary(exchange):
            return
        known = [value.replace("%", "%%") for value in values] if "%" in text else list(values)
        for place, kind in self._new:
            known[place] = kind
        sent.line = self._frame % tuple(known)
        sent.line_of = self

    def write(self, sent: Any, exchange: Exchange, now_s: float) -> str | None:
        """The line of an exchange that ended at a Unix time in seconds; None if it is not known."""
        if sent.line_of is not self or not _ordinary(exchange):
            return None
        _, status, seconds, _ = exchange.attempts[0]
        took_s = now_s - exchange.started_s
        tell_time, arrange = self._time, self._arrange
        time = tell_time(exchange)
        text: str = sent.line % arrange(
            (
                time,
                time,
                exchange.outcome.status,  # type: ignore[union-attr]  # it has ended
                exchange.bytes_sent,
                took_s if took_s > 0.0 else 0.0,
                status,
                seconds,
                exchange.id,
            )
        )
        return text
