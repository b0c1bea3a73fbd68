"""The first steps of every request, live or explained: make the exchange, find the route."""

from __future__ import annotations

from gateway.core.exchange import Connection, Exchange, RequestHead
from gateway.core.fields import Fields
from gateway.core.forwarded import strip_consumer_fields
from gateway.core.paths import strip_prefix
from gateway.core.real_ip import RealIp
from gateway.core.recurring import HeadMemory
from gateway.core.snapshot import Snapshot


def open_exchange(
    head: RequestHead,
    connection: Connection,
    snapshot: Snapshot,
    *,
    path: str,
    host: str,
    started_s: float,
    id: str,
    real_ip: RealIp | None = None,
    memory: HeadMemory | None = None,
) -> Exchange:
    """
    Make the exchange of a request that has just arrived.

    Args:
        path: The normalised path. host: The Host without its port, in lower case.
        started_s: Unix time in seconds.
        real_ip: Whose word about the client's address is taken; None: nobody's.
        memory: Of a head that came before.
    """
    fields = Fields(head.fields)
    told = False
    if memory is None or memory.without is not real_ip:
        told = strip_consumer_fields(fields, None if real_ip is None else real_ip.field)
        if memory is not None and not told and len(fields.pairs) == len(head.fields):
            memory.without = real_ip
    exchange = Exchange(
        request=head,
        connection=connection,
        path=path,
        host=host,
        started_s=started_s,
        id=id,
        method=head.method,
        target=head.target,
        fields=fields,
        snapshot=snapshot,
        client_ip=connection.client_ip,
        client_port=connection.client_port,
        memory=memory,
    )
    if told and real_ip is not None:
        client = real_ip.client(connection.client_ip, head.fields)
        if client is not None:
            exchange.client_ip, exchange.client_port = client
    return exchange


def match_route(exchange: Exchange) -> None:
    """Find the route and note it on the exchange; without one ``exchange.route`` stays None."""
    match = exchange.snapshot.router.match(exchange)
    if match is None:
        return
    route = match.rule.target
    exchange.route = route
    exchange.match = match
    exchange.path_params = match.params
    if route.strip_prefix is not None:
        exchange.target = strip_prefix(exchange.target, route.strip_prefix)
