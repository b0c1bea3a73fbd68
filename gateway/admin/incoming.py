"""What a request of twisted.web says, and work that outlives it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.admin.access import Presented
from gateway.admin.refusals import Refusal
from gateway.errors import ConfigErrors

_T = TypeVar("_T")


def shielded(work: Coroutine[Any, Any, _T], log: Logger) -> Deferred[_T]:
    """
    Run *work* to its end even if nobody waits for it any more.

    A client that hangs up must not stop a write between its commit and its publication.

    Returns:
        Fires with the result; cancelling it leaves the work alone.
    """
    waiting: Deferred[_T] = Deferred()
    running = Deferred.fromCoroutine(work)

    def done(result: _T) -> None:
        if not waiting.called:
            waiting.callback(result)

    def failed(failure: Failure) -> None:
        if not waiting.called:
            waiting.errback(failure)
        elif not isinstance(failure.value, (Refusal, ConfigErrors)):
            log.failure("an admin call whose client is gone failed", failure)

    running.addCallbacks(done, failed)
    return waiting


def field_value(request: Any, name: str) -> str | None:
    """
    Read a field of the request: its lines joined as RFC 9110 section 5.3 says, None if there are none.

    Bytes that are not UTF-8 are replaced: they match no tag, and do no harm in a reason.
    """
    lines = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    return None if lines is None else b", ".join(lines).decode("utf-8", "replace")


def client_address(request: Any) -> str:
    """The peer's IP address, or what is known instead of one."""
    return str(getattr(request.getClientAddress(), "host", ""))


def presented(request: Any) -> Presented:
    """What a request shows of its sender."""

    def header(name: bytes) -> bytes | None:
        lines = request.requestHeaders.getRawHeaders(name)
        return lines[0] if lines else None

    return Presented(request.method.decode("ascii"), header, request.getCookie, client_address(request))
