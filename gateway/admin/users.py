"""People: log-in and log-out, passwords, invitations, users and their roles (Admin API contract §3.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.admin.access import ADMIN, Access
from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise import Enterprise
from gateway.admin.enterprise_views import DIALECT, view
from gateway.admin.kinds import USER
from gateway.admin.listing import Listing
from gateway.admin.refusals import Forbidden, Invalid, NotAllowed, NotFound, Unauthorized
from gateway.admin.resources import Place, Resources
from gateway.admin.sessions import COOKIE
from gateway.control.state import State
from gateway.model.problems import Problem
from gateway.model.record import Change, Record
from gateway.model.schema import Checker, Document
from gateway.model.user import ASSIGNED_ROLES, LOGIN, NEW_PASSWORD, ROLES, SUPER_ADMIN, VIEWER

_PLACE = Place("", USER)
_PRIVATE = {"Cache-Control": "no-store"}
_LOGIN, _NEW_PASSWORD, _ASSIGNED = Checker(LOGIN), Checker(NEW_PASSWORD), Checker(ASSIGNED_ROLES)


def first_user(hash: str) -> Change:
    """The change that stores the first user, who may do everything."""
    return Change("", USER.name, ADMIN, {"username": ADMIN, "hash": hash, "roles": [SUPER_ADMIN]})


class Users:
    """Answers ``/api/login``, ``/api/password``, ``/api/invites`` and ``/api/users``."""

    def __init__(self, resources: Resources, renderer: Enterprise, access: Access) -> None:
        self._resources = resources
        self._renderer = renderer
        self._access = access

    def _view(self, record: Record) -> dict[str, Any]:
        return view(self._resources.state, USER, record)

    async def log_in(self, call: Call, address: str, *, secure: bool) -> Answer:
        """
        ``POST /api/login``: a session for whoever knows the password, as a cookie.

        Args:
            address: The peer's. secure: Whether the connection is encrypted.
        """
        if call.method != "POST":
            raise NotAllowed(("POST",))
        document = call.checked("user", _LOGIN)
        record = await self._access.log_in(document["username"], document["password"], address)
        sessions = self._access.sessions
        cookie = _cookie(sessions.begin(record.id), int(sessions.ttl_s), secure)
        return Answer(200, {"value": self._view(record)}, {**_PRIVATE, "Set-Cookie": cookie})

    async def log_out(self, call: Call, session: bytes | None, *, secure: bool) -> Answer:
        """``POST /api/logout``: end the session the call came with."""
        if call.method != "POST":
            raise NotAllowed(("POST",))
        if session is not None:
            self._access.sessions.end(session)
        return Answer(200, {}, {**_PRIVATE, "Set-Cookie": _cookie("", 0, secure)})

    async def password(self, call: Call, address: str) -> Answer:
        """``PUT /api/password``: a new one for the caller; all their sessions end."""
        if call.method != "PUT":
            raise NotAllowed(("PUT",))
        user = call.principal.user
        if user is None:
            raise Forbidden("this credential belongs to no user: log in with a password to change it")
        document = call.checked("user", _NEW_PASSWORD)
        record = self._resources.get(_PLACE, user)
        try:
            await self._access.log_in(record.value["username"], document["old_password"], address)
        except Unauthorized:
            raise Forbidden("the old password is wrong") from None
        hash = await self._access.hashed(document["new_password"])
        await self._change(call, user, lambda value: {**value, "hash": hash})
        self._access.sessions.end_all(user)
        return Answer(200, {}, _PRIVATE)

    async def invite(self, call: Call) -> Answer:
        """``POST /api/invites``: a new user, who may read until they are assigned another role."""
        if call.method != "POST":
            raise NotAllowed(("POST",))
        document = call.checked("user", USER.shapes[DIALECT].checker({}))
        hash = await self._access.hashed(document["password"])

        def finish(value: Document, before: Record | None) -> Document:
            return {"username": value["username"], "hash": hash, "roles": [VIEWER]}

        stored = await self._resources.create(_PLACE, document, call.caller, DIALECT, finish)
        return Answer(200, {"value": self._view(stored.record)}, _PRIVATE)

    async def collection(self, call: Call) -> Answer:
        """``GET /api/users``."""
        if call.method != "GET":
            raise NotAllowed(("GET", "HEAD"))
        page = Listing.parse(call.query, USER).of(self._resources.all(_PLACE))
        return Answer(200, {"list": [self._view(r) for r in page.records], "total": page.total})

    async def item(self, call: Call, id: str) -> Answer:
        """``/api/users/{id}``: look at one, or remove them with their tokens and sessions."""
        match call.method:
            case "GET":
                return self._renderer.one(USER, self._resources.get(_PLACE, id))
            case "DELETE":
                revision = await self._resources.delete(
                    _PLACE, id, call.caller, guard=lambda state, record: _last_admin(state, record.id, ())
                )
                self._access.sessions.end_all(id)
                return self._renderer.deleted(revision)
        raise NotAllowed(("GET", "HEAD", "DELETE"))

    async def assigned_roles(self, call: Call, id: str) -> Answer:
        """``PUT /api/users/{id}/assigned_roles``."""
        if call.method != "PUT":
            raise NotAllowed(("PUT",))
        roles = call.checked("user", _ASSIGNED)["roles"]

        def assign(value: Document) -> Document:
            return {**value, "roles": roles}

        return Answer(200, {"value": self._view(await self._change(call, id, assign, roles))})

    async def _change(
        self,
        call: Call,
        id: str,
        edit: Callable[[Document], Document],
        roles: Sequence[str] | None = None,
    ) -> Record:
        # No document of a client is stored here, so no schema is asked.
        def plan(state: State) -> Sequence[Change]:
            record = state.get("", USER.name, id)
            if record is None:
                raise NotFound()
            if roles is not None:
                _last_admin(state, id, roles)
                _check_roles(state, roles)
            return [Change("", USER.name, id, edit(dict(record.value)))]

        written = await self._resources.write(plan, call.caller)
        record = written.state.get("", USER.name, id)
        assert record is not None
        return record


def _check_roles(state: State, roles: Sequence[str]) -> None:
    """Refuse roles that are not there."""
    for place, role in enumerate(roles):
        if role not in ROLES and state.get("", "role", role) is None:
            raise Invalid(USER.name, [Problem(("roles", place), "reference", f"role {role} not found")])


def _last_admin(state: State, id: str, roles: Sequence[str]) -> None:
    """Refuse a change after which nobody could change anything: *id* would have *roles*."""
    if SUPER_ADMIN in roles:
        return
    others = (record for own, record in state.all("", USER.name).items() if own != id)
    if not any(SUPER_ADMIN in record.value["roles"] for record in others):
        raise Forbidden("this is the last user who may do everything")


def _cookie(value: str, max_age_s: int, secure: bool) -> str:
    parts = [f"{COOKIE}={value}", "Path=/", f"Max-Age={max_age_s}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if secure else parts)
