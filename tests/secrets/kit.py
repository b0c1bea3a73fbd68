"""A manager in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from gateway.interfaces import HttpAnswer, HttpCallFailed
from gateway.secrets.managers import Asking


@define
class Calls:
    """
    ``HttpCalls`` with answers that were laid out before: (status, content), or None for no answer.

    Attributes:
        asked: What came: method, URL, fields, content, whether certificates are verified.
    """

    answers: list[tuple[int, bytes] | None] = field(factory=list)
    asked: list[tuple[str, str, dict[str, str], bytes | None, bool]] = field(factory=list)

    def request(
        self, method: str, url: str, *, fields: Sequence[tuple[bytes, bytes]] = (), **more: Any
    ) -> Deferred[HttpAnswer]:
        named = {name.decode(): value.decode() for name, value in fields}
        self.asked.append((method, url, named, more.get("content"), more["verify"]))
        answer = self.answers.pop(0)
        if answer is None:
            return fail(HttpCallFailed(f"{method} {url}: no answer within 3 s", True))
        return succeed(HttpAnswer(answer[0], (), answer[1]))


def asking(*answers: tuple[int, bytes] | None, now: float = 1_440_938_160.0) -> tuple[Asking, Calls]:
    """What a fetch needs, and the record of what it asked."""
    calls = Calls(list(answers))
    return Asking(calls, lambda: now, 3.0), calls
