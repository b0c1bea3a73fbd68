"""Ports that nobody else is given while a test runs."""

from __future__ import annotations

import socket
from typing import Any


def reserve(case: Any, above: int = 0) -> int:
    """
    A port of loopback that the system gives to nobody until *case* ends. Connections are refused.

    A server that sets SO_REUSEADDR, as most do, can listen there all the same, and again after it was gone.

    Args:
        case: The test: has ``addCleanup``.
        above: Hold the port that is so much higher, too.
    """
    while True:
        first = _bound(0)
        port: int = first.getsockname()[1]
        try:
            held = [first, _bound(port + above)] if above else [first]
        except (OSError, OverflowError):
            first.close()
            continue
        for one in held:
            case.addCleanup(one.close)
        return port


def _bound(port: int) -> socket.socket:
    """Never listens."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return made
