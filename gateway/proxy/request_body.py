"""The content of a request on its way from the client to an upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from gateway.core.exchange import ContentTooLarge


class Source(Protocol):
    """What the content is read from."""

    def pause_reading(self) -> None:
        """Stop reading from the client."""

    def resume_reading(self) -> None:
        """Go on."""


@implementer(IBodyProducer)
class RequestBody:
    """
    Content that streams: a small read-ahead until somebody starts it, then straight through.

    As long as all of it fits into the read-ahead it is kept, so that another node can be tried.

    Attributes:
        length: Bytes in all, or ``UNKNOWN_LENGTH`` for a chunked request.
        expected: The same, with None for a chunked request.
        complete: Whether all of it has arrived.
        received: Bytes that have arrived.
        imminent: Whether the server has more of it at hand: a head that is sent can wait for that, until
            ``arrived`` is called.
        straight: Who takes the next piece in place of ``data``, as long as there is nothing to be done with
            it but to count it in ``received``; None otherwise.
    """

    def __init__(
        self,
        length: int | None,
        source: Source,
        *,
        read_ahead: int,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            length: None for a chunked request.
            read_ahead: Bytes to hold before reading stops.
            on_start: Called once, when the content is first wanted (100-continue is due).
        """
        self.length = UNKNOWN_LENGTH if length is None else length
        self.expected = length
        self.complete = False
        self.received = 0
        self.imminent = False
        self.straight: IConsumer | None = None
        self._source = source
        self._read_ahead = read_ahead
        self._on_start: Callable[[], None] | None = on_start
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._paused = False
        self._dropping = False
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._passed: list[bytes] | None = []
        self._passed_bytes = 0
        self._gathering: Deferred[bytes] | None = None
        self._gather_limit = 0
        self._recorded: bytearray | None = None
        self._record_limit = 0
        self._waiting: list[tuple[int, Callable[[bytes | None], None]]] = []

    @property
    def can_start(self) -> bool:
        """Whether it can be passed on from its beginning, for the first time or once more."""
        return self._passed is not None and not self._dropping

    @property
    def waiting_for_upstream(self) -> bool:
        """Whether reading waits for an upstream to take what is here, not for the client."""
        return self._gathering is None and (self._paused or self._held_bytes >= self._read_ahead)

    # -- from the server

    def data(self, data: bytes) -> None:
        """A piece has arrived."""
        self.received += len(data)
        if self._recorded is not None and len(self._recorded) < self._record_limit:
            self._recorded += data[: self._record_limit - len(self._recorded)]
        if self._waiting:
            self._disappoint()
        if self._dropping:
            return
        consumer = self._consumer
        if consumer is not None and not self._paused:
            self._pass_on(consumer, data)
            if (
                self._passed is None
                and self._recorded is None
                and self._consumer is consumer
                and not self._paused
            ):
                self.straight = consumer
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._gathering is not None:
            if self.received > self._gather_limit:
                self._gathered(ContentTooLarge(self._gather_limit, self.expected))
        elif self._held_bytes >= self._read_ahead or self._paused:
            self._source.pause_reading()

    def end(self) -> None:
        """Everything has arrived."""
        self.complete = True
        self.straight = None  # They would hold on to each other.
        waiting, self._waiting = self._waiting, []
        for _, then in waiting:
            then(self.recorded)
        if self._gathering is not None:
            self._gathered(None)
        self._finish_if_done()

    def arrived(self) -> None:
        """What was imminent is here."""
        self.imminent = False
        flush = getattr(self._consumer, "flush", None)
        if flush is not None:
            flush()

    # -- for hooks that look on

    @property
    def recorded(self) -> bytes:
        """The beginning of the content, as far as it has arrived; empty if nobody asked for it."""
        return b"" if self._recorded is None else bytes(self._recorded)

    def record(self, max_bytes: int, then: Callable[[bytes | None], None] | None = None) -> None:
        """See ``gateway.core.exchange.ContentSource.record``."""
        whole = self._passed is not None and not self._dropping
        if then is not None and (not whole or max(self.received, self.expected or 0) > max_bytes):
            then(None)
            return
        if max_bytes > self._record_limit:
            self.straight = None
            self._record_limit = max_bytes
            here = b"".join([*(self._passed or ()), *self._held])
            self._recorded = bytearray(here[:max_bytes])
        if then is not None and self.complete:
            then(self.recorded)
        elif then is not None:
            self._waiting.append((max_bytes, then))

    def _disappoint(self) -> None:
        """Tell those who wait for less than has arrived."""
        waiting, self._waiting = self._waiting, []
        for max_bytes, then in waiting:
            if self.received > max_bytes:
                then(None)
            else:
                self._waiting.append((max_bytes, then))

    # -- for hooks that must see it whole

    def gather(self, max_bytes: int) -> Deferred[bytes]:
        """
        Hold all of it, to be passed on afterwards. Before anybody has started it, and one at a time.

        Returns:
            Fires with the content; fails with ``ContentTooLarge``, or ``RuntimeError`` if it is gone.
        """
        if (
            self._consumer is not None
            or self._passed is None
            or self._dropping
            or self._gathering is not None
        ):
            return fail(RuntimeError("this content is on its way already"))
        if max(self.received, self.expected or 0) > max_bytes:
            return fail(ContentTooLarge(max_bytes, self.expected))
        # What was gathered may be sent again, like anything that is held.
        self._read_ahead = max(self._read_ahead, max_bytes)
        if self.complete:
            return succeed(b"".join(self._passed + self._held))
        self._gather_limit = max_bytes
        gathering: Deferred[bytes] = Deferred(lambda _: self._forget_gathering())
        self._gathering = gathering
        self.want()
        self._source.resume_reading()
        return gathering

    def _forget_gathering(self) -> None:
        self._gathering = None

    def _gathered(self, problem: Exception | None) -> None:
        waiting, self._gathering = self._gathering, None
        assert waiting is not None
        if problem is not None:
            self._source.pause_reading()
            waiting.errback(problem)
        else:
            waiting.callback(b"".join(self._held))

    # -- IBodyProducer, for the upstream's side

    def want(self) -> None:
        """Ask the client for the content, if it waits to be asked (RFC 9110 section 10.1.1)."""
        ask, self._on_start = self._on_start, None
        if ask is not None and not self.complete:
            ask()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Pass the content on from its beginning; RuntimeError if that is gone (``can_start``)."""
        if self._consumer is not None or self._passed is None or self._dropping:
            raise RuntimeError("this content was passed on already")
        self._hold(self._passed + self._held)
        self._passed = []
        self._passed_bytes = 0
        self._paused = False
        self._consumer = consumer
        self._done = Deferred()
        self.want()
        done = self._done
        self._pass_held_on()
        return done

    def pauseProducing(self) -> None:
        """The upstream takes no more for now."""
        self._paused = True
        self.straight = None
        if not self.complete:
            self._source.pause_reading()

    def resumeProducing(self) -> None:
        """The upstream takes more."""
        self._paused = False
        self._pass_held_on()

    def stopProducing(self) -> None:
        """This upstream wants no more. If all of it is still here, the next one may have it."""
        if not self.can_start:
            self.drop()
            return
        self._consumer = None
        self._done = None

    def drop(self) -> None:
        """Read the rest and forget it."""
        self._dropping = True
        self.straight = None
        self._held.clear()
        self._held_bytes = 0
        self._passed = None
        self._consumer = None
        self._done = None
        if not self.complete:
            self._source.resume_reading()

    def _hold(self, pieces: list[bytes]) -> None:
        self._held = pieces
        self._held_bytes = sum(map(len, pieces))

    def _pass_on(self, consumer: IConsumer, data: bytes) -> None:
        if self._passed is not None:
            self._passed_bytes += len(data)
            if self._passed_bytes <= self._read_ahead:
                self._passed.append(data)
            else:
                self._passed = None
        consumer.write(data)

    def _pass_held_on(self) -> None:
        held, self._held = self._held, []
        self._held_bytes = 0
        if held and self._consumer is not None:
            self._pass_on(self._consumer, b"".join(held))
        if not self.complete and not self._paused and not self._dropping:
            self._source.resume_reading()
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self.complete and not self._held and self._done is not None and self._consumer is not None:
            done, self._done = self._done, None
            self._consumer = None
            done.callback(None)


@implementer(IBodyProducer)
class HeldBody:
    """Content that is there: what a plugin made of the client's, or put in its place."""

    can_start = True

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self._content = content

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        if self._content:
            consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Too late."""

    def resumeProducing(self) -> None:
        """Nothing is left."""

    def stopProducing(self) -> None:
        """It may be started again."""
