"""Fields on their way through: what stops here, and what the gateway says about the client.

Each function makes one pass over the field lines; what does not change from request to request is
computed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.consumers import CONSUMER_FIELDS
from gateway.core.fields import Fields, Pair
from gateway.model.upstream import DEFAULT_PORTS, Node

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

_DROPPED_FROM_REQUESTS = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"forwarded",
    b"proxy-authorization",
    b"x-real-ip",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
}
_DROPPED_FROM_RESPONSES = HOP_BY_HOP | {b"content-length", b"server", b"proxy-authenticate"}
_NEVER_NAMED = frozenset(CONSUMER_FIELDS) | {b"authorization", b"cookie"}
"""A client cannot have these removed by naming them in Connection: plugins put them there, or read them."""

_CONSUMER_FIELDS = frozenset(CONSUMER_FIELDS)


def strip_consumer_fields(fields: Fields) -> None:
    """Drop what only the gateway may say about who sends a request (jwt-auth contract §6)."""
    if any(pair[0] in _CONSUMER_FIELDS for pair in fields.pairs):
        fields.pairs = [pair for pair in fields.pairs if pair[0] not in _CONSUMER_FIELDS]


def _named(pairs: Sequence[Pair]) -> frozenset[bytes]:
    """The names listed in Connection fields, lower-cased."""
    found: set[bytes] = set()
    for name, value in pairs:
        if name == b"connection":
            found.update(option.strip().lower() for option in value.split(b","))
    return frozenset(found)


def request_fields(
    fields: Fields,
    *,
    host: bytes,
    client_host: bytes,
    client_ip: bytes,
    scheme: bytes,
    port: bytes,
    trusted: bool | None,
) -> list[Pair]:
    """
    The field lines to send to an upstream.

    Args:
        fields: The request's, as plugins left them.
        host: The Host to send. client_host: the Host the client sent.
        client_ip: The client's address as text. scheme, port: Of the client's connection.
        trusted: Whether the peer's own forwarding fields are believed; None if nobody said which
            peers are (then its ``X-Forwarded-For`` is kept and the others are replaced).
    Returns:
        Names and values in order, without content-length and transfer-encoding.
    Source:
        Data-plane contract §9.1; RFC 9110 section 7.6.1.
    """
    pairs = fields.pairs
    named: frozenset[bytes] = frozenset()
    chain: list[bytes] = []
    believed: dict[bytes, bytes] = {}
    sent: list[Pair] = [(b"host", host)]
    for pair in pairs:
        name = pair[0]
        if name not in _DROPPED_FROM_REQUESTS:
            sent.append(pair)
        elif name == b"x-forwarded-for":
            chain.append(pair[1])
        elif name == b"connection":
            named = _named(pairs)
        elif trusted and pair[1]:
            believed.setdefault(name, pair[1])
    if named:
        named -= _NEVER_NAMED
        sent = [sent[0], *(pair for pair in sent[1:] if pair[0] not in named)]
    if trusted is False:
        chain = []
    chain = [value for value in chain if value]
    chain.append(client_ip)
    sent.append((b"x-real-ip", client_ip))
    sent.append((b"x-forwarded-for", b", ".join(chain)))
    sent.append((b"x-forwarded-proto", believed.get(b"x-forwarded-proto", scheme)))
    sent.append((b"x-forwarded-host", believed.get(b"x-forwarded-host", client_host)))
    sent.append((b"x-forwarded-port", believed.get(b"x-forwarded-port", port)))
    forwarded = believed.get(b"forwarded")
    if forwarded is not None:
        sent.append((b"forwarded", forwarded))
    return sent


def port_of(host: bytes, listener_port: int) -> bytes:
    """The port in a Host field, else the listener's (data-plane contract §9.1)."""
    _, colon, port = host.rpartition(b":")
    return port if colon and port.isdigit() else b"%d" % listener_port


def response_fields(pairs: Sequence[Pair]) -> tuple[list[Pair], int | None]:
    """
    The field lines to send to the client, and the content's length if the upstream told it.

    Hop-by-hop fields, those named in Connection, ``Server`` (the gateway has its own) and
    ``X-Accel-*`` (orders to another proxy) stop here.

    Source:
        Data-plane contract §9.2.
    """
    length: int | None = None
    named: frozenset[bytes] = frozenset()
    kept: list[Pair] = []
    for pair in pairs:
        name = pair[0]
        if name not in _DROPPED_FROM_RESPONSES:
            if not name.startswith(b"x-accel-"):
                kept.append(pair)
        elif name == b"content-length":
            length = int(pair[1])
        elif name == b"connection":
            named = _named(pairs)
    if named:
        kept = [pair for pair in kept if pair[0] not in named]
    return kept, length


def node_host(node: Node, scheme: str) -> bytes:
    """The Host for ``pass_host: node``: the node's name, and its port where that is not the scheme's own."""
    host = f"[{node.host}]" if ":" in node.host else node.host
    # Node hosts are ASCII by their schema.
    return (host if node.port == DEFAULT_PORTS.get(scheme) else f"{host}:{node.port}").encode()
