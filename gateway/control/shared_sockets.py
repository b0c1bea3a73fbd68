"""Addresses that several processes listen at, each with a socket of its own (SO_REUSEPORT).

The system spreads connections over the sockets that listen. The first process makes them all and
keeps them, so connections that wait for a worker that died wait on for the one that replaces it.
"""

from __future__ import annotations

import socket

from attrs import define, field
from twisted.internet.error import CannotListenError

from gateway.settings_fields import Address


@define(eq=False)
class SharedAddress:
    """
    One address, held by a bound socket that never listens.

    Attributes:
        kind: ``proxy`` or ``proxy_tls``.
        address: Where it is, with the real port.
    """

    kind: str
    address: Address
    _holder: socket.socket = field(repr=False)
    _inherited: bool = False

    @classmethod
    def reserve(cls, kind: str, wanted: Address) -> SharedAddress:
        """
        Hold an address; port 0 lets the system choose.

        Raises:
            CannotListenError: somebody else listens there, or this user may not.
        """
        try:
            if wanted.port:
                # The system would share the address with another gateway of this user, who then
                # got half of the requests. Without SO_REUSEPORT it says so.
                _bound(wanted, shared=False).close()
            holder = _bound(wanted, shared=True)
        except OSError as error:
            raise CannotListenError(wanted.host, wanted.port, error) from None
        return cls(kind, Address(wanted.host, holder.getsockname()[1]), holder)

    @classmethod
    def inherited(cls, kind: str, listening: socket.socket) -> SharedAddress:
        """
        Share a socket that this process was started with.

        There is one queue of connections then, and whoever of the processes comes first takes the next.
        """
        host, port = listening.getsockname()[:2]
        return cls(kind, Address(host, port), listening, True)

    def open(self) -> socket.socket:
        """One more socket, bound; not yet listening, unless it is inherited. Raises OSError."""
        return self._holder.dup() if self._inherited else _bound(self.address, shared=True)

    def close(self) -> None:
        """Hold it no longer; sockets that were opened stay."""
        self._holder.close()


def _bound(address: Address, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((address.host, address.port))
    except BaseException:
        made.close()
        raise
    return made
