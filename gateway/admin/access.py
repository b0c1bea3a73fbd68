"""Who calls the Admin API, and what they may do (Admin API contract §2.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from gateway.admin import passwords
from gateway.admin.passwords import Attempts, Elsewhere
from gateway.admin.permissions import statements_of
from gateway.admin.principal import Principal
from gateway.admin.refusals import TooMany, Unauthorized
from gateway.admin.resources import Resources
from gateway.admin.sessions import COOKIE, Sessions
from gateway.interfaces import Clock
from gateway.model.record import Record
from gateway.model.user import SUPER_ADMIN

ADMIN = "admin"
"""The first user's id and name."""
KEY_PREFIX = "a7adm-"
MAX_KEY = 1024

_SAFE = ("GET", "HEAD", "OPTIONS")
_REMEMBERED = 1000
_NO_HASH = "scrypt$15$8$3$AAAA$AAAA"
"""What the password of a user who is not there is held against, so that the time tells nothing."""


@frozen
class AccessLimits:
    """
    Attributes:
        login_attempts: Failed log-ins of a name from an address in a window.
        login_window_s: How long that window is. session_ttl_s: How long a session lasts.
    """

    login_attempts: int = 10
    login_window_s: float = 60
    session_ttl_s: float = 8 * 3600


@frozen
class Presented:
    """
    What a request shows of its sender.

    Attributes:
        header: Finds the first line of a field, as bytes. cookie: Finds a cookie's value.
        address: The peer's, as text; for counting guesses.
    """

    method: str
    header: Callable[[bytes], bytes | None] = field(repr=False)
    cookie: Callable[[bytes], bytes | None] = field(repr=False)
    address: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether a page of another site made a browser send it."""
        site = self.header(b"sec-fetch-site")
        if site is not None:
            return site not in (b"same-origin", b"none")
        origin = self.header(b"origin")
        if origin is None or self.method in _SAFE:
            return False
        host = self.header(b"host") or b""
        return origin.partition(b"://")[2].lower() != host.lower()


def digest(key: bytes) -> str:
    """What is kept of a token or key. A plain hash does: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(key).hexdigest()


class Access:
    """
    Finds out who sends a request.

    Attributes:
        sessions: Those of people who logged in.
    """

    def __init__(
        self,
        resources: Resources,
        clock: Clock,
        *,
        limits: AccessLimits | None = None,
        elsewhere: Elsewhere = passwords.here,
    ) -> None:
        """
        Args:
            elsewhere: Where passwords are hashed.
        """
        limits = limits or AccessLimits()
        self.sessions = Sessions(clock, limits.session_ttl_s)
        self._attempts = Attempts(clock, limits.login_attempts, limits.login_window_s)
        self._resources = resources
        self._clock = clock
        self._elsewhere = elsewhere
        self._tables: dict[str, tuple[Mapping[str, Record], dict[str, Record]]] = {}
        self._secret = os.urandom(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()

    def is_enterprise(self, shown: Presented) -> bool:
        """
        Whether a request shows a credential of the enterprise dialect, or what looks like one.

        A key decides if there is one; else a password or a session does.
        """
        key = shown.header(b"x-api-key") or shown.cookie(b"X-API-KEY")
        if key is None:
            return shown.header(b"authorization") is not None or shown.cookie(COOKIE.encode()) is not None
        if key.startswith((b"a7ee-", KEY_PREFIX.encode())):
            return True
        return 0 < len(key) <= MAX_KEY and self._find("token", key) is not None

    async def principal(self, shown: Presented) -> Principal:
        """
        Who sent a request.

        Raises:
            Unauthorized: no valid credential came with it. TooMany: passwords are being guessed.
        """
        key = shown.header(b"x-api-key")
        if key is not None:
            return self._of_key(key)
        basic = shown.header(b"authorization")
        if basic is not None:
            name, password = _basic(basic)
            return self._of_user(await self.log_in(name, password, shown.address))
        key = shown.cookie(b"X-API-KEY")
        session = shown.cookie(COOKIE.encode())
        # A page of another site can make a browser send cookies, but no fields of its choice.
        if (key is None and session is None) or shown.is_foreign:
            raise Unauthorized()
        if key is not None:
            return self._of_key(key)
        assert session is not None
        user = self.sessions.user(session)
        record = None if user is None else self._resources.state.get("", "user", user)
        if record is None:
            raise Unauthorized()
        return self._of_user(record)

    def _of_key(self, key: bytes) -> Principal:
        if 0 < len(key) <= MAX_KEY:
            record = self._find("token", key)
            if record is not None:
                return self._of_token(record)
            record = self._find("group_key", key)
            if record is not None:
                group = str(record.value["gateway_group_id"])
                return Principal(f"admin key of {group}", frozenset({SUPER_ADMIN}), group=group)
        raise Unauthorized()

    def _find(self, kind: str, key: bytes) -> Record | None:
        table = self._resources.state.all("", kind)
        cached = self._tables.get(kind)
        if cached is None or cached[0] is not table:
            cached = (table, {record.value["hash"]: record for record in table.values()})
            self._tables[kind] = cached
        wanted = digest(key)
        record = cached[1].get(wanted)
        return record if record is not None and hmac.compare_digest(record.value["hash"], wanted) else None

    def _of_token(self, record: Record) -> Principal:
        expires_at = record.value.get("expires_at", 0)
        if expires_at and self._clock.time() >= expires_at:
            raise Unauthorized()
        name, owner = str(record.value["name"]), record.value.get("user_id")
        if owner is None:
            return Principal(name, frozenset({SUPER_ADMIN}))
        user = self._resources.state.get("", "user", owner)
        if user is None:
            raise Unauthorized()
        return self._with_roles(name, user)

    def _of_user(self, record: Record) -> Principal:
        return self._with_roles(str(record.value["username"]), record)

    def _with_roles(self, name: str, user: Record) -> Principal:
        roles = frozenset(user.value["roles"])
        return Principal(name, roles, user.id, statements=statements_of(self._resources.state, roles))

    # Passwords

    def user_called(self, name: str) -> Record | None:
        """The user of that name, or None."""
        users = self._resources.state.all("", "user").values()
        return next((record for record in users if record.value["username"] == name), None)

    async def log_in(self, name: str, password: str, address: str) -> Record:
        """
        The user of that name and password.

        Raises:
            Unauthorized: there is none. TooMany: too many attempts failed.
        """
        record = self.user_called(name)
        stored = _NO_HASH if record is None else str(record.value["hash"])
        # Callers with Basic send their password each time; hashing it each time would be slow.
        mark = hmac.digest(self._secret, f"{stored}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
        if record is not None and mark in self._verified:
            return record
        wait_s = self._attempts.wait_s(name, address)
        if wait_s > 0:
            raise TooMany(wait_s)
        # Counted before it is checked: many at once must not all pass the gate.
        self._attempts.failed(name, address)
        fits = await self._elsewhere(lambda: passwords.fits(stored, password))
        if record is None or not fits:
            raise Unauthorized()
        self._attempts.succeeded(name, address)
        self._verified[mark] = None
        while len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return record

    async def hashed(self, password: str) -> str:
        """Hash a new password."""
        text: Any = await self._elsewhere(lambda: passwords.hashed(password))
        return str(text)


def _basic(raw: bytes) -> tuple[str, str]:
    scheme, _, rest = raw.partition(b" ")
    if scheme.lower() != b"basic":
        raise Unauthorized()
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized() from None
    name, colon, password = text.partition(":")
    if not colon or len(text) > MAX_KEY:
        raise Unauthorized()
    return name, password
