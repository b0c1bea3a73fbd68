"""What can go wrong between the gateway and an upstream, and the one place that names it."""

from __future__ import annotations

import errno

from twisted.internet import error as net
from twisted.python.failure import Failure

from gateway.core import reasons


class UpstreamError(Exception):
    """
    A try at an upstream failed.

    Attributes:
        kind: A reason code of ``gateway.core.reasons``: ``NO_NODES`` (its name has no address),
            ``UPSTREAM_CONNECT_FAILED``, ``UPSTREAM_CONNECT_TIMEOUT``, ``UPSTREAM_SEND_TIMEOUT``,
            ``UPSTREAM_READ_TIMEOUT``, ``UPSTREAM_CLOSED`` or ``UPSTREAM_BAD_RESPONSE``.
        sent: Whether any byte of the request may have reached the peer.
        reused: Whether it went out on a pooled connection.
        detail: What happened, for the log; no field values, no content.
        local: Whether the fault is this machine's own (no file descriptor, no port left): it says
            nothing about the peer.
    """

    def __init__(
        self, kind: str, detail: str = "", *, sent: bool = True, reused: bool = False, local: bool = False
    ) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail
        self.sent = sent
        self.reused = reused
        self.local = local


_LOCAL = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
_CONNECT_TIMEOUTS = (net.TimeoutError, net.TCPTimedOutError)


def connect_error(failure: Failure) -> UpstreamError:
    """
    Name a failure to connect.

    Args:
        failure: Of ``connectTCP``, of an endpoint, of name resolution or of a TLS handshake.
    """
    if failure.check(*_CONNECT_TIMEOUTS):
        kind = reasons.UPSTREAM_CONNECT_TIMEOUT
    elif failure.check(net.DNSLookupError):
        kind = reasons.NO_NODES
    else:
        kind = reasons.UPSTREAM_CONNECT_FAILED
    local = (
        getattr(failure.value, "osError", None) in _LOCAL or getattr(failure.value, "errno", None) in _LOCAL
    )
    return UpstreamError(kind, failure.getErrorMessage() or repr(failure.type), sent=False, local=local)


def connect_timeout(seconds: float) -> UpstreamError:
    """The error for a connection that was not there in time."""
    return UpstreamError(reasons.UPSTREAM_CONNECT_TIMEOUT, f"no connection within {seconds:g} s", sent=False)


def exchange_error(kind: str, detail: str, cause: Failure | None, *, reused: bool) -> Failure:
    """
    Name what ended a request that was being sent, or its response.

    Args:
        kind, detail, cause: As ``gateway.http1.client`` reports them. An error of the request's own
            content is nobody's fault upstream: that failure is returned as it is.
    """
    if kind == reasons.INTERNAL_ERROR and cause is not None:
        return cause
    return Failure(UpstreamError(kind, detail, sent=True, reused=reused))
