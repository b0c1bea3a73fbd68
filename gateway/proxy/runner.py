"""Drives a request: match, plugins, upstream, answer, log. The order of things is here and nowhere else.

Everything runs as plain calls until something has to wait. One ``except Exception`` stands in
``Run._guard``: a bug, ours or a plugin's, is logged with its Failure, answered 500 and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.core import reasons
from gateway.core.chain import EMPTY, Chain, Hook
from gateway.core.content_variables import is_readable
from gateway.core.exchange import (
    Attempt,
    Connection,
    ContentTooLarge,
    Exchange,
    Outcome,
    Reply,
    RequestHead,
)
from gateway.core.fields import Fields
from gateway.core.opening import match_route, open_exchange
from gateway.core.pages import error_page
from gateway.core.real_ip import RealIp
from gateway.core.retry import RetryVerdict, status_of
from gateway.core.snapshot import CompiledUpstream, Snapshot
from gateway.core.upgrade import answered
from gateway.http1.response import ResponseHead
from gateway.interfaces import Clock
from gateway.model.upstream import Node
from gateway.proxy.admission import Admitted
from gateway.proxy.dispatch import Dispatcher
from gateway.proxy.downstream import Downstream
from gateway.proxy.health import HealthChecks, WatchedTry
from gateway.proxy.limits import ProxyLimits
from gateway.proxy.request_body import HeldBody, RequestBody
from gateway.proxy.tunnel import Tunnel, TunnelFlow
from gateway.upstream.client import Cancellable
from gateway.upstream.connection import Flow
from gateway.upstream.errors import UpstreamError

_log = Logger()

NOT_FOUND = Reply.json(404, {"error_msg": "404 Route Not Found"}, reason=reasons.ROUTE_NOT_FOUND)
"""The contract's answer when no route takes a request (data-plane contract §3.4)."""
_OVERLOADED = Reply(503, None, (), reasons.OVERLOADED)
_NO_UPSTREAM = Reply(503, None, (), reasons.NO_UPSTREAM)
_MISSING_UPSTREAM = Reply(502, None, (), reasons.REFERENCE_MISSING, "the upstream it names does not exist")
_NO_NODES = Reply(503, None, (), reasons.NO_NODES)
_BAD_SWITCH = Reply(502, None, (), reasons.UPSTREAM_BAD_RESPONSE, "101 without Upgrade")
_NO_NODE = Reply(502, None, (), reasons.NO_HEALTHY_NODE)
_TOO_LARGE = Reply(413, None, ((b"connection", b"close"),), reasons.BODY_TOO_LARGE)
_BAD_CONTENT = Reply(400, None, ((b"connection", b"close"),), reasons.BAD_REQUEST, "bad chunks")
_SLOW_BODY = Reply(408, None, ((b"connection", b"close"),), reasons.CLIENT_BODY_TIMEOUT)

_HTML = (b"content-type", b"text/html; charset=utf-8")
_NO_CONTENT_STATUSES = frozenset({204, 304})

# What comes of nearly every request: one object for each status.
_SERVED: dict[int, Outcome] = {}


class _Sending:
    """Stands for a request while it is being sent; it may be answered before that returns."""

    def cancel(self) -> None:
        """As ``Cancellable.cancel``: whoever sends it looks again afterwards."""


_SENDING = _Sending()

# The stages of a request, in order. Each is a tuple of hooks to walk through.
_GLOBAL_REWRITE, _ROUTE_REWRITE, _CONSUMER_REWRITE, _GLOBAL_ACCESS, _ACCESS = range(5)
_GLOBAL_BEFORE_PROXY, _BEFORE_PROXY, _SEND = range(5, 8)


