"""Work in threads of a process that serves requests."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

SWITCH_S = 0.0005
"""How long a thread that computes keeps the interpreter while others want it."""

T = TypeVar("T")

_lock = threading.Lock()
_computing = 0
_usual_s = 0.0


def politely(work: Callable[[], T]) -> T:
    """
    What *work* returns or raises; for as long as it computes, other threads get the interpreter sooner.

    Whoever serves requests waits for it each time it wakes up: by default ten times as long.
    """
    global _computing, _usual_s
    with _lock:
        if not _computing:
            _usual_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual_s, SWITCH_S))
        _computing += 1
    try:
        return work()
    finally:
        with _lock:
            _computing -= 1
            if not _computing:
                sys.setswitchinterval(_usual_s)


def in_thread(reactor: Any) -> Callable[[Callable[[], Any]], Deferred[Any]]:
    """What runs functions in the reactor's thread pool, and waits for them."""
    return lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), politely, work)
