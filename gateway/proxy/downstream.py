"""The seam between the runner and whatever speaks HTTP with the client."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer

from gateway.core.fields import Pair
from gateway.proxy.known_answer import KnownAnswer
from gateway.proxy.request_body import RequestBody


class Downstream(Protocol):
    """
    One request's client, as an HTTP server shows it to the runner.

    Calls come in this order: ``respond`` once, ``write`` any number of times, then ``finish`` or
    ``abort``. After ``gone`` was reported to the runner all of them do nothing.

    Attributes:
        body: The request's content, or None if the request has none. Nothing is read ahead of
            a small buffer until it is started.
    """

    @property
    def body(self) -> RequestBody | None:
        """The request's content, if it has any."""

    def respond(
        self, status: int, fields: list[Pair], length: int | None, known: KnownAnswer | None = None
    ) -> None:
        """
        Send the head of the response.

        Args:
            fields: Lower-case names; neither framing nor other hop-by-hop fields.
            length: The content's length; None if it is not known. Answers that have no content
                (HEAD, 204, 304) are given the length their GET would have, if known.
            known: What the fields begin with, written already; None if there is no such thing.
        """

    def pass_on(self, known: KnownAnswer, added: bytes, content: bytes) -> bool:
        """
        Send a complete answer: ``respond``, ``write`` and ``finish`` in one.

        Args:
            added: Field lines after those that are known, as they are written.
            content: All of it; as many bytes as *known* says.
        Returns:
            False if nothing was sent: the three are to be called.
        """

    def write(self, data: bytes) -> None:
        """Send content."""

    @property
    def outlet(self) -> Any:
        """The transport, if content may be sent on it as it is, past ``write``; else None."""

    def flush(self) -> None:
        """Send the head now, although no content follows yet."""

    def finish(self) -> None:
        """The response is complete."""

    def abort(self) -> None:
        """The response cannot be completed: cut it so that the client can tell."""

    def register(self, producer: IPushProducer) -> None:
        """Name the source of ``write`` calls, to be paused while the client reads slowly."""

    def unregister(self) -> None:
        """The source has no more to write."""
