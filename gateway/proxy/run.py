"""Drives a request: match, plugins, upstream, answer, log. The order of things is here and nowhere else.

Everything runs as plain calls until something has to wait. How it is answered and ends, bugs
included, is ``gateway.proxy.answering``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.core import reasons
from gateway.core.chain import Hook
from gateway.core.content_variables import is_readable
from gateway.core.exchange import Attempt, ContentTooLarge, Outcome, Reply
from gateway.core.fields import Fields
from gateway.core.opening import match_route
from gateway.core.retry import RetryVerdict, status_of
from gateway.core.snapshot import CompiledUpstream
from gateway.core.upgrade import answered
from gateway.http1.response import ResponseHead
from gateway.model.upstream import Node
from gateway.proxy.answering import TOO_LARGE, Answering
from gateway.proxy.health import WatchedTry
from gateway.proxy.known_answer import known_answer
from gateway.proxy.request_body import HeldBody, RequestBody
from gateway.proxy.tunnel import Tunnel, TunnelFlow
from gateway.upstream.errors import UpstreamError

NOT_FOUND = Reply.json(404, {"error_msg": "404 Route Not Found"}, reason=reasons.ROUTE_NOT_FOUND)
"""The contract's answer when no route takes a request (data-plane contract §3.4)."""
_NO_UPSTREAM = Reply(503, None, (), reasons.NO_UPSTREAM)
_MISSING_UPSTREAM = Reply(502, None, (), reasons.REFERENCE_MISSING, "the upstream it names does not exist")
_NO_NODES = Reply(503, None, (), reasons.NO_NODES)
_BAD_SWITCH = Reply(502, None, (), reasons.UPSTREAM_BAD_RESPONSE, "101 without Upgrade")
_NO_NODE = Reply(502, None, (), reasons.NO_HEALTHY_NODE)

# What comes of nearly every request: one object for each status.
_SERVED: dict[int, Outcome] = {}


class _Sending:
    """Stands for a request while it is being sent; it may be answered before that returns."""

    def cancel(self) -> None:
        """As ``Cancellable.cancel``: whoever sends it looks again afterwards."""


_SENDING = _Sending()

_NO_HOOKS: Iterator[tuple[str, Hook]] = iter(())

# The stages of a request, in order. Each is a tuple of hooks to walk through.
_GLOBAL_REWRITE, _ROUTE_REWRITE, _CONSUMER_REWRITE, _GLOBAL_ACCESS, _ACCESS = range(5)
_GLOBAL_BEFORE_PROXY, _BEFORE_PROXY, _SEND = range(5, 8)


