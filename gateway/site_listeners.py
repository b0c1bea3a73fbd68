"""The listeners of those who look after the gateway: twisted.web sites, at addresses or inherited sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.server import Site

from gateway.certificates import ReplaceableOptions
from gateway.data_plane import BACKLOG, Listener, maybe
from gateway.inherited import Sockets
from gateway.settings_fields import Address


class SiteListeners:
    """
    Opens and closes them.

    Attributes:
        listeners: Those that are open.
    """

    def __init__(self, reactor: Any, sockets: Sockets) -> None:
        """
        Args:
            sockets: Listening already, by kind: they stand in for addresses.
        """
        self._reactor = reactor
        self._sockets = sockets
        self.listeners: list[Listener] = []

    def open(
        self, kind: str, wanted: Sequence[Address], site: Site, tls: ReplaceableOptions | None = None
    ) -> None:
        """
        Serve *site*, with TLS if there is something to serve it with.

        Raises:
            CannotListenError: an address is not to be had.
        """
        site.log = lambda request: None  # type: ignore[method-assign]  # its lines hold query strings
        factory: Any = site if tls is None else TLSMemoryBIOFactory(tls, False, site)
        ports = []
        for one in self._sockets.get(kind, ()):
            with one:
                one.setblocking(False)
                ports.append(self._reactor.adoptStreamPort(one.fileno(), one.family, factory))
        for address in () if kind in self._sockets else wanted:
            ports.append(
                self._reactor.listenTCP(address.port, factory, backlog=BACKLOG, interface=address.host)
            )
        self.listeners.extend(Listener(kind, port, site) for port in ports)

    async def stop(self) -> None:
        """Accept nobody any more."""
        await DeferredList([maybe(listener.port.stopListening()) for listener in self.listeners])
