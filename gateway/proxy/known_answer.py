"""What clients are sent of a response head that came before: written once, sent each time."""

from __future__ import annotations

from http import HTTPStatus

from attrs import define

from gateway.core.fields import Pair
from gateway.core.pages import REASON_PHRASES
from gateway.http1.field_lines import OWN_OF_ANSWERS, write_lines
from gateway.http1.response import ResponseHead

STATUS_PHRASES = {status.value: status.phrase for status in HTTPStatus} | dict(REASON_PHRASES)
"""What status lines say, by number: the pages' names, and the standard library's for the others."""
STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in STATUS_PHRASES.items()
}


def status_line(status: int) -> bytes:
    """The first line of an answer, with its line end."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


@define(eq=False, slots=True)
class KnownAnswer:
    """
    A response with a length, as it is passed on where no plugin changes it.

    Attributes:
        pairs: Its field lines, with the gateway's own ``Server``: none about framing or the connection.
            Nobody may change the list.
        count: How many those are.
        lines: The same as they are written. names: Theirs, and of what the server says by itself
            (``gateway.core.exchange.WrittenFields``). dated: Whether there is a Date among them.
        start: Status line and fields. end: What follows them, and a Date, in the usual case: the
            content's length, and the end of the head.
        server: The value of ``Server`` it was made with.
    """

    status: int
    length: int
    pairs: list[Pair]
    count: int
    lines: bytes
    names: frozenset[bytes]
    dated: bool
    start: bytes
    end: bytes
    server: bytes


def known_answer(head: ResponseHead, server: bytes) -> KnownAnswer | None:
    """
    Make it, or take the one that was made for an earlier response with the same head.

    Args:
        server: The value of the field ``Server``.
    Returns:
        None if the head is not shared, or nothing can be made of it.
    """
    made: KnownAnswer | None = head.memory
    if made is not None and made.server is server:
        return made
    if not head.shared or head.length is None:
        return None
    pairs, length = head.passed_on()
    if length != head.length or not length:
        return None
    pairs.append((b"server", server))
    lines = write_lines(pairs)
    names = frozenset([name for name, _ in pairs])
    dated = b"date" in names
    made = head.memory = KnownAnswer(
        head.status,
        length,
        pairs,
        len(pairs),
        lines,
        names | OWN_OF_ANSWERS,
        dated,
        status_line(head.status) + lines,
        b"Content-Length: %d\r\n\r\n" % length,
        server,
    )
    return made
