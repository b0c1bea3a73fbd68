"""Naming what went wrong."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons
from gateway.upstream.errors import UpstreamError, connect_error, connect_timeout, exchange_error


class NamingTests(SynchronousTestCase):
    def test_connect(self) -> None:
        """Timeouts are told apart from every other failure to connect; nothing was sent."""
        for cause, kind in (
            (error.ConnectionRefusedError(), reasons.UPSTREAM_CONNECT_FAILED),
            (error.NoRouteError(), reasons.UPSTREAM_CONNECT_FAILED),
            (error.DNSLookupError("x"), reasons.NO_NODES),
            (SSL.Error([("a", "b", "c")]), reasons.UPSTREAM_CONNECT_FAILED),
            (error.ConnectionDone(), reasons.UPSTREAM_CONNECT_FAILED),
            (ValueError("bad name"), reasons.UPSTREAM_CONNECT_FAILED),
            (error.TimeoutError(), reasons.UPSTREAM_CONNECT_TIMEOUT),
            (error.TCPTimedOutError(), reasons.UPSTREAM_CONNECT_TIMEOUT),
        ):
            named = connect_error(Failure(cause))
            self.assertEqual((named.kind, named.sent, named.reused), (kind, False, False))
            self.assertTrue(named.detail)
        self.assertEqual(connect_timeout(2).kind, reasons.UPSTREAM_CONNECT_TIMEOUT)

    def test_exchange(self) -> None:
        """A failed exchange says that it may have been sent, and whether on a kept connection."""
        failure = exchange_error(reasons.UPSTREAM_CLOSED, "gone", None, reused=True)
        named = failure.value
        assert isinstance(named, UpstreamError)
        self.assertEqual(
            (named.kind, named.detail, named.sent, named.reused),
            (reasons.UPSTREAM_CLOSED, "gone", True, True),
        )
        self.assertEqual(str(named), "upstream_closed: gone")

    def test_producer(self) -> None:
        """A failure of the request's own content is passed on as it is."""
        cause = Failure(ZeroDivisionError())
        self.assertIs(exchange_error(reasons.INTERNAL_ERROR, "", cause, reused=False), cause)
