"""Sessions of people who logged in: a random name in a cookie, kept in memory as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from attrs import frozen

from gateway.interfaces import Clock

COOKIE = "session"


@frozen
class _Session:
    user: str
    ends_s: float


class Sessions:
    """
    The sessions of this process. They end when it does.

    Attributes:
        ttl_s: How long one lasts, in seconds.
    """

    MAX = 10_000

    def __init__(self, clock: Clock, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self._clock = clock
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def begin(self, user: str) -> str:
        """Start a session for a user's id. Returns what its cookie holds: 256 random bits."""
        name = secrets.token_urlsafe(32)
        self._sessions[_digest(name.encode())] = _Session(user, self._clock.monotonic() + self.ttl_s)
        while len(self._sessions) > self.MAX:
            self._sessions.popitem(last=False)
        return name

    def user(self, name: bytes) -> str | None:
        """The id of the user whose session it is, or None if there is none, or not any more."""
        digest = _digest(name)
        session = self._sessions.get(digest)
        if session is not None and self._clock.monotonic() >= session.ends_s:
            session = self._sessions.pop(digest, None) and None
        return None if session is None else session.user

    def end(self, name: bytes) -> None:
        """End one session, if it is there."""
        self._sessions.pop(_digest(name), None)

    def end_all(self, user: str) -> None:
        """End every session of a user."""
        for digest in [digest for digest, session in self._sessions.items() if session.user == user]:
            del self._sessions[digest]


def _digest(name: bytes) -> bytes:
    return hashlib.sha256(name).digest()