@implementer(IPushProducer)
@define(eq=False, slots=True)
class Run(Answering):
    """
    One request on its way through the gateway.

    It waits for the upstream's response (``ResponseWaiter``), takes its content (``ContentTaker``), and
    is the source of what the client is sent (``IPushProducer``).
    """

    _stage: int = _GLOBAL_REWRITE
    _hooks: Iterator[tuple[str, Hook]] = _NO_HOOKS
    _upstream: CompiledUpstream | None = None
    _tried: tuple[Node, ...] = ()
    _first_try_s: float = 0.0
    _try_started_s: float = 0.0
    _failed: Reply | None = None

    def start(self) -> None:
        """Serve it."""
        try:
            exchange = self.exchange
            exchange.source = self.downstream.body
            # Routes and plugins may ask for what stands in the content.
            if exchange.source is not None and exchange.snapshot.content_routes and is_readable(exchange):
                self._gather(self._begin)
            else:
                self._begin()
        except Exception:
            self._bug(Failure())

    # -- the way through the plugins

    def _begin(self) -> None:
        """Find the route, and begin to walk through its plugins."""
        exchange = self.exchange
        match_route(exchange)
        general, route = exchange.snapshot.global_chain, exchange.route
        if exchange.source is not None and exchange.held is None:
            reads = general.reads_content or (route is not None and route.chain.reads_content)
            if reads and is_readable(exchange):
                self._hooks = iter(general.rewrite)
                self._gather(self._walk)
                return
        if route is None or not general.silent:
            self._hooks = iter(general.rewrite)
            self._walk()
            return
        # What _walk comes to, without the stages on the way where nobody has a say.
        chain = self._chain = route.chain
        if chain.rewrite:
            if not self._pass(_ROUTE_REWRITE, iter(chain.rewrite)):
                return
            if exchange.consumer is not None and exchange.consumer.adds:
                self._stage = _ROUTE_REWRITE
                self._walk()
                return
        if not chain.access or self._pass(_ACCESS, iter(chain.access)):
            self._first_try()

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

    def _pass(self, stage: int, hooks: Iterator[tuple[str, Hook]]) -> bool:
        """
        Call hooks until one answers or has to wait.

        Returns:
            Whether none did. If one waits, ``_walk`` goes on behind it.
        """
        exchange = self.exchange
        for name, hook in hooks:
            verdict = hook(exchange)
            if verdict is None:
                continue
            if type(verdict) is Reply:
                self._answer(f"plugin:{name}", verdict)
            else:
                self._stage = stage
                self._hooks = hooks
                self._wait(
                    Deferred.fromCoroutine(verdict),  # type: ignore[arg-type]
                    self._resumed,
                    name,
                    errors=self._hook_failed,
                )
            return False
        return True

    def _walk(self) -> None:
        """Go on from where it is, stage by stage, until the request can be sent."""
        exchange = self.exchange
        stage, hooks = self._stage, self._hooks
        while self._pass(stage, hooks):
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
            found: tuple[tuple[str, Hook], ...] = ()
            if stage == _GLOBAL_REWRITE:
                if exchange.route is not None:
                    self._chain = exchange.route.chain
                stage = _ROUTE_REWRITE
                found = self._chain.rewrite
            elif stage == _ROUTE_REWRITE and (consumer := exchange.consumer) is not None and consumer.adds:
                stage = _CONSUMER_REWRITE
                if exchange.route is not None:
                    merged = exchange.snapshot.consumer_chain(exchange.route, consumer)
                    self._chain = merged.chain
                    found = merged.rewrite
                    if merged.chain.reads_content and exchange.held is None and is_readable(exchange):
                        self._stage, self._hooks = stage, iter(found)
                        self._gather(self._walk)
                        return
            elif stage <= _CONSUMER_REWRITE:
                found = exchange.snapshot.global_chain.access
                if found:
                    stage = _GLOBAL_ACCESS
                else:
                    stage = _ACCESS
                    found = self._chain.access
            elif stage == _GLOBAL_ACCESS:
                stage = _ACCESS
                found = self._chain.access
            else:
                stage = _BEFORE_PROXY
                found = self._chain.before_proxy
            hooks = iter(found)

    def _resumed(self, verdict: Reply | None, name: str) -> None:
        if verdict is None:
            self._walk()
        else:
            self._answer(f"plugin:{name}", verdict)

    def _hook_failed(self, failure: Failure) -> None:
        if failure.check(ContentTooLarge) is None:
            failure.raiseException()
        self._answer("gateway", TOO_LARGE)

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
            exchange.node = node
            self._stage = _GLOBAL_BEFORE_PROXY
            self._hooks = iter(general)
            self._walk()
        else:
            self._send()

    def _send(self) -> None:
        node = self._tried[-1]
        now = self.runner.monotonic
        self._try_started_s = now()
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
            self._flow = connection
            if self._got_response(head, content if connection is None else None):
                return self
            if connection is not None:
                self._more_to_come(content)
                return self
            if content:
                self._content(content)
            self._complete()
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
        self._got_response(head, None, protocol)
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

    def _more_to_come(self, content: bytes) -> None:
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

    @property
    def outlet(self) -> Any:
        """See ``gateway.http1.conduit.Outlet``."""
        chain, general = self._chain, self.exchange.snapshot.global_chain
        if self._over or not self._content_wanted:
            return None
        if chain.body_filter or chain.body_tap or general.body_filter or general.body_tap:
            return None
        return self.downstream.outlet

    def passed(self, size: int) -> None:
        """See ``gateway.http1.conduit.Outlet``."""
        self.exchange.bytes_sent += size

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
        now = runner.monotonic()
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

    def _got_response(self, head: ResponseHead, content: bytes | None, protocol: bytes | None = None) -> bool:
        """
        Answer with the upstream's head.

        Args:
            content: All of the content, if that is there. protocol: What a 101 goes on with.
        Returns:
            Whether content and all is sent.
        """
        exchange = self.exchange
        runner = self.runner
        status = head.status
        now = runner.monotonic
        exchange.answered_at = now()
        took_s = exchange.answered_at - self._try_started_s
        exchange.attempts.append(Attempt(self._tried[-1].key, status, took_s, reasons.OK))
        if self._watched is not None:
            self._watched.answered(status, took_s)
        exchange.from_upstream = True
        exchange.status = status
        known = known_answer(head, runner.server) if head.shared else None
        if known is not None:
            length: int | None = known.length
            exchange.written, exchange.asked_fields = known, None
            if exchange.added and not known.names.isdisjoint(exchange.added_names):
                exchange.answer_with(Fields(known.pairs))
                known = None
        else:
            pairs, length = head.passed_on()
            pairs.append((b"server", runner.server))
            if protocol is not None:
                pairs.append((b"upgrade", protocol))
            exchange.answer_with(Fields(pairs))
        outcome = _SERVED.get(status)
        if outcome is None:
            outcome = _SERVED[status] = Outcome(status, "upstream", reasons.OK)
        self._outcome = outcome
        return self._respond(length, known, content)
