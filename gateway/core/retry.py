"""Whether a failed try may be followed by another, and what a failure looks like to the client."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from gateway.core import reasons
from gateway.model.upstream import Upstream

IDEMPOTENT_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""
Sending these twice has the effect of sending them once (RFC 9110 section 9.2.2). Of a method that is
not among them nobody knows that: POST, PATCH, LOCK, CONNECT, and whatever we have never heard of.
"""

STATUSES: Mapping[str, int] = MappingProxyType(
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
    }
)
"""What each way of getting no answer from an upstream looks like to the client (data-plane contract §7.5)."""


def status_of(kind: str) -> int:
    """The status that a failure of this kind counts as; 502 for one that is not in ``STATUSES``."""
    return STATUSES.get(kind, 502)


class RetryVerdict(enum.Enum):
    """
    What to do after a failed try.

    Attributes:
        AGAIN: Pick another node.
        GIVE_UP: Answer with what the last try failed of.
        TOO_LATE: Answer 502, reason ``retry_timeout``: there was a try left, but no time.
    """

    AGAIN = "again"
    GIVE_UP = "give up"
    TOO_LATE = "too late"


@frozen
class RetryPolicy:
    """
    An upstream's rules for trying again.

    Attributes:
        tries: At most this many tries, the first included; at least 1.
        timeout_s: Seconds since the first try began, after which none is started; 0 is no limit.
    Source:
        Data-plane contract §7.4.
    """

    tries: int
    timeout_s: float

    @classmethod
    def of(cls, upstream: Upstream) -> RetryPolicy:
        """By default every node is tried once; ``retries`` beyond that change nothing."""
        nodes = max(1, len(upstream.nodes))
        tries = nodes if upstream.retries is None else min(nodes, upstream.retries + 1)
        return cls(tries, upstream.retry_timeout_s)

    def verdict(
        self, *, attempts: int, elapsed_s: float, method: bytes, sent: bool, body_started: bool
    ) -> RetryVerdict:
        """
        Decide after a try that failed before the head of a response arrived. After that there is
        nothing to decide: an answer has begun, and a status such as 500 or 503 is an answer.

        Args:
            attempts: Tries so far, the failed one included. elapsed_s: Seconds since the first began.
            sent: Whether the node may have received any of the request.
            body_started: Whether content was passed on: it streams, and cannot be had again.
        """
        if attempts >= self.tries or body_started or (sent and method not in IDEMPOTENT_METHODS):
            return RetryVerdict.GIVE_UP
        if self.timeout_s and elapsed_s >= self.timeout_s:
            return RetryVerdict.TOO_LATE
        return RetryVerdict.AGAIN
