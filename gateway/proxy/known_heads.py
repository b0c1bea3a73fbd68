"""Request heads that were seen before: neither read nor checked again.

Clients ask for the same things again: a poll, a health check, the same call with the same token on a kept
connection. What a head means depends on its bytes alone, so it may be remembered with everything that
was made of it. A head is remembered when it comes for the second time, so that a stream of heads that
are all different costs next to nothing.
"""

from __future__ import annotations

from gateway.core.exchange import RequestHead
from gateway.http1.request import Head
from gateway.proxy.admission import Admitted

MAX_HEAD_BYTES = 1024
"""Longer heads are not remembered: with the number of heads this bounds the memory."""
_SEEN_ONCE = 4096

KnownHead = tuple[Head, RequestHead, Admitted]


class KnownHeads:
    """
    Attributes:
        get: The head made of some bytes, from the first to the blank line; None if they are not known.
    """

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: How many heads to remember; when there are more, all are forgotten. 0 remembers none.
        """
        self._limit = limit
        self._heads: dict[bytes, KnownHead] = {}
        self._once: set[int] = set()
        self.get = self._heads.get

    def __len__(self) -> int:
        return len(self._heads)

    def __repr__(self) -> str:
        # Heads hold credentials.
        return f"<KnownHeads {len(self._heads)}>"

    def learn(self, data: bytes, head: Head, request: RequestHead, admitted: Admitted) -> None:
        """
        Take note of a head that was read.

        Args:
            data: All its bytes. head: That of a request without content.
        """
        if not self._limit or len(data) > MAX_HEAD_BYTES:
            return
        # Not the bytes: two heads with one hash are no harm, only one of them is remembered early.
        key = hash(data)
        if key not in self._once:
            if len(self._once) >= _SEEN_ONCE:
                self._once.clear()
            self._once.add(key)
            return
        if len(self._heads) >= self._limit:
            self._heads.clear()
        self._heads[data] = (head, request, admitted)
