"""The epoll reactor with a leaner turn: no context push and no attribute walk around each event that
is plainly "there is something to read", which on a proxy are nearly all of them.

Small writes made on the way are sent when all of them had their turn (``gateway.http1.eager.Turn``).
Everything else (writability, hang-ups, errors) goes Twisted's own way. Any other reactor does as well.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.logger import Logger

from gateway.http1.eager import turn

_log = Logger()


def install() -> bool:
    """
    Install it, if no reactor is installed yet and the platform has epoll.

    Returns:
        Whether it is installed now by this call.
    """
    if "twisted.internet.reactor" in sys.modules:
        return False
    try:
        from select import EPOLLIN

        from twisted.internet.epollreactor import EPollReactor
        from twisted.internet.main import installReactor
    except ImportError:
        return False

    class LeanReactor(EPollReactor):
        """See the module."""

        def doPoll(self, timeout: float | None) -> None:
            """As ``EPollReactor.doPoll``."""
            selectables: Any = self._selectables
            try:
                events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
            except InterruptedError:
                return
            # With one event there is nothing to wait for.
            turn.open = len(events) > 1
            try:
                for descriptor, event in events:
                    selectable = selectables.get(descriptor)
                    if selectable is None:
                        continue
                    if event != EPOLLIN:
                        self._slow(selectable, descriptor, event)
                        continue
                    try:
                        why = selectable.doRead()
                    except Exception as error:
                        # As Twisted does it: a bug costs the connection, not the process.
                        _log.failure("an event handler failed")
                        why = error
                    if why:
                        self._disconnectSelectable(selectable, why, True)
            finally:
                turn.close()

        def _slow(self, selectable: Any, descriptor: int, event: int) -> None:
            from twisted.python import log

            log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)

        doIteration = doPoll

    installReactor(LeanReactor())
    return True