@define(eq=False)
class Runner:
    """
    What all requests of a data plane share.

    Attributes:
        snapshot: The configuration new requests get. Replaced in one step.
        on_end: Told about every finished exchange: the access log and metrics.
        server: The value of the ``Server`` field.
        show_upstream_status: Whether ``X-APISIX-Upstream-Status`` is always sent.
        health: The health checks; None if nobody keeps any.
        real_ip: Whose word about the client's address is taken; None: nobody's.
        in_flight: Requests being served.
        bugs: How often the one ``except Exception`` caught something.
        handled: Requests that have ended.
    """

    snapshot: Snapshot
    dispatcher: Dispatcher
    clock: Clock
    limits: ProxyLimits
    on_end: Callable[[Exchange], None]
    server: bytes = b"gateway"
    show_upstream_status: bool = False
    health: HealthChecks | None = None
    real_ip: RealIp | None = None
    runs: set[Run] = field(factory=set, init=False)
    bugs: int = field(default=0, init=False)
    handled: int = field(default=0, init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)
    _prefix: str = field(factory=lambda: uuid4().hex[:16], init=False)
    _count: count[int] = field(factory=count, init=False)

    @property
    def in_flight(self) -> int:
        return len(self.runs)

    def handle(
        self, admitted: Admitted | Reply, head: RequestHead, connection: Connection, downstream: Downstream
    ) -> Run:
        """
        Serve one request.

        Args:
            admitted: What ``gateway.proxy.admission.admit`` said of it.
            head: The request as it arrived, for the log of one that was refused.
        Returns:
            The run; its ``client_gone`` is to be called if the client leaves before the end.
        """
        refused: Reply | None = None
        if isinstance(admitted, Reply):
            refused = admitted
            path, host = head.target.decode("latin-1"), ""
        else:
            head, path, host = admitted
            if len(self.runs) >= self.limits.max_in_flight:
                refused = _OVERLOADED
        exchange = open_exchange(
            head,
            connection,
            self.snapshot,
            path=path,
            host=host,
            started_s=self.clock.time(),
            id=f"{self._prefix}{next(self._count):016x}",
            real_ip=self.real_ip,
        )
        session = connection.session
        if session is not None and refused is None:
            why = self.snapshot.certificates.refusal(session, host, path)
            if why is not None:
                refused = Reply(400, None, (), reasons.CLIENT_CERTIFICATE, why)
        run = Run(self, exchange, downstream)
        self.runs.add(run)
        if refused is None:
            run.start()
        else:
            run.refuse(refused)
        return run

    def ended(self, run: Run) -> None:
        """A run is over; for ``Run`` itself."""
        self.runs.discard(run)
        self.handled += 1
        try:
            self.on_end(run.exchange)
        except Exception:
            _log.failure("the access log failed")
        if not self.runs:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)

    def when_idle(self) -> Deferred[None]:
        """Fires once no request is being served."""
        deferred: Deferred[None] = Deferred()
        if self.runs:
            self._idle.append(deferred)
        else:
            deferred.callback(None)
        return deferred


