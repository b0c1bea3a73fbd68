"""The Admin API on Klein: who calls, what for, and what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from attrs import evolve, field, frozen
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException

from gateway.admin import selection
from gateway.admin.access import Access, AccessLimits, Presented
from gateway.admin.apisix import Apisix, Seal
from gateway.admin.apisix_configs import ApisixConfigs
from gateway.admin.apisix_door import ApisixDoor
from gateway.admin.apisix_kinds import removal
from gateway.admin.apisix_pages import ApisixPages
from gateway.admin.calls import Answer, Call, Limits, Query
from gateway.admin.control_plane import ControlPlane, Explain, History, PluginPages, Status
from gateway.admin.enterprise import Enterprise
from gateway.admin.expiry import CallLater, Expiries
from gateway.admin.groups import Groups
from gateway.admin.incoming import client_address, field_value, presented, shielded
from gateway.admin.json_text import write_json
from gateway.admin.listed import Listed
from gateway.admin.passwords import Elsewhere, here
from gateway.admin.principal import GATEWAY, Principal
from gateway.admin.refusals import BadParameter, Denied, Invalid, NotAllowed, NotFound, Refusal, TooLarge
from gateway.admin.resources import Resources
from gateway.admin.roles import Roles
from gateway.admin.sessions import COOKIE
from gateway.admin.site import AdminResource
from gateway.admin.static_keys import StaticKeys
from gateway.admin.templates import Templates
from gateway.admin.tokens import Tokens
from gateway.admin.tools import Tools
from gateway.admin.users import Users
from gateway.control.control import Control
from gateway.control.state import State
from gateway.control.turns import turn
from gateway.core.addresses import AddressSet
from gateway.errors import ConfigErrors, RevisionConflict, StoreUnavailable
from gateway.interfaces import Clock
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.record import Change, Key
from gateway.registry import PluginRegistry

Handler = Callable[[Call], Awaitable[Answer]]
Renderer = Enterprise | Apisix


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
        access: AccessLimits | None = None,
        elsewhere: Elsewhere = here,
        instances: Callable[[], Any] = list,
        apisix: ApisixOptions | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        """
        Args:
            explain: Answers ``/api/explain``. status: Answers ``/api/status``.
            ready: Why the gateway cannot serve yet, or None if it can.
            history: The store's ``history``; None leaves ``/api/revisions`` out.
            access: Limits of log-ins and sessions. elsewhere: Where passwords are hashed.
            instances: The data planes, each as a JSON object; or an awaitable of them.
            apisix: Of the apisix dialect; by default nobody has a key for it.
            call_later: As the reactor's; None: what has a time to live stays.
        """
        self.resources = Resources(control, registry)
        self._limits = limits or Limits()
        self._ready = ready
        self._call_later = call_later
        self._enterprise = Enterprise(self.resources, status)
        self._access = Access(self.resources, clock, limits=access, elsewhere=elsewhere)
        self._tokens = Tokens(self.resources, self._enterprise)
        self._users = Users(self.resources, self._enterprise, self._access)
        self._roles = Roles(self.resources, self._enterprise)
        self._groups = Groups(self.resources, self._enterprise)
        self._instances = instances
        self._tools = Tools(self.resources)
        self._templates = Templates(self.resources, self._enterprise, clock)
        self._control_plane = ControlPlane(explain, status, history)
        self._plugins = PluginPages(registry)
        options = apisix or ApisixOptions()
        pages = ApisixPages(registry)
        configs = ApisixConfigs(self.resources, group=options.keys.group, clock=clock, call_later=call_later)
        self._apisix = Apisix(
            self.resources,
            group=options.keys.group,
            clock=clock,
            seal=options.seal,
            stream_routes=options.stream_routes,
            cors=options.cors,
            version_shown=options.version_shown,
            pages={"plugins": pages.plugins, "schema": pages.schema, "configs": configs.answer},
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

    def resource(self, allow: Sequence[Any] | None = None, *, page: bool = False) -> IResource:
        """
        The root of the resource tree, for a ``Site``.

        Args:
            allow: Addresses and networks whose requests are looked at, as text or as what stands
                for them; None for all.
            page: Whether others are told so by a page, not by JSON.
        """
        # Each instance is bound to the class's routes through the descriptor of Klein.
        allowed = None if allow is None else AddressSet.parse([str(each) for each in allow])
        bound: IResource = AdminResource(self.app, allowed, page=page)
        return bound

    def _dialect(self, call: Call) -> Enterprise:
        """Who answers a call that came through a route of the enterprise dialect."""
        return self._enterprise

    # Every path runs through here.

    async def _answer(self, request: Any, handler: Handler, *, open: bool = False) -> bytes:
        """
        Answer a request.

        Args:
            open: Whether anybody may call.
        """
        renderer: Renderer = self._enterprise
        try:
            call = self._call(request)
            shown = presented(request)
            renderer = self._renderer(shown, call)
            if renderer is self._apisix:
                work = self._door.answer(call, shown.method, foreign=shown.is_foreign)
            else:
                work = self._handled(call, shown, handler, open)
            answer = await self._rendered(await shielded(work, self._log))
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

    def _call(self, request: Any) -> Call:
        return Call(
            method="GET" if request.method == b"HEAD" else request.method.decode("ascii"),
            path=request.path.decode("ascii", "replace"),
            query=Query.parse(request.uri.partition(b"?")[2]),
            headers=lambda name: field_value(request, name),
            read=lambda: self._content(request),
            principal=GATEWAY,
        )

    def _renderer(self, shown: Presented, call: Call) -> Renderer:
        """Who answers a request (contract §7.1)."""
        dialect = selection.dialect_of(call.path, call.query, self._access.is_enterprise(shown))
        return self._apisix if dialect == selection.APISIX else self._enterprise

    async def _handled(self, call: Call, shown: Presented, handler: Handler, open: bool) -> Answer:
        if open:
            return await handler(call)
        principal = self._static_principal(shown, call) or await self._access.principal(shown)
        principal.check(shown.method, call.path, call.query.one(selection.GROUP_PARAMETER))
        return await handler(evolve(call, principal=principal))

    def _static_principal(self, shown: Presented, call: Call) -> Principal | None:
        """A static key opens the resources of its own group in this dialect too (contract §7.4)."""
        key = shown.header(b"x-api-key")
        if key is None or not selection.is_under_root(call.path):
            return None
        principal = self._keys.principal(key)
        if principal is not None and call.query.one(selection.GROUP_PARAMETER) is None:
            raise BadParameter(selection.GROUP_PARAMETER, "value is required but missing")
        return principal

    def _content(self, request: Any) -> bytes:
        limit = self._limits.max_body_bytes
        if getattr(request, "too_large", False) or request.content.seek(0, 2) > limit:
            size = max(getattr(request, "length", 0), request.content.seek(0, 2))
            raise TooLarge(limit, size)
        request.content.seek(0)
        raw: bytes = request.content.read(limit)
        return raw

    async def _rendered(self, answer: Answer) -> Answer:
        """The text of a list; of a long one in turns with others."""
        if not isinstance(answer.body, Listed):
            return answer
        parts = []
        for part in answer.body.parts():
            parts.append(part)
            if answer.body.is_long and self._call_later is not None:
                await turn(self._call_later)
        return evolve(answer, body=b"".join(parts))

    def _send(self, request: Any, answer: Answer) -> bytes:
        body = b"" if answer.body is None else answer.body
        if not isinstance(body, bytes):
            body = write_json(body)
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

    # People

    @app.route("/api/login")
    async def _log_in(self, request: Any) -> bytes:
        async def answer(call: Call) -> Answer:
            if presented(request).is_foreign:
                raise Denied("a page of another site cannot log in")
            return await self._users.log_in(call, client_address(request), secure=request.isSecure())

        return await self._answer(request, answer, open=True)

    @app.route("/api/logout")
    async def _log_out(self, request: Any) -> bytes:
        session = request.getCookie(COOKIE.encode())
        return await self._answer(
            request, lambda call: self._users.log_out(call, session, secure=request.isSecure())
        )

    @app.route("/api/password")
    async def _password(self, request: Any) -> bytes:
        address = client_address(request)
        return await self._answer(request, lambda call: self._users.password(call, address))

    @app.route("/api/invites")
    async def _invites(self, request: Any) -> bytes:
        return await self._answer(request, self._users.invite)

    @app.route("/api/users")
    async def _user_list(self, request: Any) -> bytes:
        return await self._answer(request, self._users.collection)

    @app.route("/api/users/<id>")
    async def _user(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._users.item(call, id))

    @app.route("/api/users/<id>/assigned_roles")
    async def _assigned_roles(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._users.assigned_roles(call, id))

    @app.route("/api/roles")
    async def _role_list(self, request: Any) -> bytes:
        return await self._answer(request, self._roles.roles)

    @app.route("/api/roles/<id>")
    async def _role(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._roles.role(call, id))

    @app.route("/api/roles/<id>/permission_policies")
    async def _policies_of_role(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._roles.attached(call, id))

    @app.route("/api/permission_policies")
    async def _policy_list(self, request: Any) -> bytes:
        return await self._answer(request, self._roles.policies)

    @app.route("/api/permission_policies/<id>")
    async def _policy(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._roles.policy(call, id))

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

    @app.route("/api/openapi.json")
    async def _openapi(self, request: Any) -> bytes:
        return await self._answer(request, self._control_plane.openapi)

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

    @app.route("/api/gateway_groups/<id>/admin_key")
    async def _admin_key(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.admin_key(call, id))

    @app.route("/api/gateway_groups/<id>/instance_token")
    async def _instance_token(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.instance_token(call, id))

    @app.route("/api/gateway_groups/<id>/dp_client_certificates")
    async def _client_certificate(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.client_certificate(call, id))

    @app.route("/api/gateway_groups/<id>/services")
    async def _group_services(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.services(call, id))

    @app.route("/api/gateway_groups/<id>/services/<service>")
    async def _group_service(self, request: Any, id: str, service: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.services(call, id, service))

    @app.route("/api/gateway_groups/<id>/services/<service>/healthcheck")
    async def _group_health(self, request: Any, id: str, service: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.health(call, id, service))

    @app.route("/api/gateway_groups/<id>/instances")
    async def _group_instances(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._groups.instances(call, id, self._instances))

    @app.route("/api/instances")
    async def _all_instances(self, request: Any) -> bytes:
        return await self._answer(request, lambda call: self._groups.instances(call, None, self._instances))

    # Templates

    @app.route("/api/services/publish")
    async def _publish(self, request: Any) -> bytes:
        return await self._answer(request, self._templates.publish)

    @app.route("/api/import/services/template")
    async def _import(self, request: Any) -> bytes:
        return await self._answer(request, self._templates.import_services)

    @app.route("/api/services/template/<id>/versions")
    async def _versions(self, request: Any, id: str) -> bytes:
        return await self._answer(request, lambda call: self._templates.versions(call, id))

    @app.route("/api/<any(services, routes, stream_routes):path>/template")
    async def _template_list(self, request: Any, path: str) -> bytes:
        return await self._answer(request, lambda call: self._templates.collection(call, path))

    @app.route("/api/<any(services, routes, stream_routes):path>/template/<id>")
    async def _template(self, request: Any, path: str, id: str) -> bytes:
        return await self._answer(request, lambda call: self._templates.item(call, path, id))

    # Small calls

    @app.route("/api/parse_certificate")
    async def _parse_certificate(self, request: Any) -> bytes:
        return await self._answer(request, self._tools.parse_certificate)

    @app.route("/api/validate_cert_key")
    async def _validate_cert_key(self, request: Any) -> bytes:
        return await self._answer(request, self._tools.validate_cert_key)

    @app.route("/api/license")
    async def _licence(self, request: Any) -> bytes:
        return await self._answer(request, self._tools.licence)

    @app.route("/api/system_settings")
    async def _system_settings(self, request: Any) -> bytes:
        return await self._answer(request, self._tools.system_settings)

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

    @app.route("/apisix/admin")
    @app.route("/apisix/admin/<path:rest>")
    async def _resource(self, request: Any, rest: str = "") -> bytes:
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


def _removal(state: State, key: Key) -> Sequence[Change]:
    return [Change(*each, None) for each in removal(state, key)]
