"""Listening sockets a process is started with: systemd's socket activation, or whoever speaks the same.

The one who starts the gateway binds the sockets and keeps them. So nothing is refused while one
gateway ends and the next, of another version maybe, begins: connections wait in the sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from gateway.errors import SettingsErrors
from gateway.settings import Settings
from gateway.settings_fields import Address

FIRST_DESCRIPTOR = 3
KINDS = ("admin", "apisix", "control", "metrics", "proxy", "proxy_tls", "status")
"""The listeners, by the names that ``LISTEN_FDNAMES`` may give their sockets."""
INITIAL = Path("/proc/self/environ")
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

Sockets = Mapping[str, Sequence[socket.socket]]
"""Kind of listener → its sockets. A kind that has some is not bound to the addresses of gw.ini."""


def variables(
    environ: MutableMapping[str, str], initial: Path = Path("/proc/self/environ")
) -> dict[str, str]:
    """
    What this process was told about sockets.

    Twisted takes the variables out of the environment when its endpoints are imported; the system
    still knows what they were.

    Args:
        environ: They are removed from it: they are not for processes started later.
        initial: The environment that the process was started with.
    """
    found = {}
    try:
        for entry in initial.read_bytes().split(b"\0"):
            name, _, value = entry.decode("utf-8", "surrogateescape").partition("=")
            if name in _VARIABLES:
                found[name] = value
    except OSError:
        pass  # Not Linux: what Twisted left is all there is.
    for name in _VARIABLES:
        if name in environ:
            found[name] = environ.pop(name)
    return found


def inherited(settings: Settings, given: Mapping[str, str], pid: int) -> Sockets:
    """
    Take the sockets over.

    Args:
        given: ``variables``.
        pid: This process's.
    Returns:
        Which sockets are for which listener: by their names, else by the addresses in *settings*.
    Raises:
        SettingsErrors: one of them is for nothing, or cannot be listened at.
    Source:
        sd_listen_fds(3).
    """
    count = given.get("LISTEN_FDS", "")
    if given.get("LISTEN_PID") != str(pid) or not count.isdigit():
        return {}
    names = given.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    problems = []
    for index in range(int(count)):
        descriptor = FIRST_DESCRIPTOR + index
        name = names[index] if index < len(names) else ""
        try:
            one = socket.socket(fileno=descriptor)
            one.set_inheritable(False)
            kind = _kind(one, name, settings)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(f"LISTEN_FDS: descriptor {descriptor} ({name or 'without a name'}): {reason}")
            continue
        found.setdefault(kind, []).append(one)
    if problems:
        raise SettingsErrors(problems)
    return found


def address_of(listening: socket.socket) -> Address:
    """Where it listens."""
    host, port = listening.getsockname()[:2]
    return Address(host, port)


def _kind(one: socket.socket, name: str, settings: Settings) -> str:
    if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
        raise ValueError("is not a TCP socket")
    if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError("does not listen")
    if name in KINDS:
        return name
    address = address_of(one)
    wanted = {
        "admin": settings.admin.listen,
        "apisix": settings.apisix.listen,
        "control": settings.control.listen,
        "metrics": settings.metrics.listen,
        "proxy": settings.proxy.listen,
        "proxy_tls": settings.proxy.tls_listen,
        "status": settings.status.listen,
    }
    for kind, addresses in wanted.items():
        if address in addresses:
            return kind
    raise ValueError(f"{address} is no listener's address; name it one of {', '.join(KINDS)}")
