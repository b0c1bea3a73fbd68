"""When the certificates in use expire, and who is told before they do.

Read from the state and from the files that listeners use, whenever somebody asks; a text is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from math import floor
from pathlib import Path

from attrs import frozen
from twisted.logger import Logger

from gateway.control.state import State
from gateway.core.secrets import Secrets, UnresolvedReference, no_manager, resolve
from gateway.model.record import Key
from gateway.telemetry.facts import expiry_of

LISTENER = "listener"
"""The kind in the key of a file's certificate; its id is the listener's name."""
_DAY_S = 86400.0
_KINDS = ("ssl", "certificate", "ca_certificate")
_PEM_MEMBERS = ("cert", "certs")

_log = Logger()


@frozen
class Expiry:
    """
    When one certificate expires.

    Attributes:
        key: Of its resource, or of the listener. at: Unix seconds.
    """

    key: Key
    at: float

    @property
    def name(self) -> str:
        """What people call it: ``ssl/<id>``, or the listener's name."""
        _, kind, id = self.key
        return id if kind == LISTENER else f"{kind}/{id}"

    def words(self, now: float) -> str:
        """What is to be told of it at *now*, in Unix seconds."""
        day = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d")
        left = self.at - now
        if left <= 0:
            return f"its certificate expired on {day}"
        days = floor(left / _DAY_S)
        rest = "within a day" if not days else "in a day" if days == 1 else f"in {days} days"
        return f"its certificate expires on {day}, {rest}"


class CertificateExpiry:
    """
    Looks after them.

    Attributes:
        files: Certificate files that listeners use, by the listener's name.
        renewed: Those of them that the gateway makes anew by itself: nobody is told of these.
        notice_s: How long before its end a certificate is told of; 0: never.
    """

    def __init__(
        self,
        state: Callable[[], State],
        group: str,
        now: Callable[[], float],
        *,
        files: Mapping[str, Path],
        environ: Mapping[str, str],
        secrets: Secrets = no_manager,
        notice_days: float,
    ) -> None:
        """
        Args:
            group: Whose certificates are served. environ: Where ``$env://`` references are looked up.
            secrets: Knows what secret managers keep.
        """
        self._state = state
        self._group = group
        self._now = now
        self._environ = environ
        self._secrets = secrets
        self._known: dict[str, float | None] = {}
        self._told: dict[tuple[str, float], float] = {}
        self.files = files
        self.renewed: frozenset[str] = frozenset()
        self.set_notice(notice_days)

    def set_notice(self, days: float) -> None:
        """Tell of those that have less than *days* left; 0: of none."""
        self.notice_s = days * _DAY_S

    def all(self) -> list[Expiry]:
        """When each certificate expires; those that cannot be read are left out."""
        # Reading a certificate costs more than all the rest; the texts seldom change.
        known, self._known = self._known, {}
        found = []
        for key, text in self._texts():
            at = self._known[text] = known[text] if text in known else expiry_of(text)
            if at is not None:
                found.append(Expiry(key, at))
        return found

    def notices(self) -> list[tuple[Key, str]]:
        """Those that expire soon, or have: keys, and what an operator should know, in words."""
        now = self._now()
        return [(one.key, one.words(now)) for one in self._soon(now)]

    def tell(self) -> None:
        """Log them, each once a day."""
        now = self._now()
        told, self._told = self._told, {}
        for one in self._soon(now):
            mark = (one.name, one.at)
            last = told.get(mark)
            if last is not None and 0 <= now - last < _DAY_S and not last < one.at <= now:
                self._told[mark] = last
                continue
            self._told[mark] = now
            log = _log.error if one.at <= now else _log.warn
            log("{name}: {words}", name=one.name, words=one.words(now))

    def _soon(self, now: float) -> list[Expiry]:
        limit = now + self.notice_s if self.notice_s else float("-inf")
        return [one for one in self.all() if one.at <= limit and not self._renewed(one)]

    def _renewed(self, one: Expiry) -> bool:
        return one.key[1] == LISTENER and one.name in self.renewed

    def _texts(self) -> Iterator[tuple[Key, str]]:
        for name, path in self.files.items():
            try:
                yield ("", LISTENER, name), path.read_text()
            except (OSError, UnicodeDecodeError):
                continue
        state = self._state()
        for kind in _KINDS:
            for id, record in state.all(self._group, kind).items():
                if record.value.get("status") == 0:
                    continue
                for member in _PEM_MEMBERS:
                    held = record.value.get(member)
                    for text in held if isinstance(held, (list, tuple)) else (held,):
                        if isinstance(text, str) and (found := self._resolved(text)):
                            yield (self._group, kind, id), found

    def _resolved(self, text: str) -> str | None:
        try:
            found: str = resolve({"": text}, self._environ, self._secrets)[""]
        except UnresolvedReference:
            return None
        return found
