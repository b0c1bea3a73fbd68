"""Whether a failed try may be followed by another."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import reasons
from gateway.core.retry import STATUSES, RetryPolicy, RetryVerdict, status_of
from gateway.model.upstream import Upstream


def policy(nodes: int = 3, **more: Any) -> RetryPolicy:
    return RetryPolicy.of(Upstream.parse({"nodes": {f"n{i}:80": 1 for i in range(nodes)}, **more}))


def verdict(given: RetryPolicy, **more: Any) -> RetryVerdict:
    facts: dict[str, Any] = {
        "attempts": 1,
        "elapsed_s": 0.0,
        "method": b"GET",
        "sent": False,
        "body_started": False,
    }
    return given.verdict(**{**facts, **more})


class TriesTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Without ``retries`` every node is tried once."""
        self.assertEqual(policy(3).tries, 3)
        self.assertEqual(policy(1).tries, 1)

    def test_retries(self) -> None:
        """``retries`` come after the first try; 0 is none, and more than there are nodes change nothing."""
        self.assertEqual([policy(3, retries=count).tries for count in (0, 1, 2, 3, 65535)], [1, 2, 3, 3, 3])

    def test_no_nodes(self) -> None:
        """Also an upstream without nodes has a policy."""
        self.assertEqual(RetryPolicy.of(Upstream.parse({})).tries, 1)

    def test_until_used_up(self) -> None:
        """There is another try as long as one is left."""
        given = policy(3)
        self.assertIs(verdict(given, attempts=2), RetryVerdict.AGAIN)
        self.assertIs(verdict(given, attempts=3), RetryVerdict.GIVE_UP)


class RepeatableTests(SynchronousTestCase):
    def test_idempotent_methods(self) -> None:
        """What may be sent twice is, even if the first node may have had it."""
        for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"):
            self.assertIs(verdict(policy(), method=method, sent=True), RetryVerdict.AGAIN, method)

    def test_other_methods(self) -> None:
        """POST, PATCH, LOCK, CONNECT and methods nobody knows are not sent twice."""
        for method in (b"POST", b"PATCH", b"LOCK", b"CONNECT", b"BREW", b"get"):
            self.assertIs(verdict(policy(), method=method, sent=True), RetryVerdict.GIVE_UP, method)

    def test_not_sent(self) -> None:
        """A request that no node can have had may go to another one, whatever its method."""
        self.assertIs(verdict(policy(), method=b"POST", sent=False), RetryVerdict.AGAIN)

    def test_content_that_is_gone(self) -> None:
        """Content that was passed on cannot be sent again, even if the method would allow it."""
        self.assertIs(verdict(policy(), method=b"PUT", body_started=True), RetryVerdict.GIVE_UP)


class TimeTests(SynchronousTestCase):
    def test_deadline(self) -> None:
        """After ``retry_timeout`` no try is started."""
        given = policy(retry_timeout=2.5)
        self.assertIs(verdict(given, elapsed_s=2.4), RetryVerdict.AGAIN)
        self.assertIs(verdict(given, elapsed_s=2.5), RetryVerdict.TOO_LATE)

    def test_no_deadline(self) -> None:
        """``retry_timeout`` 0 is no limit."""
        self.assertIs(verdict(policy(retry_timeout=0), elapsed_s=1e9), RetryVerdict.AGAIN)

    def test_nothing_left_to_be_late_for(self) -> None:
        """If the request could not be tried again anyway, it is answered with what it failed of."""
        given = policy(retry_timeout=1)
        self.assertIs(verdict(given, elapsed_s=9, attempts=3), RetryVerdict.GIVE_UP)
        self.assertIs(verdict(given, elapsed_s=9, method=b"POST", sent=True), RetryVerdict.GIVE_UP)


class StatusTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Timeouts are 504, a missing upstream or node is 503, all other failures are 502."""
        self.assertEqual(
            STATUSES,
            {
                reasons.NO_UPSTREAM: 503,
                reasons.NO_NODES: 503,
                reasons.NO_HEALTHY_NODE: 502,
                reasons.UPSTREAM_CONNECT_FAILED: 502,
                reasons.UPSTREAM_CONNECT_TIMEOUT: 504,
                reasons.UPSTREAM_SEND_TIMEOUT: 504,
                reasons.UPSTREAM_READ_TIMEOUT: 504,
                reasons.UPSTREAM_CLOSED: 502,
                reasons.UPSTREAM_BAD_RESPONSE: 502,
                reasons.RETRY_TIMEOUT: 502,
            },
        )

    def test_every_upstream_reason(self) -> None:
        """No reason code of an upstream is without a status."""
        codes = {value for name, value in vars(reasons).items() if name.startswith("UPSTREAM_")}
        self.assertEqual(codes - STATUSES.keys(), set())

    def test_unknown(self) -> None:
        """A failure of a kind nobody listed is a 502."""
        self.assertEqual(status_of("anything"), 502)
        self.assertEqual(status_of(reasons.UPSTREAM_READ_TIMEOUT), 504)
