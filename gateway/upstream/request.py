"""A request that is ready to be sent: nothing about it has to be parsed or looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import field, frozen
from twisted.web.http_headers import Headers

from gateway.core.fields import Pair, wire_name
from gateway.model.timeout import Timeout
from gateway.model.upstream import KeepalivePool
from gateway.upstream.identity import Authority, ClientIdentity

_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen(cache_hash=True)
class Peer:
    """
    Whom to connect to, and how: what decides whether two requests may share a connection. Make it
    once per node, not per request.

    Attributes:
        scheme: ``http`` or ``https``.
        host: A name or an IP address; IPv6 without brackets.
        server_name: With TLS, the name to send as SNI and to verify; no port. None sends none.
        verify: With TLS, whether the certificate must be valid for *server_name* (for *host* if None).
        identity: With TLS, what is shown if the peer asks for a certificate.
        authorities: With *verify*, whom to trust; empty for those the system trusts.
        origin: ``scheme://host:port`` as bytes; the port is left out where it is the scheme's own.
        authority: That without the scheme.
    Source:
        Data-plane contract §7: pools are kept by scheme, host, port and TLS identity.
    """

    scheme: str
    host: str
    port: int
    server_name: str | None = None
    verify: bool = False
    identity: ClientIdentity | None = None
    authorities: tuple[Authority, ...] = ()
    authority: bytes = field(init=False, eq=False, repr=False)
    origin: bytes = field(init=False, eq=False, repr=False)

    @authority.default
    def _authority(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port != _DEFAULT_PORTS.get(self.scheme):
            host = f"{host}:{self.port}"
        return host.encode("ascii", "backslashreplace")

    @origin.default
    def _origin(self) -> bytes:
        return self.scheme.encode() + b"://" + self.authority


class PreparedRequest(Headers):
    """
    A request for ``UpstreamAgent``, passed where an ``IAgent`` takes headers.

    To everybody else it is a ``Headers`` that cannot be changed; ``copy`` makes an ordinary one.

    Attributes:
        peer: Whom to send it to.
        method: The method.
        target: The request target exactly as it shall stand on the request line.
        fields: Lower-case names and values, sent in this order; no ``content-length`` and no
            ``transfer-encoding``: those follow from the content.
        timeout: Time limits.
        keepalive: How connections to the peer are kept.
        switching: Whether it asks for another protocol: 101 is an answer to it.
        kept: Whether it is sent again and again: the agent remembers what it makes of it.
        text: If it is kept: the head as it is sent without content. pool: Likewise, its connections.
        line: Likewise, what the access log made of it. line_of: Who made that.
    """

    __slots__ = (
        "_built",
        "fields",
        "keepalive",
        "kept",
        "line",
        "line_of",
        "method",
        "peer",
        "pool",
        "switching",
        "target",
        "text",
        "timeout",
    )

    def __init__(
        self,
        peer: Peer,
        method: bytes,
        target: bytes,
        fields: Sequence[Pair],
        timeout: Timeout,
        keepalive: KeepalivePool,
        *,
        switching: bool = False,
    ) -> None:
        self.peer = peer
        self.method = method
        self.target = target
        self.fields = fields
        self.timeout = timeout
        self.keepalive = keepalive
        self.switching = switching
        self.kept = False
        self.text: bytes | None = None
        self.pool: Any = None
        self.line: str | None = None
        self.line_of: Any = None
        self._built: dict[bytes, list[bytes]] | None = None

    def keep(self) -> None:
        """It will be sent again."""
        self.kept = True
        # There may be many. The garbage collector looks at lists for ever, at tuples of bytes once.
        self.fields = tuple(self.fields)

    @property
    def url(self) -> bytes:
        """The absolute URL, for agents that want one."""
        return self.peer.origin + self.target

    @property
    def _rawHeaders(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        built = self._built
        if built is None:
            built = self._built = {}
            for name, value in self.fields:
                built.setdefault(wire_name(name), []).append(value)
        return built

    def __repr__(self) -> str:
        # Values may be credentials, and so may parts of the target.
        names = [name.decode("latin-1") for name, _ in self.fields]
        return f"<PreparedRequest {self.method!r} {self.peer.origin!r} {names}>"

    def copy(self) -> Headers:
        """An ordinary, changeable copy of the fields."""
        plain = Headers()
        for name, value in self.fields:
            plain.addRawHeader(name, value)
        return plain

    def _fixed(self, *args: Any) -> Any:
        raise TypeError("a prepared request cannot be changed; copy() it")

    setRawHeaders = _fixed  # type: ignore[assignment]
    addRawHeader = _fixed  # type: ignore[assignment]
    removeHeader = _fixed  # type: ignore[assignment]
