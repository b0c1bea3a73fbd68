"""How a request is answered, and every way in which it ends.

One ``except Exception`` stands in ``Answering._guard``: a bug, ours or a plugin's, is logged with its
Failure, answered 500 and counted. A regular expression that takes too long comes that way too, but is no bug.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.core import reasons
from gateway.core.chain import EMPTY, Chain
from gateway.core.exchange import Exchange, Outcome, Reply
from gateway.core.fields import Fields
from gateway.core.pages import error_page
from gateway.core.regex_limits import MatchTimeout
from gateway.http1.field_lines import BadLine, added_lines
from gateway.proxy.downstream import Downstream
from gateway.proxy.health import WatchedTry
from gateway.proxy.known_answer import KnownAnswer
from gateway.proxy.tunnel import Tunnel
from gateway.upstream.client import Cancellable
from gateway.upstream.connection import Flow

if TYPE_CHECKING:
    from gateway.proxy.runner import Runner

_log = Logger()

TOO_LARGE = Reply(413, None, ((b"connection", b"close"),), reasons.BODY_TOO_LARGE)
_BAD_CONTENT = Reply(400, None, ((b"connection", b"close"),), reasons.BAD_REQUEST, "bad chunks")
_SLOW_BODY = Reply(408, None, ((b"connection", b"close"),), reasons.CLIENT_BODY_TIMEOUT)

_HTML = (b"content-type", b"text/html; charset=utf-8")
_NO_CONTENT_STATUSES = frozenset({204, 304})


@define(eq=False, slots=True)
class Answering:
    """
    A request that can be answered and ended at any time; ``gateway.proxy.run.Run`` adds its way there.

    Attributes:
        runner: What it shares with all others. downstream: The client's side of it.
    """

    runner: Runner
    exchange: Exchange
    downstream: Downstream
    _chain: Chain = EMPTY
    _watched: WatchedTry | None = None
    _waiting: Deferred[Any] | None = None
    _call: Cancellable | None = None
    _flow: Flow | None = None
    _tunnel: Tunnel | None = None
    _responded: bool = False
    _outcome: Outcome | None = None
    _over: bool = False
    _content_wanted: bool = True

    # -- from the client's side

    def refuse(self, reply: Reply) -> None:
        """Answer without matching."""
        self._guard(self._answer, "gateway", reply)

    def client_gone(self) -> None:
        """The client left. What was held for it is let go; the log phase still runs."""
        if self._tunnel is not None:
            self._tunnel.client_gone()
        elif not self._over:
            self._stop(Outcome(499, "client", reasons.CLIENT_GONE))

    def too_large(self) -> None:
        """The content turned out to be over the limit while it was read."""
        self._cut_short(TOO_LARGE)

    def over_limit(self, received: int) -> bool:
        """Whether content of *received* bytes is more than the request may have."""
        own = self.exchange.max_body_bytes
        general = self.runner.limits.max_body_bytes
        return bool(own and received > own) or bool(general and received > general)

    def bad_content(self) -> None:
        """The content's framing is broken."""
        self._cut_short(_BAD_CONTENT)

    def slow_body(self) -> None:
        """The content stopped coming."""
        self._cut_short(_SLOW_BODY)

    def stop(self) -> None:
        """The gateway stops and will not wait any longer."""
        if self._tunnel is not None:
            self._tunnel.stop(reasons.SHUTTING_DOWN)
        elif not self._over:
            self._stop(Outcome(503, "gateway", reasons.SHUTTING_DOWN))
            self.downstream.abort()

    # -- the answer

    def _answer(self, by: str, reply: Reply) -> None:
        """End the request with an answer of the gateway's own."""
        if self._responded:
            # The head of another answer is out: all that is left is to cut it.
            self._stop(Outcome(self.exchange.status, by, reply.reason, reply.detail))
            self.downstream.abort()
            return
        exchange = self.exchange
        exchange.from_upstream = False
        exchange.status = reply.status
        fields = Fields(reply.fields)
        body = reply.body
        if body is None:
            if reply.status < 300:
                body = b""
            else:
                body = b"" if reply.status in _NO_CONTENT_STATUSES else error_page(reply.status)
                fields.add(*_HTML)
        fields.set(b"server", self.runner.server)
        exchange.answer_with(fields)
        self._outcome = Outcome(reply.status, by, reply.reason, reply.detail)
        self._respond(len(body))
        self._content(body)
        self._complete()

    def _respond(
        self, length: int | None, known: KnownAnswer | None = None, content: bytes | None = None
    ) -> bool:
        """
        Run header_filter and send the head.

        Args:
            known: Of what the fields are, or None. content: All of the content, if that is there and *known*.
        Returns:
            Whether the content is sent, too, and the request is over.
        """
        exchange = self.exchange
        attempts = exchange.attempts
        if attempts and (attempts[-1].status >= 500 or self.runner.show_upstream_status):
            statuses = ", ".join(str(attempt.status) for attempt in attempts)
            exchange.response_fields.set(b"x-apisix-upstream-status", statuses.encode())
            known = None
        chain, general = self._chain, exchange.snapshot.global_chain
        if exchange.method == b"HEAD" and exchange.from_upstream and exchange.request.method != b"HEAD":
            # A plugin has made it a HEAD: what its answer says of a length is not there.
            length, known = None if length is None or exchange.status == 304 else 0, None
        exchange.response_length = length
        unclean = bool(general.header_filter or chain.header_filter or not exchange.from_upstream)
        if unclean:
            for _, hook in general.header_filter:
                hook(exchange)
            for _, hook in chain.header_filter:
                hook(exchange)
            asked = exchange.asked_fields
            if known is not None and asked is not None and asked.pairs[: known.count] != known.pairs:
                known = None
        if content and known is not None and self._pass_on(known, content):
            return True
        if general.body_filter or chain.body_filter:
            length = None
        status = exchange.status
        if self._outcome is not None and self._outcome.status != status:
            self._outcome = evolve(self._outcome, status=status)
        self._content_wanted = exchange.request.method != b"HEAD" and status not in _NO_CONTENT_STATUSES
        self._responded = True
        if unclean:
            exchange.response_fields.clean(0 if known is None else known.count)
        self.downstream.respond(status, exchange.response_fields.pairs, length, known)
        return False

    def _pass_on(self, known: KnownAnswer, content: bytes) -> bool:
        """Send the upstream's answer, and what was added to its fields, in one step if that can be."""
        exchange = self.exchange
        chain, general = self._chain, exchange.snapshot.global_chain
        if not (chain.keeps_content and general.keeps_content and exchange.status == known.status):
            return False
        asked = exchange.asked_fields
        try:
            added = exchange.added if asked is None else added_lines(asked.pairs[known.count :])
        except BadLine:
            return False
        if not self.downstream.pass_on(known, added, content):
            return False
        self._responded = True
        exchange.bytes_sent = len(content)
        assert self._outcome is not None
        self._end(self._outcome)
        return True

    def _content(self, data: bytes, last: bool = False) -> None:
        exchange = self.exchange
        for _, body_filter in exchange.snapshot.global_chain.body_filter:
            data = body_filter(exchange, data, last)
        for _, body_filter in self._chain.body_filter:
            data = body_filter(exchange, data, last)
        if data and self._content_wanted and not self._over:
            for _, tap in exchange.snapshot.global_chain.body_tap:
                tap(exchange, data)
            for _, tap in self._chain.body_tap:
                tap(exchange, data)
            exchange.bytes_sent += len(data)
            self.downstream.write(data)

    def _complete(self) -> None:
        if self._chain.body_filter or self.exchange.snapshot.global_chain.body_filter:
            self._content(b"", last=True)
        self.downstream.finish()
        assert self._outcome is not None
        self._end(self._outcome)

    # -- endings

    def _cut_short(self, reply: Reply) -> None:
        if self._over:
            return
        self._let_go()
        self._guard(self._answer, "gateway", reply)

    def _stop(self, outcome: Outcome) -> None:
        """End it without another word to the client."""
        self._let_go()
        self._end(outcome)

    def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.addErrback(lambda failure: None)
            waiting.cancel()
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        flow, self._flow = self._flow, None
        if flow is not None:
            self.downstream.unregister()
            flow.abort()

    def _end(self, outcome: Outcome) -> None:
        if self._over:
            return
        self._over = True
        exchange = self.exchange
        exchange.outcome = outcome
        if self._watched is not None:
            self._watched.over(self.runner.monotonic())
        if not exchange.status:
            exchange.status = outcome.status
        for chain in (exchange.snapshot.global_chain, self._chain):
            for name, hook in chain.log:
                try:
                    hook(exchange)
                except MatchTimeout:
                    pass  # It was told, and the request has ended.
                except Exception:
                    self.runner.bugs += 1
                    _log.failure("plugin {plugin} failed in its log phase", plugin=name)
        self.runner.ended(self)

    # -- waiting, and the one place where a bug is caught

    def _wait(
        self,
        deferred: Deferred[Any],
        then: Callable[..., None],
        *args: Any,
        errors: Callable[[Failure], None],
    ) -> None:
        def fired(result: Any) -> None:
            if self._waiting is not deferred:
                return  # The run ended meanwhile and cancelled it.
            self._waiting = None
            if isinstance(result, Failure):
                self._guard(errors, result)
            else:
                self._guard(then, result, *args)

        self._waiting = deferred
        deferred.addBoth(fired)

    def _guard(self, step: Callable[..., None], *args: Any) -> None:
        try:
            step(*args)
        except Exception:
            self._bug(Failure())

    def _bug(self, failure: Failure) -> None:
        slow = failure.check(MatchTimeout) is not None
        reason = reasons.REGEX_TIMEOUT if slow else reasons.INTERNAL_ERROR
        if not slow:
            self.runner.bugs += 1
            exchange = self.exchange
            _log.failure(
                "request {id} ({method} {path}) met a bug",
                failure,
                id=exchange.id,
                method=exchange.method,
                path=exchange.path,
            )
        if self._over:
            return
        self._let_go()
        detail = failure.getErrorMessage()
        self._chain = Chain(log=self._chain.log)  # Its filters may be what failed.
        try:
            self._answer("gateway", Reply(500, None, (), reason, detail))
        except Exception:
            _log.failure("answering for a bug failed")
            self._stop(Outcome(500, "gateway", reason, detail))
            self.downstream.abort()
