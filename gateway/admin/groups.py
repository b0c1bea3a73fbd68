"""Gateway groups: the name spaces that resources live in. The group ``default`` is built in."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise import Enterprise
from gateway.admin.enterprise_views import DIALECT, view
from gateway.admin.kinds import GATEWAY_GROUP
from gateway.admin.listing import Listing
from gateway.admin.refusals import Forbidden, NotAllowed, NotFound
from gateway.admin.resources import Place, Resources
from gateway.control.state import State
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.record import Change, Record

_PLACE = Place("", GATEWAY_GROUP)


def default_group_change() -> Change:
    """The change that stores the built-in group; without it the group is there all the same."""
    shape = GATEWAY_GROUP.shapes[DIALECT]
    return Change("", GATEWAY_GROUP.name, DEFAULT_GROUP, shape.complete({"name": DEFAULT_GROUP}))


def default_group(state: State) -> Record:
    """The built-in group, stored or not."""
    record = state.get("", GATEWAY_GROUP.name, DEFAULT_GROUP)
    if record is not None:
        return record
    change = default_group_change()
    return Record(*change.key, change.value or {}, DIALECT, 0, 0, 0, 0)


class Groups:
    """Answers ``/api/gateway_groups``."""

    def __init__(self, resources: Resources, renderer: Enterprise) -> None:
        self._resources = resources
        self._renderer = renderer

    def _all(self) -> Sequence[Record]:
        records = self._resources.all(_PLACE)
        if any(record.id == DEFAULT_GROUP for record in records):
            return records
        return [default_group(self._resources.state), *records]

    async def collection(self, call: Call) -> Answer:
        """List the groups, or make one under an id of the server's choice."""
        if call.method == "GET":
            page = Listing.parse(call.query, GATEWAY_GROUP).of(self._all())
            state = self._resources.state
            shown = [view(state, GATEWAY_GROUP, record) for record in page.records]
            return Answer(200, {"list": shown, "total": page.total})
        if call.method != "POST":
            raise NotAllowed(("GET", "HEAD", "POST"))
        stored = await self._resources.create(_PLACE, call.document(), call.caller, DIALECT)
        return self._renderer.stored(GATEWAY_GROUP, stored)

    async def item(self, call: Call, id: str) -> Answer:
        """Look at a group, change it, or delete it together with everything in it."""
        match call.method:
            case "GET":
                found = [record for record in self._all() if record.id == id]
                if not found:
                    raise NotFound()
                return self._renderer.one(GATEWAY_GROUP, found[0])
            case "PUT":
                stored = await self._resources.put(_PLACE, id, call.document(), call.caller, DIALECT)
                return self._renderer.stored(GATEWAY_GROUP, stored)
            case "DELETE":
                if id == DEFAULT_GROUP:
                    raise Forbidden("the gateway group default cannot be deleted")
                return self._renderer.deleted(await self._resources.delete(_PLACE, id, call.caller))
        raise NotAllowed(("GET", "HEAD", "PUT", "DELETE"))
