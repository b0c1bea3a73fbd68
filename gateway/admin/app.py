"""The Admin API on Klein: who calls, what for, and what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from attrs import evolve, field, frozen
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException

from gateway.admin import selection
from gateway.admin.apisix import Apisix, Seal
from gateway.admin.apisix_door import ApisixDoor
from gateway.admin.apisix_kinds import removal
from gateway.admin.apisix_pages import ApisixPages
from gateway.admin.calls import Answer, Call, Limits, Query
from gateway.admin.control_plane import ControlPlane, Explain, History, PluginPages, Status
from gateway.admin.enterprise import Enterprise
from gateway.admin.expiry import CallLater, Expiries
from gateway.admin.groups import Groups
from gateway.admin.json_text import write_json
from gateway.admin.refusals import Denied, Invalid, NotAllowed, NotFound, Refusal, TooLarge, Unauthorized
from gateway.admin.resources import Resources
from gateway.admin.site import AdminResource
from gateway.admin.static_keys import StaticKeys
from gateway.admin.tokens import Tokens
from gateway.control.control import Control
from gateway.control.state import State
from gateway.core.addresses import AddressSet
from gateway.errors import ConfigErrors, RevisionConflict, StoreUnavailable
from gateway.interfaces import Clock
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.record import Change, Key
from gateway.registry import PluginRegistry

Handler = Callable[[Call], Awaitable[Answer]]
Renderer = Enterprise | Apisix
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


@frozen
class ApisixOptions:
    """
    What gw.ini says about the apisix dialect.

    Attributes:
        keys: Who may use it. seal: Encrypts what answers to writes show of secrets.
        stream_routes: Whether there are stream routes. cors: Whether pages of other origins may read.
        version_shown: Whether the field Server tells the version.
    """

    keys: StaticKeys = field(factory=lambda: StaticKeys(None, None, DEFAULT_GROUP))
    seal: Seal = lambda key, value: value
    stream_routes: bool = True
    cors: bool = True
    version_shown: bool = True


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
        apisix: ApisixOptions | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        """
        Args:
            explain: Answers ``/api/explain``. status: Answers ``/api/status``.
            ready: Why the gateway cannot serve yet, or None if it can.
            history: The store's ``history``; None leaves ``/api/revisions`` out.
            apisix: Of the apisix dialect; by default nobody has a key for it.
            call_later: As the reactor's; None: what has a time to live stays.
        """
        self.resources = Resources(control, registry)
        self._limits = limits or Limits()
        self._ready = ready
        self._enterprise = Enterprise(self.resources)
        self._tokens = Tokens(self.resources, self._enterprise, clock)
        self._groups = Groups(self.resources, self._enterprise)
        self._control_plane = ControlPlane(explain, status, history)
        self._plugins = PluginPages(registry)
        options = apisix or ApisixOptions()
        pages = ApisixPages(registry)
        self._apisix = Apisix(
            self.resources,
            group=options.keys.group,
            clock=clock,
            seal=options.seal,
            stream_routes=options.stream_routes,
            cors=options.cors,
            version_shown=options.version_shown,
            pages={"plugins": pages.plugins, "schema": pages.schema},
        )
        self._keys = options.keys
        self._door = ApisixDoor(self._apisix, options.keys)
        self._expiries: Expiries | None = None
        if call_later is not None:
            self._expiries = Expiries(self.resources, clock, call_later, _removal)
            self.resources.on_expiry = self._expiries.follow

    def start(self) -> None:
        """Begin to remove what has a time to live."""
        if self._expiries is not None:
            self._expiries.follow()

    def stop(self) -> None:
        """Remove nothing any more."""
        if self._expiries is not None:
            self._expiries.stop()

    def resource(self, allowed: AddressSet | None = None) -> IResource:
        """
        The root of the resource tree, for a ``Site``.

        Args:
            allowed: Whose requests are answered; None for everybody's.
        """
        # Each instance is bound to the class's routes through the descriptor of Klein.
        bound: IResource = AdminResource(self.app, allowed)
        return bound

    def _dialect(self, call: Call) -> Enterprise:
        """Who answers a call that came through a route of the enterprise dialect."""
        return self._enterprise

    # Every path runs through here.

    async def _answer(self, request: Any, handler: Handler) -> bytes:
        renderer: Renderer = self._enterprise
        try:
            query = Query.parse(request.uri.partition(b"?")[2])
            renderer = self._renderer(request, query)
            answer = await shielded(self._handled(request, query, handler, renderer), self._log)
        except Refusal as refusal:
            answer = renderer.refuse(refusal)
        except ConfigErrors as errors:
            answer = renderer.refuse(Invalid("", errors.problems))
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
        return self._send(request, renderer.dress(answer))

    def _renderer(self, request: Any, query: Query) -> Renderer:
        """Who answers a request (contract §7.1)."""
        path = request.path.decode("ascii", "replace")
        sent = request.requestHeaders.getRawHeaders(b"x-api-key", []) or [request.getCookie(b"X-API-KEY")]
        key = sent[0] or b""
        known = key.startswith(selection.KEY_PREFIXES) or self._tokens.authenticate(key) is not None
        dialect = selection.dialect_of(path, query, known)
        return self._apisix if dialect == selection.APISIX else self._enterprise

    async def _handled(self, request: Any, query: Query, handler: Handler, renderer: Renderer) -> Answer:
        call = Call(
            method="GET" if request.method == b"HEAD" else request.method.decode("ascii"),
            path=request.path.decode("ascii", "replace"),
            query=query,
            headers=lambda name: field_value(request, name),
            read=lambda: self._content(request),
        )
        if renderer is self._apisix:
            return await self._door.answer(call, request.method.decode("ascii"))
        return await handler(evolve(call, author=self._author(request, call)))

    def _author(self, request: Any, call: Call) -> str:
        given = request.requestHeaders.getRawHeaders(b"x-api-key", [])
        if not given:
            cookie = request.getCookie(b"X-API-KEY")
            # A page of another site can make a browser send the cookie, but not the header.
            if cookie is None or request.getHeader(b"sec-fetch-site") in (b"cross-site", b"same-site"):
                raise Unauthorized()
            given = [cookie]
        record = self._tokens.authenticate(given[0])
        if record is None:
            return self._static_author(given[0], call)
        return str(record.value["name"])

    def _static_author(self, key: bytes, call: Call) -> str:
        """A static key opens the resources of its own group in this dialect too (contract §7.4)."""
        role = self._keys.role(key) if selection.is_under_root(call.path) else None
        if role is None:
            raise Unauthorized()
        if call.query.one(selection.GROUP_PARAMETER) not in (None, self._keys.group):
            raise Denied("the key is for another gateway group")
        if role == "viewer" and call.method != "GET":
            raise Denied("the key may only read")
        return f"apisix-{role}"

    def _content(self, request: Any) -> bytes:
        limit = self._limits.max_body_bytes
        if getattr(request, "too_large", False) or request.content.seek(0, 2) > limit:
            raise TooLarge(limit, max(getattr(request, "length", 0), request.content.seek(0, 2)))
        request.content.seek(0)
        raw: bytes = request.content.read(limit)
        return raw

    def _send(self, request: Any, answer: Answer) -> bytes:
        text = answer.body
        body = text if isinstance(text, bytes) else b"" if text is None else write_json(text)
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

    @app.route("/apisix/admin/consumers/<username>/credentials")
    async def _credentials(self, request: Any, username: str) -> bytes:
        return await self._answer(
            request, lambda call: self._dialect(call).collection(call, "credentials", username)
        )

    @app.route("/apisix/admin/consumers/<username>/credentials/<id>")
    async def _credential(self, request: Any, username: str, id: str) -> bytes:
        return await self._answer(
            request, lambda call: self._dialect(call).item(call, "credentials", id, username)
        )

    @app.route("/apisix/admin/<path>")
    async def _collection(self, request: Any, path: str) -> bytes:
        return await self._answer(request, lambda call: self._dialect(call).collection(call, path))

    @app.route("/apisix/admin/<path>/<id>")
    async def _item(self, request: Any, path: str, id: str) -> bytes:
        return await self._answer(request, lambda call: self._dialect(call).item(call, path, id))

    @app.route("/apisix/admin")
    @app.route("/apisix/admin/<path:rest>")
    async def _elsewhere(self, request: Any, rest: str = "") -> bytes:
        # The apisix dialect has paths of more segments, and reads them itself.
        return await self._answer(request, _missing)

    @app.handle_errors(HTTPException)
    async def _no_such_path(self, request: Any, failure: Failure) -> bytes:
        return await self._answer(request, _missing)


async def _missing(call: Call) -> Answer:
    raise NotFound()


def _removal(state: State, key: Key) -> Sequence[Change]:
    return [Change(key[0], kind, id, None) for kind, id in removal(state, key)]
