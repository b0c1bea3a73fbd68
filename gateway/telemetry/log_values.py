"""The values of a log line's variables: secrets masked, and those of most lines read together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Any

from gateway.core.exchange import Exchange
from gateway.core.log_variables import hidden_arguments, hide_arguments, log_reader, suspicion
from gateway.core.variables import spell

MAX_VALUE_CHARS = 8192
"""A longer value is cut and ends in ``...``."""


class Values:
    """The variables of a line, and how they are read."""

    def __init__(self, names: Sequence[str], hidden: frozenset[str], absent: str) -> None:
        """
        Args:
            hidden: Query arguments whose values are masked.
            absent: What stands for a value that is absent or empty.
        """
        self._absent = absent
        self._hidden = hidden
        self._readers = [log_reader(name, hidden) for name in names]
        self._timed = [index for index, name in enumerate(names) if name == "request_time"]
        places = {name: place for place, name in enumerate((*COMMON, "request_time"))}
        self._others = [read for name, read in zip(names, self._readers, strict=True) if name not in places]
        self._arrange: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None
        if sum(name in places for name in names) > _FEW:
            other = len(places)
            order = []
            for name in names:
                if name not in places:
                    order.append(other)
                    other += 1
                else:
                    order.append(places[name])
            self._arrange = itemgetter(*order)

    def quickly(self, exchange: Exchange, now_s: float) -> tuple[Any, ...] | None:
        """
        As ``of``, but as they are: some may be long, or no text. None if they have to be read one by one.
        """
        if self._arrange is None:
            return None
        absent = self._absent
        common = read_common(exchange, self._hidden, absent)
        if common is None:
            return None
        took = f"{max(0.0, now_s - exchange.started_s):.3f}"
        return self._arrange((*common, took, *[read(exchange) or absent for read in self._others]))

    def of(self, exchange: Exchange, now_s: float) -> list[str]:
        """Their values as text, at most ``MAX_VALUE_CHARS`` each."""
        absent = self._absent
        values: list[Any] = [read(exchange) or absent for read in self._readers]
        for index in self._timed:
            # The wall clock may have been set back meanwhile.
            values[index] = f"{max(0.0, now_s - exchange.started_s):.3f}"
        try:
            if len("".join(values)) <= MAX_VALUE_CHARS:
                return values
        except TypeError:
            pass  # One of them is a list.
        return [_cut(spell(value) or absent) for value in values]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."


COMMON = (
    "remote_addr",
    "remote_user",
    "http_host",
    "request",
    "status",
    "body_bytes_sent",
    "http_referer",
    "http_user_agent",
    "upstream_addr",
    "upstream_status",
    "upstream_response_time",
    "upstream_scheme",
    "upstream_host",
    "upstream_uri",
    "apisix_request_id",
    "outcome_by",
    "reason",
)
"""What ``read_common`` reads."""
_PASSED_ON = "pass"
_FEW = 5
"""A line with so few of them has them read one by one."""


def read_common(exchange: Exchange, hidden: frozenset[str], absent: str) -> tuple[str, ...] | None:
    """
    The variables ``COMMON`` of an ordinary exchange: what their own readers would say, for less.

    Args:
        absent: What stands for a value that is absent or empty.
    Returns:
        Their values in order. None if the exchange is not ordinary: no answer of an upstream's at the
        first try, a field given twice, ``User_Agent``, Basic credentials.
    """
    attempts, outcome, route = exchange.attempts, exchange.outcome, exchange.route
    if len(attempts) != 1 or outcome is None or route is None:
        return None
    compiled = exchange.upstream or route.upstream
    if compiled is None:
        return None
    upstream = compiled.upstream
    pairs = exchange.fields.pairs
    fields = dict(pairs)
    request = exchange.request
    field = fields.get
    if (
        len(fields) != len(pairs)
        or b"user_agent" in fields
        or field(b"authorization", b"")[:5].lower() == b"basic"
        or upstream.pass_host != _PASSED_ON
        or exchange.upstream_host is not None
        or request.version != (1, 1)
    ):
        return None
    node, status, seconds, _ = attempts[0]
    host = field(b"host", b"").decode("utf-8", "surrogateescape") or absent
    referer = field(b"referer", b"").decode("utf-8", "surrogateescape")
    agent = field(b"user-agent", b"").decode("utf-8", "surrogateescape")
    target = request.target.decode("utf-8", "surrogateescape")
    same = exchange.target is request.target
    sent = target if same else exchange.target.decode("utf-8", "surrogateescape")
    if "=" in target or "=" in sent or "=" in referer:
        names = hidden_arguments(exchange, hidden)
        suspicious = suspicion(names)
        if suspicious(target) or (not same and suspicious(sent)) or (referer and suspicious(referer)):
            target, sent, referer = [_hide_in_target(one, names) for one in (target, sent, referer)]
    return (
        exchange.client_ip,
        absent,
        host,
        f"{request.method.decode('utf-8', 'surrogateescape')} {target} HTTP/1.1",
        str(outcome.status or absent),
        str(exchange.bytes_sent),
        referer or absent,
        agent or absent,
        node,
        str(status),
        f"{seconds:.3f}",
        upstream.scheme,
        host,
        sent,
        exchange.id,
        outcome.decided_by,
        outcome.reason or absent,
    )


def _hide_in_target(target: str, names: Collection[str]) -> str:
    path, mark, query = target.partition("?")
    return f"{path}?{hide_arguments(query, names)}" if mark else target
