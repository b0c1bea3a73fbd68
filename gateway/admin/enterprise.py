"""The enterprise dialect: resources of a gateway group as API7 Enterprise clients know them.

A thin renderer over the resource service. The rules are those of Admin API contract §2 and §3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise_errors import EnterpriseErrors
from gateway.admin.json_patch import PatchError, json_patch, merge_patch
from gateway.admin.kinds import Kind, Shape, kind_at
from gateway.admin.listing import Listing
from gateway.admin.preconditions import entity_tag
from gateway.admin.refusals import BadBody, BadParameter, NotAllowed, NotFound, Refusal
from gateway.admin.resources import Place, Resources, Stored, group_exists, own_id
from gateway.admin.translation import translated
from gateway.control.state import State
from gateway.model.record import Record

DIALECT = "enterprise"

VERSION = "3.10.1"
"""The release of API7 Enterprise whose Admin API this dialect follows; clients adapt to it."""

_VERSIONS = UUID("6c1f3c3e-6a5b-4d0e-9f43-0c7a7b1b6c55")
_COLLECTION = {"L": "GET", "C": "POST"}
_ITEM = {"G": "GET", "U": "PUT", "P": "PATCH", "D": "DELETE"}


def allowed(shape: Shape, letters: Mapping[str, str]) -> list[str]:
    """The methods that *shape* has among *letters*."""
    methods = [method for letter, method in letters.items() if letter in shape.methods]
    return ["GET", "HEAD", *methods[1:]] if methods[:1] == ["GET"] else methods


def view(state: State, kind: Kind, record: Record) -> dict[str, Any]:
    """A record as the enterprise dialect shows it: the document between its id and its times."""
    shown: dict[str, Any] = {} if kind.id_member is not None else {"id": own_id(kind, record)}
    value = translated(state, record, DIALECT)
    shown.update(value if record.dialect == DIALECT else kind.shapes[DIALECT].complete(value))
    if kind.name == "service":
        group = state.get("", "gateway_group", record.group)
        version = f"{record.group}/{record.id}/{record.modified_revision}"
        shown["service_id"] = record.id
        shown["service_version_id"] = str(uuid5(_VERSIONS, version))
        shown["gateway_group_id"] = record.group
        shown["gateway_group_name"] = record.group if group is None else group.value["name"]
    shown["created_at"] = record.created_at
    shown["updated_at"] = record.updated_at
    return shown


class Enterprise:
    """Answers calls under ``/apisix/admin`` in the enterprise dialect."""

    name = DIALECT

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._errors = EnterpriseErrors(resources.registry)

    def refuse(self, refusal: Refusal) -> Answer:
        """The answer for what went wrong."""
        return self._errors.answer(refusal)

    def dress(self, answer: Answer) -> Answer:
        """What every answer of this dialect has: nothing besides its own."""
        return answer

    def group(self, call: Call) -> str:
        """
        The gateway group a call is about.

        Raises:
            BadParameter: it is not said. NotFound: there is no such group.
        """
        group = call.query.one("gateway_group_id")
        if group is None:
            raise BadParameter("gateway_group_id", "value is required but missing")
        if not group_exists(self._resources.state, group):
            raise NotFound("gateway group")
        return group

    def _place(self, call: Call, path: str, parent: str | None, letters: Mapping[str, str]) -> Place:
        kind = kind_at(DIALECT, path)
        if kind is None or (kind.parent is None) != (parent is None):
            raise NotFound()
        methods = allowed(kind.shapes[DIALECT], letters)
        if call.method not in methods:
            raise NotAllowed(methods)
        return Place(self.group(call), kind, parent)

    async def collection(self, call: Call, path: str, parent: str | None = None) -> Answer:
        """List or create: a call on ``/<path>``, or on that of the parent's."""
        place = self._place(call, path, parent, _COLLECTION)
        if call.method == "GET":
            return self.list(call, place)
        stored = await self._resources.create(place, call.document(), call.caller, DIALECT)
        return self.stored(place.kind, stored)

    async def item(self, call: Call, path: str, id: str, parent: str | None = None) -> Answer:
        """Get, put, patch or delete: a call on ``/<path>/<id>``, or on that of the parent's."""
        place = self._place(call, path, parent, _ITEM)
        match call.method:
            case "GET":
                return self.one(place.kind, self._resources.get(place, id))
            case "PUT":
                document = call.document(empty=place.kind.id_member is not None)
                stored = await self._resources.put(place, id, document, call.caller, DIALECT)
            case "PATCH":
                patch = call.patch()
                stored = await self._resources.patch(
                    place, id, lambda document: edited(document, patch), call.caller, DIALECT
                )
            case _:
                return self.deleted(await self._resources.delete(place, id, call.caller))
        return self.stored(place.kind, stored)

    def list(self, call: Call, place: Place) -> Answer:
        """A list: bare objects, and how many there are on all pages."""
        listing = Listing.parse(call.query, place.kind.filters)
        service_id = call.query.one("service_id") if place.kind.name == "route" else None
        page = listing.of(self._resources.all(place, service_id))
        state = self._resources.state
        shown = [view(state, place.kind, record) for record in page.records]
        return Answer(200, {"list": shown, "total": page.total})

    def one(self, kind: Kind, record: Record) -> Answer:
        """One object, with its entity tag."""
        return Answer(200, {"value": view(self._resources.state, kind, record)}, {"ETag": entity_tag(record)})

    def stored(self, kind: Kind, stored: Stored) -> Answer:
        """A finished write; created or replaced, it is 200."""
        body: dict[str, Any] = {"value": view(self._resources.state, kind, stored.record)}
        if stored.warnings:
            body["warning_msg"] = "; ".join(stored.warnings)
        headers = {"ETag": entity_tag(stored.record), "X-Gateway-Revision": str(stored.revision)}
        return Answer(200, body, headers)

    def deleted(self, revision: int) -> Answer:
        """A finished removal."""
        return Answer(200, {}, {"X-Gateway-Revision": str(revision)})


def edited(document: Any, patch: Any) -> Any:
    """
    Apply a patch of either form: an array is a JSON Patch, an object a JSON Merge Patch.

    Raises:
        BadBody: it cannot be applied.
    """
    try:
        return json_patch(document, patch) if isinstance(patch, list) else merge_patch(document, patch)
    except PatchError as error:
        raise BadBody(f"invalid patch: {error}") from None
