"""Host patterns: which requests a route's ``hosts`` let in, and how specific each pattern is."""

from __future__ import annotations

from attrs import frozen


@frozen
class HostPattern:
    """
    A configured host, read.

    ``foo.com`` is that host; ``*.foo.com`` is every host that ends in ``.foo.com``; ``*`` is every
    host. With a port, the port in the request's Host must be the same; without one it does not
    matter.

    Attributes:
        text: As configured, in lower case.
        name: The host, or for a wildcard what the host must end with; without the port.
        port: Digits, or None if the pattern has no port.
        wildcard: Whether it began with ``*``.
    Source:
        Data-plane contract §3.3.
    """

    text: str
    name: str
    port: str | None
    wildcard: bool

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Read a host pattern. Every text is one; a dot at the end does not count."""
        text = text.lower()
        name, port = split_port(text)
        wildcard = name.startswith("*")
        return cls(text, without_dot(name[1:] if wildcard else name), port, wildcard)

    @property
    def key(self) -> str:
        """What it is found by: the name, and the port if it has one."""
        return self.name if self.port is None else f"{self.name}:{self.port}"

    def covers(self, host: str, port: str | None) -> bool:
        """Whether a request for *host* (lower case, no dot at the end) and *port* is let in."""
        if self.port is not None and self.port != port:
            return False
        return host.endswith(self.name) if self.wildcard else host == self.name


def split_port(text: str) -> tuple[str, str | None]:
    """
    Split ``host:port``.

    Args:
        text: A host, perhaps with a port; IPv6 addresses in brackets (RFC 3986 section 3.2.2).
    Returns:
        The host, brackets kept, and the port; None if there is no colon outside brackets.
    """
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        return text, None
    return host, port


def without_dot(host: str) -> str:
    """*host* without the dot that marks a full name; ``foo.com.`` is ``foo.com``."""
    return host[:-1] if host.endswith(".") else host
