"""Fields on their way through: what stops here, and what the gateway says about the client.

Each function makes one pass over the field lines; what does not change from request to request is
computed beforehand. Two attacks are kept in mind:

* A client lists a field in ``Connection`` so that the gateway removes what a plugin, or the gateway
  itself, put there for the upstream. Only the client's own lines can be removed so, and none of those
  in ``_NEVER_NAMED``.
* A client writes ``X_Real_IP``, which CGI, WSGI and many frameworks cannot tell from ``X-Real-IP``.
  Every spelling of a field the gateway vouches for stops here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import product
from operator import itemgetter

from gateway.core.consumers import CONSUMER_FIELDS
from gateway.core.fields import Fields, Pair
from gateway.model.upstream import DEFAULT_PORTS, Node, Upstream

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields of one connection only (RFC 9110 section 7.6.1)."""

_OVERWRITABLE = frozenset({b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"})
"""The gateway's say about these is replaced by a plugin's (data-plane contract §9.1)."""


def _spellings(names: Iterable[bytes]) -> frozenset[bytes]:
    """*names*, each ``-`` in them also as ``_``."""
    found = set()
    for name in names:
        first, *rest = name.split(b"-")
        for glue in product((b"-", b"_"), repeat=len(rest)):
            found.add(first + b"".join(mark + part for mark, part in zip(glue, rest, strict=True)))
    return frozenset(found)


_DROPPED_FROM_REQUESTS = _spellings(
    HOP_BY_HOP
    | _OVERWRITABLE
    | {
        b"host",
        # Framing follows from the content, as the client code sends it.
        b"content-length",
        # Expect: 100-continue is answered by the gateway (data-plane contract §10).
        b"expect",
        b"forwarded",
        # Credentials for a proxy. Relaying them is for proxies that authenticate together (RFC 9110 section
        # 11.7.2); an upstream is none.
        b"proxy-authorization",
        # CGI turns it into HTTP_PROXY, which programs take for their own settings.
        b"proxy",
        b"x-real-ip",
        b"x-forwarded-for",
    }
)
_TELLING = _OVERWRITABLE | {b"connection", b"forwarded", b"x-forwarded-for"}
"""Of those: what may say something about the others, or is passed on in another form."""
_DROPPED_FROM_RESPONSES = HOP_BY_HOP | {
    b"content-length",
    b"server",
    # For the next client only (RFC 9110 sections 11.7.1 and 11.7.3).
    b"proxy-authenticate",
    b"proxy-authentication-info",
}
_NEVER_NAMED = frozenset(CONSUMER_FIELDS) | {b"authorization", b"cookie", b"cache-control"}
"""
A client cannot have these removed by naming them in Connection. The gateway and its plugins have
acted on them, and what follows must see the same; Cache-Control is RFC 9110's own example of a field
that is never an option of a connection (section 7.6.1). The gateway's Host, ``X-Real-IP`` and
``X-Forwarded-*`` are not among the lines that can be removed to begin with.
"""
_NOTHING_SAID = frozenset({b"", b"keep-alive", b"Keep-Alive", b"close"})
"""Values of dropped fields that need no second look: nearly every Connection field."""
_CONSUMER_FIELDS = _spellings(CONSUMER_FIELDS)
_name_of = itemgetter(0)


def strip_consumer_fields(fields: Fields, watched: bytes | None = None) -> bool:
    """
    Drop what only the gateway may say about who sends a request, however it is spelt.

    To be called on what a client sent, before any plugin runs.

    Args:
        watched: A field to look out for on the way: this is the one pass over every request's fields.
    Returns:
        Whether *watched* is among them.
    Source:
        jwt-auth contract §6.
    """
    names = _CONSUMER_FIELDS if watched is None else _and_consumer_fields(watched)
    pairs = fields.pairs
    if names.isdisjoint(map(_name_of, pairs)):
        return False
    kept = [pair for pair in pairs if pair[0] not in _CONSUMER_FIELDS]
    if len(kept) != len(pairs):
        fields.pairs = kept
    return any(name == watched for name, _ in kept)


@lru_cache(8)
def _and_consumer_fields(name: bytes) -> frozenset[bytes]:
    return _CONSUMER_FIELDS | {name}


def _named(pairs: Sequence[Pair]) -> set[bytes]:
    """The names listed in Connection fields, lower-cased."""
    found: set[bytes] = set()
    for name, value in pairs:
        if name == b"connection":
            found.update([option.strip().lower() for option in value.split(b",")])
    return found


def request_fields(
    fields: Fields,
    *,
    host: bytes,
    client_host: bytes,
    client_ip: bytes,
    scheme: bytes,
    port: bytes,
    trusted: bool | None,
    received: Sequence[Pair] | None = None,
) -> list[Pair]:
    """
    The field lines to send to an upstream.

    Args:
        fields: The request's, as plugins left them; not changed.
        host: The Host to send (``upstream_host_value``). client_host: The Host the client sent, letter
            case and port included.
        client_ip: The client's address as text.
        scheme, port: ``http`` or ``https``, and ``port_of``: of the client's connection.
        trusted: Whether the peer's own forwarding fields are believed; None if nobody said which
            peers are (then its ``X-Forwarded-For`` is kept and the others are replaced).
        received: ``RequestHead.fields`` of this request: which lines are the client's. All others
            are a plugin's: Connection does not remove them, and of ``X-Forwarded-Proto``, ``-Host``
            and ``-Port`` they are what is sent. None: all lines count as the client's.
    Returns:
        Names and values in order, ``host`` first; without content-length and transfer-encoding.
    Source:
        Data-plane contract §9.1; RFC 9110 section 7.6.1.
    """
    pairs = fields.pairs
    dropped = _DROPPED_FROM_REQUESTS
    kept = [pair for pair in pairs if pair[0] not in dropped]
    if _TELLING.isdisjoint(map(_name_of, pairs)) or not (special := _special(pairs)):
        return [(b"host", host), *kept, *_about_usual(client_ip, scheme, client_host, port)]
    forwarded_for, proto, forwarded_host, forwarded_port = client_ip, scheme, client_host, port
    forwarded = b""
    # A line is the client's if it is the very object that arrived: an equal one may be a plugin's.
    own = None if received is None else frozenset(map(id, received))
    chain: list[bytes] = []
    said: dict[bytes, bytes] = {}
    for pair in special:
        name, value = pair
        if name == b"connection":
            if named := _named(pairs).difference(dropped, _NEVER_NAMED):
                kept = [
                    one for one in kept if one[0] not in named or (own is not None and id(one) not in own)
                ]
            continue
        by_plugin = own is not None and id(pair) not in own
        if name == b"x-forwarded-for":
            if by_plugin or trusted is not False:
                chain.append(value)
        elif by_plugin and name in _OVERWRITABLE:
            said[name] = value
        elif trusted and name == b"forwarded":
            forwarded = b"%b, %b" % (forwarded, value) if forwarded else value
        elif trusted:
            said.setdefault(name, value)
    if chain:
        forwarded_for = b"%b, %b" % (b", ".join(chain), client_ip)
    if said:
        proto = said.get(b"x-forwarded-proto", proto)
        forwarded_host = said.get(b"x-forwarded-host", forwarded_host)
        forwarded_port = said.get(b"x-forwarded-port", forwarded_port)
    sent = [(b"host", host), *kept]
    sent += _about_client(client_ip, forwarded_for, proto, forwarded_host, forwarded_port)
    if forwarded:
        sent.append((b"forwarded", forwarded))
    return sent


def speaks_for_itself(fields: Fields) -> bool:
    """
    Whether ``request_fields`` depends on nothing but names and values: not on whether a line is the
    client's own or a plugin's.
    """
    return not _special(fields.pairs)


def _special(pairs: Iterable[Pair]) -> list[Pair]:
    """What is not dropped without a second look."""
    return [pair for pair in pairs if pair[0] in _TELLING and pair[1] not in _NOTHING_SAID]


def _about_client(
    client_ip: bytes, forwarded_for: bytes, proto: bytes, host: bytes, port: bytes
) -> tuple[Pair, ...]:
    """What the upstream is told of the client."""
    return (
        (b"x-real-ip", client_ip),
        (b"x-forwarded-for", forwarded_for),
        (b"x-forwarded-proto", proto),
        (b"x-forwarded-host", host),
        (b"x-forwarded-port", port),
    )


@lru_cache(maxsize=1024)
def _about_usual(client_ip: bytes, proto: bytes, host: bytes, port: bytes) -> tuple[Pair, ...]:
    """The same for a client that speaks for itself: remembered, for its next requests."""
    return _about_client(client_ip, client_ip, proto, host, port)


@lru_cache(maxsize=1024)
def port_of(host: bytes, listener_port: int) -> bytes:
    """The port in a Host field, else the listener's (data-plane contract §9.1)."""
    _, colon, port = host.rpartition(b":")
    return port if colon and port.isdigit() else b"%d" % listener_port


class ResponseKind(IntEnum):
    """What a field of a response is to a proxy."""

    PASSED_ON = 0
    DROPPED = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4


_RESPONSE_KINDS = {
    **dict.fromkeys(_DROPPED_FROM_RESPONSES, int(ResponseKind.DROPPED)),
    b"content-length": int(ResponseKind.CONTENT_LENGTH),
    b"transfer-encoding": int(ResponseKind.TRANSFER_ENCODING),
    b"connection": int(ResponseKind.CONNECTION),
}


def response_kind(name: bytes) -> int:
    """
    The kind of the field *name*, in lower case.

    Hop-by-hop fields, ``Server`` (the gateway has its own) and ``X-Accel-*`` (orders to another proxy)
    are dropped.

    Source:
        Data-plane contract §9.2; RFC 9110 section 7.6.1.
    """
    return _RESPONSE_KINDS.get(name, int(name.startswith(b"x-accel-")))


def response_fields(lines: Sequence[tuple[Pair, int]]) -> tuple[list[Pair], int | None]:
    """
    The field lines to send to the client, and the content's length if the upstream told it.

    Those named in Connection stop here, too.

    Args:
        lines: As received, names in lower case, each with its ``response_kind``; framing checked: a
            content-length is a number.
    """
    length: int | None = None
    named: set[bytes] | None = None
    for (_, value), kind in lines:
        if kind == 2:
            length = int(value)
        elif kind == 4 and value not in _NOTHING_SAID:
            named = (named or set()) | {option.strip().lower() for option in value.split(b",")}
    kept = [pair for pair, kind in lines if not kind]
    if named:
        kept = [pair for pair in kept if pair[0] not in named]
    return kept, length


def node_host(node: Node, scheme: str) -> bytes:
    """The Host for ``pass_host: node``: the node's name, and its port where that is not the scheme's own."""
    host = f"[{node.host}]" if ":" in node.host else node.host
    if node.port != DEFAULT_PORTS.get(scheme):
        host = f"{host}:{node.port}"
    # Names are ASCII by the schema; what is not is no name, but must not end in an exception here.
    return host.encode("ascii", "backslashreplace")


def upstream_host_value(
    upstream: Upstream, node: Node, *, client_host: bytes, override: bytes | None = None
) -> bytes:
    """
    The Host to send to *node*; with TLS also the name to ask for.

    Args:
        client_host: The client's Host, verbatim; empty if it sent none (then the node's is sent).
        override: ``Exchange.upstream_host``: what a plugin put in the place of the client's. It
            counts under ``pass``; ``node`` and ``rewrite`` say what they want to be sent.
    Source:
        Data-plane contract §7.
    """
    mode = upstream.pass_host
    if mode == "rewrite" and upstream.upstream_host:
        return upstream.upstream_host.encode("ascii", "backslashreplace")
    if mode == "node":
        return node_host(node, upstream.scheme)
    return override or client_host or node_host(node, upstream.scheme)
