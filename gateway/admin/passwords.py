"""Passwords: hashed with scrypt, checked without telling anything by time, guesses counted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define

from gateway.interfaces import Clock

_T = TypeVar("_T")

_FORM = re.compile(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")
_LOG_N, _R, _P = 15, 8, 3
_SALT_BYTES = _KEY_BYTES = 32
_MAX_MEMORY = 128 * 1024 * 1024

Elsewhere = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Calls a function that takes long where it holds nobody up, and gives what it returns."""


async def here(work: Callable[[], _T]) -> _T:
    """Call *work* at once."""
    return work()


def hashed(password: str, *, log_n: int | None = None, salt: bytes | None = None) -> str:
    """
    Hash a password: about 0.2 s and 32 MiB.

    Returns:
        ``scrypt$<log2 N>$<r>$<p>$<salt>$<key>`` (RFC 7914), the last two in base64.
    """
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    log_n = _LOG_N if log_n is None else log_n
    key = _scrypt(password, salt, log_n, _R, _P)
    parts = (base64.b64encode(part).decode("ascii") for part in (salt, key))
    return "$".join(("scrypt", str(log_n), str(_R), str(_P), *parts))


def fits(stored: str, password: str) -> bool:
    """Whether *stored* is a hash of *password*; False if it is no hash at all."""
    form = _FORM.fullmatch(stored)
    if form is None:
        return False
    log_n, r, p = (int(form[index]) for index in (1, 2, 3))
    salt, key = base64.b64decode(form[4]), base64.b64decode(form[5])
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p), key)


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=2**log_n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=_KEY_BYTES)


@define
class _Failures:
    since_s: float
    count: int = 0


class Attempts:
    """
    Counts failed log-ins, so that passwords cannot be guessed.

    A name from one address gets *limit* failures a window; an address five times, and a name
    from all addresses twenty times as many.
    """

    MAX_KEYS = 20_000

    def __init__(self, clock: Clock, limit: int, window_s: float) -> None:
        self._clock = clock
        self._window_s = window_s
        self._limits = (limit, 5 * limit, 20 * limit)
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def wait_s(self, name: str, address: str) -> float:
        """How long it takes until another attempt is allowed; 0 if it is now."""
        now = self._clock.monotonic()
        waits = [0.0]
        for key, limit in zip(self._keys(name, address), self._limits, strict=True):
            failures = self._failures.get(key)
            if failures is not None and failures.count >= limit:
                waits.append(failures.since_s + self._window_s - now)
        return max(waits)

    def failed(self, name: str, address: str) -> None:
        """Take note of a failure."""
        now = self._clock.monotonic()
        for key in self._keys(name, address):
            failures = self._failures.get(key)
            if failures is None or now - failures.since_s >= self._window_s:
                failures = self._failures[key] = _Failures(now)
            failures.count += 1
            self._failures.move_to_end(key)
        while len(self._failures) > self.MAX_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Take back what was noted, and forget the other failures of the name from that address."""
        self._failures.pop((name, address), None)
        for key in self._keys(name, address)[1:]:
            if key in self._failures:
                self._failures[key].count -= 1

    @staticmethod
    def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
        return ((name, address), ("", address), (name, ""))
