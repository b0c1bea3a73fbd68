"""Variables as logs may show them: those of the core, what only a log has, and credentials masked.

Credentials are not written: see ``DEFAULT_REDACTED_ARGS`` and ``MASKED_FIELDS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.core.auth import REDACTED_ARGS
from gateway.core.exchange import Exchange
from gateway.core.fields import Pair
from gateway.core.variables import Getter, getter

DEFAULT_REDACTED_ARGS = frozenset({"jwt", "apikey", "access_token"})
"""
Query arguments whose values are hidden in every request, also in those that ended before the plugin
that knows better has run: the defaults of jwt-auth and key-auth, and RFC 6750 section 2.3.
"""
MASK = "***"
"""What is written for a value that is not to be seen."""

BARE_QUERIES = frozenset({"args", "query_string"})
REQUEST_LINES = frozenset({"request", "request_line"})
TARGETS = frozenset({"request_uri", "real_request_uri", "upstream_uri", "http_referer"})
_AUTHORIZATIONS = frozenset({"http_authorization", "http_proxy_authorization"})
_SECRETS = frozenset({"http_cookie", "http_apikey", "cookie_jwt", "cookie_apikey", "sent_http_set_cookie"})


def text_bytes(value: str) -> bytes:
    """The bytes of a variable's text."""
    try:
        # Bytes of a request that are no UTF-8 are lone surrogates in the text made of them.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def log_reader(name: str, hidden: frozenset[str] = DEFAULT_REDACTED_ARGS) -> Getter:
    """
    What reads the variable *name* for a log: as ``gateway.core.variables.getter``, credentials masked.

    Args:
        hidden: Names of query arguments to hide besides those in the exchange's context.
    """
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


MASKED_FIELDS = frozenset({b"cookie", b"set-cookie", b"apikey"})
"""Fields whose values are not written."""
_SCHEMES = frozenset({b"authorization", b"proxy-authorization"})


def shown_fields(pairs: Iterable[Pair]) -> dict[str, Any]:
    """A message's fields for a log: name to value, or to the list of values; credentials masked."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in MASKED_FIELDS:
            text = MASK
        else:
            text = value.decode("utf-8", "replace")
            if name in _SCHEMES:
                scheme, space, _ = text.partition(" ")
                text = f"{scheme} {MASK}" if space else MASK
        key = name.decode("latin-1")
        known = found.get(key)
        if known is None:
            found[key] = text
        elif isinstance(known, list):
            known.append(text)
        else:
            found[key] = [known, text]
    return found


def shown_arguments(exchange: Exchange) -> dict[str, Any]:
    """The query's arguments for a log: name to value, or to the list of values; credentials masked."""
    hidden = hidden_arguments(exchange, DEFAULT_REDACTED_ARGS)
    found: dict[str, Any] = {}
    for name, value in exchange.args():
        text = MASK if value and name in hidden else value
        known = found.get(name)
        if known is None:
            found[name] = text
        elif isinstance(known, list):
            known.append(text)
        else:
            found[name] = [known, text]
    return found


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


def hidden_arguments(exchange: Exchange, always: frozenset[str]) -> frozenset[str]:
    """Names of the query arguments whose values this exchange hides: *always* and what plugins asked for."""
    more = exchange.context.get(REDACTED_ARGS)
    return always.union(more) if more else always


def _argument(name: str, read: Getter, hidden: frozenset[str]) -> Getter:
    def masked(exchange: Exchange) -> object:
        value = read(exchange)
        return MASK if value and name in hidden_arguments(exchange, hidden) else value

    return masked


def _without_secrets(name: str, read: Getter, hidden: frozenset[str]) -> Getter:
    bare, request_line = name in BARE_QUERIES, name in REQUEST_LINES

    def masked(exchange: Exchange) -> object:
        value = read(exchange)
        if not isinstance(value, str) or "=" not in value:
            return value
        if bare:
            return hide_arguments(value, hidden_arguments(exchange, hidden))
        path, mark, rest = value.partition("?")
        if not mark:
            return value
        query, space, protocol = rest.rpartition(" ") if request_line else (rest, "", "")
        return f"{path}?{hide_arguments(query, hidden_arguments(exchange, hidden))}{space}{protocol}"

    return masked


def hide_arguments(query: str, names: Collection[str]) -> str:
    """*query* with the values of the arguments *names* masked; the others stay byte for byte."""
    arguments = query.split("&")
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if value and (name in names or (("%" in name or "+" in name) and _decoded(name) in names)):
            arguments[index] = f"{name}{equals}{MASK}"
    return "&".join(arguments)


@lru_cache(64)
def suspicion(names: frozenset[str]) -> Callable[[str], object]:
    """
    A first look at a query: what is called with one and returns None has nothing in it that
    ``hide_arguments`` would mask.
    """
    return re.compile("|".join(["[%+]", *[re.escape(name) for name in sorted(names)]])).search


def _decoded(name: str) -> str:
    """As plugins read it: an escape may be any part of a character."""
    return unquote_to_bytes(text_bytes(name).replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _outcome(member: str) -> Getter:
    return lambda exchange: None if exchange.outcome is None else getattr(exchange.outcome, member)


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
    # Filled in by whoever knows when the request ended.
    "request_time": lambda exchange: None,
}