@implementer(IPushProducer)
@define(eq=False, slots=True)
class Run:
    """
    One request on its way through the gateway.

    It waits for the upstream's response (``ResponseWaiter``), takes its content (``ContentTaker``), and
    is the source of what the client is sent (``IPushProducer``).
    """

    runner: Runner
    exchange: Exchange
    downstream: Downstream
    _stage: int = _GLOBAL_REWRITE
    _hooks: tuple[tuple[str, Hook], ...] = ()
    _next: int = 0
    _chain: Chain = EMPTY
    _upstream: CompiledUpstream | None = None
    _tried: tuple[Node, ...] = ()
    _first_try_s: float = 0.0
    _try_started_s: float = 0.0
    _watched: WatchedTry | None = None
    _failed: Reply | None = None
    _waiting: Deferred[Any] | None = None
    _call: Cancellable | None = None
    _flow: Flow | None = None
    _tunnel: Tunnel | None = None
    _responded: bool = False
    _outcome: Outcome | None = None
    _over: bool = False
    _content_wanted: bool = True

    # -- from the client's side

    def start(self) -> None:
        """Serve it."""
        try:
            exchange = self.exchange
            exchange.source = self.downstream.body
            if exchange.source is not None:
                self._begin()
                return
            match_route(exchange)
            self._hooks = exchange.snapshot.global_chain.rewrite
            self._walk()
        except Exception:
            self._bug(Failure())

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
        self._cut_short(_TOO_LARGE)

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

    # -- the way through the plugins

    def _begin(self) -> None:
        """Begin with a request that has content: routes and plugins may ask for what stands in it."""
        exchange = self.exchange
        if exchange.snapshot.content_routes and is_readable(exchange):
            self._gather(self._matched)
        else:
            self._matched()

    def _matched(self) -> None:
        """Find the route, and walk through its plugins."""
        exchange = self.exchange
        match_route(exchange)
        snapshot = exchange.snapshot
        self._hooks = snapshot.global_chain.rewrite
        reads = snapshot.global_chain.reads_content
        if exchange.route is not None and exchange.route.chain.reads_content:
            reads = True
        if reads and exchange.held is None and is_readable(exchange):
            self._gather(self._walk)
        else:
            self._walk()

    def _gather(self, then: Callable[[], None]) -> None:
        """Have the content there for variables that are read from it; what is too large stays unread."""
        source = self.exchange.source
        assert source is not None

        async def gather() -> bytes | None:
            try:
                return await source.gather(self.runner.limits.variables_max_bytes)
            except ContentTooLarge:
                return None

        def gathered(content: bytes | None) -> None:
            self.exchange.held = content
            then()

        self._wait(Deferred.fromCoroutine(gather()), gathered, errors=self._hook_failed)

    def _walk(self) -> None:
        """Call hooks until one answers, one has to wait, or the request can be sent."""
        exchange = self.exchange
        hooks = self._hooks
        while True:
            index = self._next
            while index < len(hooks):
                name, hook = hooks[index]
                index += 1
                verdict = hook(exchange)
                if verdict is None:
                    continue
                if type(verdict) is Reply:
                    self._answer(f"plugin:{name}", verdict)
                    return
                self._next = index
                self._wait(
                    Deferred.fromCoroutine(verdict),  # type: ignore[arg-type]
                    self._resumed,
                    name,
                    errors=self._hook_failed,
                )
                return
            stage = self._stage
            if stage == _ACCESS:
                if exchange.route is None:
                    self._answer("router", NOT_FOUND)
                else:
                    self._first_try()
                return
            if stage == _BEFORE_PROXY:
                self._send()
                return
            # The next stage that has hooks.
            self._next = 0
            if stage == _GLOBAL_REWRITE:
                if exchange.route is not None:
                    self._chain = exchange.route.chain
                stage = _ROUTE_REWRITE
                hooks = self._chain.rewrite
            elif stage == _ROUTE_REWRITE and (consumer := exchange.consumer) is not None and consumer.adds:
                stage = _CONSUMER_REWRITE
                hooks = ()
                if exchange.route is not None:
                    merged = exchange.snapshot.consumer_chain(exchange.route, consumer)
                    self._chain = merged.chain
                    hooks = merged.rewrite
                    if merged.chain.reads_content and exchange.held is None and is_readable(exchange):
                        self._stage, self._hooks = stage, hooks
                        self._gather(self._walk)
                        return
            elif stage <= _CONSUMER_REWRITE:
                stage = _GLOBAL_ACCESS
                hooks = exchange.snapshot.global_chain.access
            elif stage == _GLOBAL_ACCESS:
                stage = _ACCESS
                hooks = self._chain.access
            else:
                stage = _BEFORE_PROXY
                hooks = self._chain.before_proxy
            self._stage = stage
            self._hooks = hooks

    def _resumed(self, verdict: Reply | None, name: str) -> None:
        if verdict is None:
            self._walk()
        else:
            self._answer(f"plugin:{name}", verdict)

    def _hook_failed(self, failure: Failure) -> None:
        if failure.check(ContentTooLarge) is None:
            failure.raiseException()
        self._answer("gateway", _TOO_LARGE)

    # -- the upstream

    def _first_try(self) -> None:
        exchange = self.exchange
        route = exchange.route
        compiled = exchange.upstream
        if compiled is None and route is not None:
            compiled = route.upstream
        self._upstream = compiled
        if compiled is None:
            named = route is not None and route.upstream_id is not None
            self._answer("balancer", _MISSING_UPSTREAM if named else _NO_UPSTREAM)
        elif not compiled.upstream.nodes:
            self._answer("balancer", _NO_NODES)
        elif compiled.secured and (missing := self._missing(compiled)):
            self._answer("balancer", Reply(502, None, (), reasons.CERTIFICATE_MISSING, missing))
        else:
            self._pick()

    def _missing(self, compiled: CompiledUpstream) -> str:
        return self.exchange.snapshot.certificates.trust(compiled).missing

    def _pick(self) -> None:
        exchange = self.exchange
        compiled = self._upstream
        assert compiled is not None
        node = compiled.picker.pick(self._tried, exchange)
        if node is None:
            self._answer("balancer", self._failed or _NO_NODE)
            return
        self._tried = (*self._tried, node)
        if compiled.watched:
            self._watched = WatchedTry.begin(compiled, node, exchange, self.runner.health)
        general = exchange.snapshot.global_chain.before_proxy
        if general or self._chain.before_proxy:
            self._stage = _GLOBAL_BEFORE_PROXY
            self._hooks = general
            self._next = 0
            self._walk()
        else:
            self._send()

    def _send(self) -> None:
        node = self._tried[-1]
        self._try_started_s = self.runner.clock.monotonic()
        if len(self._tried) == 1:
            self._first_try_s = self._try_started_s
        if self._watched is not None:
            self._watched.started_s = self._try_started_s
        exchange = self.exchange
        body = self.downstream.body if exchange.content is None else self._body()
        self._call = _SENDING
        call = self.runner.dispatcher.send(exchange, node, body, self)
        if self._call is _SENDING:
            self._call = call
        elif self._over:
            call.cancel()

    # -- ResponseWaiter

    def request_failed(self, failure: Failure) -> None:
        """The try at a node failed, with an ``UpstreamError`` unless it is a bug."""
        self._call = None
        if not self._over:
            self._guard(self._try_failed, failure)

    def response_started(self, head: ResponseHead, content: bytes, connection: Any) -> Run | Tunnel:
        """The upstream answers."""
        self._call = None
        if self._over:
            if connection is not None:
                connection.abort()
            return self
        try:
            if head.status == 101:
                self._switched(head, content, connection)
                return self._tunnel or self
            self._answered(head, content, connection)
        except Exception:
            self._bug(Failure())
        return self

    def _switched(self, head: ResponseHead, content: bytes, connection: TunnelFlow) -> None:
        """The upstream changes the protocol, as the client asked: from here on there is a tunnel."""
        self._flow = connection
        protocol = answered(head.fields)
        if protocol is None:
            connection.abort()
            self._flow = None
            self._answer("upstream", _BAD_SWITCH)
            return
        self._got_response(head, protocol)
        exchange, own = self.exchange, self.exchange.route
        assert exchange.target_upstream is not None
        limit_s = exchange.target_upstream.upstream.timeout.read_s
        if own is not None and own.timeout is not None:
            limit_s = own.timeout.read_s
        elif self.runner.limits.tunnel_idle_timeout_s:
            limit_s = self.runner.limits.tunnel_idle_timeout_s
        self._flow = None
        client: Any = self.downstream  # Only servers that can switch have others asked to.
        tunnel = self._tunnel = Tunnel(exchange, client, connection, self._end)
        tunnel.start(limit_s, content)

    def _answered(self, head: ResponseHead, content: bytes, connection: Flow | None) -> None:
        self._flow = connection
        self._got_response(head)
        if connection is None:
            if content:
                self._content(content)
            self._complete()
            return
        self.downstream.register(self)
        if content:
            self._content(content)
        if not self._over and not self.exchange.bytes_sent:
            # Events and long polls: the client gets the head before there is content.
            self.downstream.flush()

    # -- ContentTaker

    def response_content(self, data: bytes) -> None:
        """A piece of the upstream's content."""
        if not self._over:
            try:
                self._content(data)
            except Exception:
                self._bug(Failure())

    def response_ended(self) -> None:
        """The upstream's content is complete."""
        self._flow = None
        if not self._over:
            self.downstream.unregister()
            self._guard(self._complete)

    def response_failed(self, kind: str, detail: str, cause: Failure | None) -> None:
        """The upstream's content ends too soon."""
        self._flow = None
        if self._over:
            return
        self.downstream.unregister()
        if kind == reasons.INTERNAL_ERROR:
            # The request's own content failed: to the response it is the connection's end.
            kind = reasons.UPSTREAM_CLOSED
        detail = f"{kind}: {detail}" if detail else kind
        self._stop(Outcome(self.exchange.status, "upstream", kind, detail))
        self.downstream.abort()

    # -- IPushProducer: what the client's side asks of the upstream's

    def pauseProducing(self) -> None:
        """The client reads slowly: hold the upstream back."""
        if self._flow is not None:
            self._flow.pause()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        if self._flow is not None:
            self._flow.resume()

    def stopProducing(self) -> None:
        """The client's connection is lost."""
        if self._flow is not None:
            self._flow.abort()

    # -- what comes of a try

    def _body(self) -> RequestBody | HeldBody | None:
        """What to send as content."""
        content = self.exchange.content
        own = self.downstream.body
        if content is None:
            return own
        if own is not None and own.can_start:
            own.drop()  # The client's is read to its end and forgotten.
        return HeldBody(content) if content or own is not None else None

    def _try_failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, UpstreamError):
            failure.raiseException()
        runner = self.runner
        now = runner.clock.monotonic()
        status = status_of(error.kind)
        node = self._tried[-1]
        self.exchange.attempts.append(Attempt(node.key, status, now - self._try_started_s, error.kind))
        if self._failed is None or error.kind != reasons.NO_NODES:
            # A node whose name has no address counts as none, unless all are such (§7.5).
            self._failed = Reply(status, None, (), error.kind, f"{node.key}: {error}")
        if self._watched is not None:
            self._watched.failed(error, now - self._try_started_s, now)
        assert self._upstream is not None
        body = self._body()
        verdict = self._upstream.retry.verdict(
            attempts=len(self._tried),
            elapsed_s=now - self._first_try_s,
            method=self.exchange.method,
            sent=error.sent,
            body_started=body is not None and not body.can_start,
        )
        if verdict is RetryVerdict.AGAIN:
            self._pick()
        elif verdict is RetryVerdict.TOO_LATE:
            self._answer("balancer", Reply(502, None, (), reasons.RETRY_TIMEOUT, self._failed.detail))
        else:
            self._answer("upstream", self._failed)

    def _got_response(self, head: ResponseHead, protocol: bytes | None = None) -> None:
        exchange = self.exchange
        status = head.status
        exchange.answered_at = self.runner.clock.monotonic()
        took_s = exchange.answered_at - self._try_started_s
        exchange.attempts.append(Attempt(self._tried[-1].key, status, took_s, reasons.OK))
        if self._watched is not None:
            self._watched.answered(status, took_s)
        exchange.from_upstream = True
        exchange.status = status
        pairs, length = head.passed_on()
        pairs.append((b"server", self.runner.server))
        if protocol is not None:
            pairs.append((b"upgrade", protocol))
        exchange.response_fields = Fields(pairs)
        outcome = _SERVED.get(status)
        if outcome is None:
            outcome = _SERVED[status] = Outcome(status, "upstream", reasons.OK)
        self._outcome = outcome
        self._respond(length)

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
            body = b"" if reply.status in _NO_CONTENT_STATUSES else error_page(reply.status)
            fields.add(*_HTML)
        fields.set(b"server", self.runner.server)
        exchange.response_fields = fields
        self._outcome = Outcome(reply.status, by, reply.reason, reply.detail)
        self._respond(len(body))
        self._content(body)
        self._complete()

    def _respond(self, length: int | None) -> None:
        """Run header_filter and send the head."""
        exchange = self.exchange
        fields = exchange.response_fields
        if exchange.attempts and (exchange.attempts[-1].status >= 500 or self.runner.show_upstream_status):
            statuses = ", ".join(str(attempt.status) for attempt in exchange.attempts)
            fields.set(b"x-apisix-upstream-status", statuses.encode())
        chain, general = self._chain, exchange.snapshot.global_chain
        exchange.response_length = length
        for _, hook in general.header_filter:
            hook(exchange)
        for _, hook in chain.header_filter:
            hook(exchange)
        if general.header_filter or chain.header_filter or not exchange.from_upstream:
            exchange.response_fields.clean()
        if general.body_filter or chain.body_filter:
            length = None
        status = exchange.status
        if self._outcome is not None and self._outcome.status != status:
            self._outcome = evolve(self._outcome, status=status)
        self._content_wanted = exchange.request.method != b"HEAD" and status not in _NO_CONTENT_STATUSES
        self._responded = True
        self.downstream.respond(status, exchange.response_fields.pairs, length)

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
            self._watched.over(self.runner.clock.monotonic())
        if not exchange.status:
            exchange.status = outcome.status
        for chain in (exchange.snapshot.global_chain, self._chain):
            for name, hook in chain.log:
                try:
                    hook(exchange)
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
            self._answer("gateway", Reply(500, None, (), reasons.INTERNAL_ERROR, detail))
        except Exception:
            _log.failure("answering for a bug failed")
            self._stop(Outcome(500, "gateway", reasons.INTERNAL_ERROR, detail))
            self.downstream.abort()
