"""The values of a log line's variables: secrets masked, and those of most lines read together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter, itemgetter
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.core.auth import REDACTED_ARGS
from gateway.core.exchange import Exchange
from gateway.core.variables import Getter, getter, spell

DEFAULT_REDACTED_ARGS = frozenset({"jwt", "apikey", "access_token"})
"""
Query arguments whose values are hidden in every request, also in those that ended before the plugin
that knows better has run: the defaults of jwt-auth and key-auth, and RFC 6750 section 2.3.
"""
MASK = "***"
"""What is written for a value that is not to be seen."""

MAX_VALUE_CHARS = 8192
"""A longer value is cut and ends in ``...``."""

BARE_QUERIES = frozenset({"args", "query_string"})
REQUEST_LINES = frozenset({"request", "request_line"})
TARGETS = frozenset({"request_uri", "real_request_uri", "upstream_uri", "http_referer"})
_AUTHORIZATIONS = frozenset({"http_authorization", "http_proxy_authorization"})
_SECRETS = frozenset({"http_cookie", "http_apikey", "cookie_jwt", "cookie_apikey"})


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
        self._readers = [reader(name, hidden) for name in names]
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
        names = _hidden(exchange, hidden)
        target, sent, referer = [_hide_in_target(one, names) for one in (target, sent, referer)]
    return (
        exchange.connection.client_ip,
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
    return f"{path}?{_hide(query, names)}" if mark else target


def text_bytes(value: str) -> bytes:
    """The bytes a variable's value was made of."""
    try:
        # Bytes of a request that are no UTF-8 are lone surrogates in the text made of them.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


# -- variables: those of the core, what only a log has, and what must not be seen


def reader(name: str, hidden: frozenset[str]) -> Getter:
    """What reads the variable *name* for a log: as ``gateway.core.variables.getter``, secrets masked."""
    own = OWN.get(name)
    if own is not None:
        return own
    read = getter(name)
    if name in _ONCE_A_SECOND:
        return _once_a_second(read)
    if name in _SECRETS:
        return _masked(read)
    if name in _AUTHORIZATIONS:
        return _scheme_only(read)
    if name in BARE_QUERIES or name in REQUEST_LINES or name in TARGETS:
        return _without_secrets(name, read, hidden)
    if name.startswith("arg_"):
        return _argument(name.removeprefix("arg_"), read, hidden)
    return read


def _masked(read: Getter) -> Getter:
    return lambda exchange: MASK if read(exchange) else None


def _scheme_only(read: Getter) -> Getter:
    def masked(exchange: Exchange) -> object:
        value = read(exchange)
        if not isinstance(value, str) or not value:
            return None
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {MASK}" if space else MASK

    return masked


def _hidden(exchange: Exchange, always: frozenset[str]) -> Collection[str]:
    more = exchange.context.get(REDACTED_ARGS)
    return always.union(more) if more else always


def _argument(name: str, read: Getter, hidden: frozenset[str]) -> Getter:
    def masked(exchange: Exchange) -> object:
        value = read(exchange)
        return MASK if value and name in _hidden(exchange, hidden) else value

    return masked


def _without_secrets(name: str, read: Getter, hidden: frozenset[str]) -> Getter:
    bare, request_line = name in BARE_QUERIES, name in REQUEST_LINES

    def masked(exchange: Exchange) -> object:
        value = read(exchange)
        if not isinstance(value, str) or "=" not in value:
            return value
        if bare:
            return _hide(value, _hidden(exchange, hidden))
        path, mark, rest = value.partition("?")
        if not mark:
            return value
        query, space, protocol = rest.rpartition(" ") if request_line else (rest, "", "")
        return f"{path}?{_hide(query, _hidden(exchange, hidden))}{space}{protocol}"

    return masked


def _hide(query: str, names: Collection[str]) -> str:
    """*query* with the values of the arguments *names* masked; the others stay byte for byte."""
    arguments = query.split("&")
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if value and (name in names or (("%" in name or "+" in name) and _decoded(name) in names)):
            arguments[index] = f"{name}{equals}{MASK}"
    return "&".join(arguments)


def _decoded(name: str) -> str:
    """As plugins read it: an escape may be any part of a character."""
    return unquote_to_bytes(text_bytes(name).replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _outcome(member: str) -> Getter:
    read = attrgetter(member)
    return lambda exchange: None if exchange.outcome is None else read(exchange.outcome)


def _once_a_second(read: Getter) -> Getter:
    """Local time costs as much as half the line: written anew for each second only."""
    last: int | None = None
    text: object = None

    def remembered(exchange: Exchange) -> object:
        nonlocal last, text
        second = int(exchange.started_s)
        if second != last:
            last, text = second, read(exchange)
        return text

    return remembered


_ONCE_A_SECOND = frozenset({"time_local", "time_iso8601"})
OWN: dict[str, Getter] = {
    "outcome_by": _outcome("decided_by"),
    "reason": _outcome("reason"),
    "reason_detail": _outcome("detail"),
    "detail": _outcome("detail"),
    # Filled in by _values, which is told when the request ended.
    "request_time": lambda exchange: None,
}
