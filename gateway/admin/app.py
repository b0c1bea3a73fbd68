"""The Admin API on Klein: who calls, what for, and what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, TypeVar

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException

from gateway.admin.calls import Answer, Call, Limits, Query
from gateway.admin.control_plane import ControlPlane, Explain, History, PluginPages, Status
from gateway.admin.enterprise import Enterprise
from gateway.admin.groups import Groups
from gateway.admin.json_text import write_json
from gateway.admin.refusals import Invalid, NotAllowed, NotFound, Refusal, TooLarge, Unauthorized
from gateway.admin.resources import Resources
from gateway.admin.site import AdminResource
from gateway.admin.tokens import Tokens
from gateway.control.control import Control
from gateway.errors import ConfigErrors, RevisionConflict, StoreUnavailable
from gateway.interfaces import Clock
from gateway.registry import PluginRegistry

Handler = Callable[[Call], Awaitable[Answer]]
_T = TypeVar("_T")


def shielded(work: Coroutine[Any, Any, _T], log: Logger) -> Deferred[_T]:
    """
    Run *work* to its end even if nobody waits for it any more.

    A client that hangs up must not stop a write between its commit and its publication.

    Returns:
        Fires with the result; cancelling it leaves the work alone.
    """
    waiting: Deferred[_T] = Deferred()
    running = Deferred.fromCoroutine(work)

    def done(result: _T) -> None:
        if not waiting.called:
            waiting.callback(result)

    def failed(failure: Failure) -> None:
        if not waiting.called:
            waiting.errback(failure)
        elif not isinstance(failure.value, (Refusal, ConfigErrors)):
            log.failure("an admin call whose client is gone failed", failure)

    running.addCallbacks(done, failed)
    return waiting


def field_value(request: Any, name: str) -> str | None:
    """
    Read a field of the request: its lines joined as RFC 9110 section 5.3 says, None if there are none.

    Bytes that are not UTF-8 are replaced: they match no tag, and do no harm in a reason.
    """
    lines = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    return None if lines is None else b", ".join(lines).decode("utf-8", "replace")


class AdminAPI:
    """
    The Admin API of one gateway.

    Attributes:
        resources: The resource service, for others who change the configuration.
    """

    app = Klein()
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    _log = Logger()

    def __init__(
        self,
        control: Control,
        registry: PluginRegistry,
        *,
        clock: Clock,
        explain: Explain,
        status: Status,
        ready: Callable[[], str | None] = lambda: None,
        limits: Limits | None = None,
        history: History | None = None,
    ) -> None:
        """
        Args:
            explain: Answers ``/api/explain``. status: Answers ``/api/status``.
            ready: Why the gateway cannot serve yet, or None if it can.
            history: The store's ``history``; None leaves ``/api/revisions`` out.
        """
        self.resources = Resources(control, registry)
        self._limits = limits or Limits()
        self._ready = ready
        self._enterprise = Enterprise(self.resources)
        self._tokens = Tokens(self.resources, self._enterprise, clock)
        self._groups = Groups(self.resources, self._enterprise)
        self._control_plane = ControlPlane(explain, status, history)
        self._plugins = PluginPages(registry)

    def resource(self) -> IResource:
        """The root of the resource tree, for a ``Site``."""
        # Each instance is bound to the class's routes through the descriptor of Klein.
        bound: IResource = AdminResource(self.app)
        return bound

    def _dialect(self, call: Call) -> Enterprise:
        """Who answers a call under ``/apisix/admin`` (contract §7.1); one dialect is there so far."""
        return self._enterprise

    # Every path runs through here.

    async def _answer(self, request: Any, handler: Handler) -> bytes:
        try:
            answer = await shielded(self._handled(request, handler), self._log)
        except Refusal as refusal:
            answer = self._enterprise.refuse(refusal)
        except ConfigErrors as errors:
            answer = self._enterprise.refuse(Invalid("", errors.problems))
        except (StoreUnavailable, RevisionConflict) as error:
            self._log.error("the configuration store refused a write: {reason}", reason=str(error))
            answer = Answer(503, {"error_msg": str(error)})
        except CancelledError:
            raise
        except Exception:
            self._log.failure(
                "an admin call failed: {method} {path}", method=request.method, path=request.path
            )
            answer = Answer(500, {"error_msg": "internal error"})
        return self._send(request, answer)

    async def _handled(self, request: Any, handler: Handler) -> Answer:
        path = request.path.decode("ascii", "replace")
        author = self._author(request)
        call = Call(
            method="GET" if request.method == b"HEAD" else request.method.decode("ascii"),
            path=path,
            query=Query.parse(request.uri.partition(b"?")[2]),
            headers=lambda name: field_value(request, name),
            read=lambda: self._content(request),
            author=author,
        )
        return await handler(call)

    def _author(self, request: Any) -> str:
        given = request.requestHeaders.getRawHeaders(b"x-api-key", [])
        if not given:
            cookie = request.getCookie(b"X-API-KEY")
            # A page of another site can make a browser send the cookie, but not the header.
            if cookie is None or request.getHeader(b"sec-fetch-site") in (b"cross-site", b"same-site"):
                raise Unauthorized()
            given = [cookie]
        record = self._tokens.authenticate(given[0])
        if record is None:
            raise Unauthorized()
        return str(record.value["name"])

    def _content(self, request: Any) -> bytes:
        limit = self._limits.max_body_bytes
        if getattr(request, "too_large", False) or request.content.seek(0, 2) > limit:
            raise TooLarge(limit)
        request.content.seek(0)
        raw: bytes = request.content.read(limit)
        return raw

    def _send(self, request: Any, answer: Answer) -> bytes:
        body = b"" if answer.body is None else write_json(answer.body)
        request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"content-length", str(len(body)).encode())
        request.setHeader(b"x-gateway-revision", str(self.resources.state.revision).encode())
        for name, value in answer.headers.items():
            request.setHeader(name.encode(), value.encode())
        return body

    # Without a token

    @app.route("/status")
    def _alive(self, request: Any) -> bytes:
        return self._probe(request, None)

    @app.route("/status/ready")
    def _is_ready(self, request: Any) -> bytes:
        return self._probe(request, self._ready())

    def _probe(self, request: Any, fault: str | None) -> bytes:
        if request.method not in (b"GET", b"HEAD"):
            return self._send(request, self._enterprise.refuse(NotAllowed(("GET", "HEAD"))))
        if fault is None:
            return self._send(request, Answer(200, {"status": "ok"}))
        return self._send(request, Answer(503, {"status": "error", "error": fault}))

    # The control plane

    @app.route("/api/version")
    async def _version(self, request: Any) -> bytes:
        return await self._answer(request, self._control_plane.version)

    @app.route("/api/status")
    async def _status(self, request: Any) -> bytes:
        return await self._answer(request, self._control_plane.status)

    @app.route("/api/schema/core")
    async def _core_schemas(self, request: Any) -> bytes:
        return await self._answer(request, self._control_plane.core_schemas)

    @app.route("/api/revisions")
    async def _revisions(self, request: Any) -> bytes:
        return await self._answer(request, self._control_plane.revisions)

    @app.route("/api/explain")
    async def _explain(self, request: Any) -> bytes:
        return await self._answer(request, self._control_plane.explain)

    @app.route("/api/tokens")
    async def _token_list(self, request: Any) -> bytes:
        return await self._answer(request, self._tokens.collection)

    @app.route("/api/tokens/<id>")
    async def _token(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._tokens.item(call, id))

    @app.route("/api/gateway_groups")
    async def _group_list(self, request: Any) -> bytes:
        return await self._answer(request, self._groups.collection)

    @app.route("/api/gateway_groups/<id>")
    async def _group(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.item(call, id))

    # The resources of a gateway group

    @app.route("/apisix/admin/plugins")
    async def _plugin_pages(self, request: Any) -> bytes:
        return await self._answer(request, self._plugins.all)

    @app.route("/apisix/admin/plugins/list")
    async def _plugin_names(self, request: Any) -> bytes:
        return await self._answer(request, self._plugins.names)

    @app.route("/apisix/admin/plugins/<name>")
    @app.route("/apisix/admin/schema/plugins/<name>")
    async def _plugin_schema(self, request: Any, name: str) -> bytes:
        return await self._answer(request, lambda call: self._plugins.schema(call, name))

    @app.route("/apisix/admin/<path:rest>")
    async def _resource(self, request: Any, rest: str) -> bytes:
        segments = rest.removesuffix("/").split("/")

        async def answer(call: Call) -> Answer:
            if not all(segments):
                raise NotFound()
            return await self._dialect(call).answer(call, segments)

        return await self._answer(request, answer)

    @app.handle_errors(HTTPException)
    async def _no_such_path(self, request: Any, failure: Failure) -> bytes:
        async def missing(call: Call) -> Answer:
            raise NotFound()

        return await self._answer(request, missing)
