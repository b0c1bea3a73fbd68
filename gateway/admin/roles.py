"""Roles and permission policies: what people may do who may not do everything (Admin API contract §3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.admin.calls import Answer, Call
from gateway.admin.control_plane import only
from gateway.admin.enterprise import Enterprise
from gateway.admin.enterprise_views import DIALECT, view
from gateway.admin.kind import Kind
from gateway.admin.kinds import POLICY, ROLE
from gateway.admin.listing import Listing
from gateway.admin.refusals import Forbidden
from gateway.admin.resources import Place, Resources
from gateway.control.state import State
from gateway.model.record import Record
from gateway.model.role import ATTACHED
from gateway.model.schema import Checker, Document
from gateway.model.user import ROLES

_ATTACHED = Checker(ATTACHED)


class Roles:
    """Answers ``/api/roles`` and ``/api/permission_policies``."""

    def __init__(self, resources: Resources, renderer: Enterprise) -> None:
        self._resources = resources
        self._renderer = renderer

    async def roles(self, call: Call) -> Answer:
        """``/api/roles``: the two that are built in and those that people made; or one more."""
        built_in = [{"id": id, "name": name} for id, name in ROLES.items()]
        return await self._collection(call, ROLE, built_in)

    async def policies(self, call: Call) -> Answer:
        """``/api/permission_policies``: list them, or make one."""
        return await self._collection(call, POLICY, [])

    async def role(self, call: Call, id: str) -> Answer:
        """``/api/roles/{id}``: look at one, replace it, or delete it if nobody has it."""
        if id in ROLES:
            only(call, "GET", "PUT", "DELETE")
            if call.method != "GET":
                raise Forbidden(f"the role {id} is built in")
            return Answer(200, {"value": {"id": id, "name": ROLES[id]}})
        return await self._item(call, ROLE, id, _unassigned)

    async def policy(self, call: Call, id: str) -> Answer:
        """``/api/permission_policies/{id}``: look at one, replace it, or delete it if no role has it."""
        return await self._item(call, POLICY, id, _unattached)

    async def attached(self, call: Call, id: str) -> Answer:
        """``/api/roles/{id}/permission_policies``: the policies of a role, or other ones for it."""
        only(call, "GET", "PUT")
        place = Place("", ROLE)
        if call.method == "GET":
            state = self._resources.state
            ids = self._resources.get(place, id).value.get("permission_policies", ())
            found = [state.get("", POLICY.name, each) for each in ids]
            shown = [view(state, POLICY, record) for record in found if record is not None]
            return Answer(200, {"list": shown, "total": len(shown)})
        wanted = call.checked("role", _ATTACHED)["permission_policies"]

        def attach(document: Document) -> Any:
            return {**document, "permission_policies": wanted}

        stored = await self._resources.patch(place, id, attach, call.caller, DIALECT)
        return self._renderer.stored(ROLE, stored)

    async def _collection(self, call: Call, kind: Kind, first: Sequence[Document]) -> Answer:
        only(call, "GET", "POST")
        place = Place("", kind)
        if call.method == "POST":
            stored = await self._resources.create(place, call.document(), call.caller, DIALECT)
            return self._renderer.stored(kind, stored)
        page = Listing.parse(call.query, kind).of(self._resources.all(place))
        state = self._resources.state
        shown = [view(state, kind, record) for record in page.records]
        # What is built in stands before the first page.
        if call.query.number("page", 1) == 1:
            shown = [*first, *shown]
        return Answer(200, {"list": shown, "total": page.total + len(first)})

    async def _item(self, call: Call, kind: Kind, id: str, guard: Any) -> Answer:
        only(call, "GET", "PUT", "DELETE")
        place = Place("", kind)
        match call.method:
            case "GET":
                return self._renderer.one(kind, self._resources.get(place, id))
            case "PUT":
                stored = await self._resources.put(place, id, call.document(), call.caller, DIALECT)
                return self._renderer.stored(kind, stored)
        return self._renderer.deleted(await self._resources.delete(place, id, call.caller, guard))


def _unassigned(state: State, record: Record) -> None:
    for user in state.all("", "user").values():
        if record.id in user.value["roles"]:
            raise Forbidden(f"the user {user.value['username']} has this role")


def _unattached(state: State, record: Record) -> None:
    for role in state.all("", ROLE.name).values():
        if record.id in role.value.get("permission_policies", ()):
            raise Forbidden(f"the role {role.id} has this policy")
