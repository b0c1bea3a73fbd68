"""Service templates, and their publication to gateway groups (Admin API contract §3.7).

::

    service_template/<id>, route_template/<id>, stream_route_template/<id>   what people edit
    service_version/<id>/<version>     what a template was when that version was made
    publication/<group>/<id>           which version a group has, and since when

All of them belong to no group. To publish is one commit: the service, its routes, and those two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from attrs import evolve

from gateway.admin.calls import Answer, Call
from gateway.admin.control_plane import only
from gateway.admin.enterprise import Enterprise, edited
from gateway.admin.enterprise_views import DIALECT, view
from gateway.admin.kind import Kind
from gateway.admin.kinds import KINDS, ROUTE_TEMPLATE, SERVICE_TEMPLATE, STREAM_ROUTE_TEMPLATE
from gateway.admin.listing import Listing
from gateway.admin.refusals import BadBody, Invalid, NotAllowed, NotFound
from gateway.admin.resources import Place, Resources, Stored, group_exists
from gateway.control.state import State
from gateway.interfaces import Clock
from gateway.model import fields
from gateway.model.credential import join_id, split_id
from gateway.model.fields import object_of
from gateway.model.problems import Problem
from gateway.model.record import Change, Record
from gateway.model.schema import Checker, Document
from gateway.model.template import RUNTIME

TEMPLATES: Mapping[str, Kind] = {
    "services": SERVICE_TEMPLATE,
    "routes": ROUTE_TEMPLATE,
    "stream_routes": STREAM_ROUTE_TEMPLATE,
}
"""Segment after ``/api`` → the kind of its templates."""

_ROUTES = {"route": ROUTE_TEMPLATE, "stream_route": STREAM_ROUTE_TEMPLATE}
_VERSION = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[0-9A-Za-z._+\-]+$"}
_PUBLISH = Checker(
    object_of(
        {
            "create_new_version": {"type": "boolean"},
            "gateway_group_id": fields.identifier,
            "services": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": object_of(
                    {
                        "service_id": fields.identifier,
                        "version": _VERSION,
                        # What a group has of its own; without it, what it has already.
                        "hosts": fields.hosts,
                        "path_prefix": fields.path,
                        "strip_path_prefix": {"type": "boolean"},
                        "upstream": {"type": "object"},
                    },
                    required=("service_id", "version"),
                ),
            },
        },
        required=("gateway_group_id", "services"),
    )
)


class Templates:
    """Answers ``/api/services/template``, the same for routes, and ``/api/services/publish``."""

    def __init__(self, resources: Resources, renderer: Enterprise, clock: Clock) -> None:
        self._resources = resources
        self._renderer = renderer
        self._clock = clock

    def _shown(self, kind: Kind, record: Record) -> Record:
        """A template together with what is known of its publications."""
        if kind is not SERVICE_TEMPLATE:
            return record
        table = self._resources.state.all("", "publication")
        found = [one.value for id, one in table.items() if split_id(id)[1] == record.id]
        value = {**record.value, "published_gateway_groups_count": len(found)}
        if found:
            value["last_published"] = max(one["published_at"] for one in found)
        return evolve(record, value=value)

    async def collection(self, call: Call, path: str) -> Answer:
        """List templates, or make one."""
        kind = TEMPLATES[path]
        place = Place("", kind)
        only(call, "GET", "POST")
        if call.method == "POST":
            stored = await self._resources.create(place, call.document(), call.caller, DIALECT)
            return self._renderer.stored(kind, evolve(stored, record=self._shown(kind, stored.record)))
        service_id = call.query.one("service_id") if "service_id" in kind.filters else None
        records = [self._shown(kind, record) for record in self._resources.all(place, service_id)]
        page = Listing.parse(call.query, kind).of(records)
        shown = [view(self._resources.state, kind, record) for record in page.records]
        return Answer(200, {"list": shown, "total": page.total})

    async def item(self, call: Call, path: str, id: str) -> Answer:
        """Get, put, patch or delete a template."""
        kind = TEMPLATES[path]
        place = Place("", kind)
        only(call, "GET", "PUT", "PATCH", "DELETE")
        match call.method:
            case "GET":
                return self._renderer.one(kind, self._shown(kind, self._resources.get(place, id)))
            case "PUT":
                stored = await self._resources.put(place, id, call.document(), call.caller, DIALECT)
            case "PATCH":
                patch = call.patch()
                stored = await self._resources.patch(
                    place, id, lambda document: edited(document, patch), call.caller, DIALECT
                )
            case _:
                return self._renderer.deleted(await self._resources.delete(place, id, call.caller))
        return self._renderer.stored(kind, evolve(stored, record=self._shown(kind, stored.record)))

    async def versions(self, call: Call, id: str) -> Answer:
        """``GET /api/services/template/{id}/versions``: those there are, and which groups have them."""
        only(call, "GET")
        self._resources.get(Place("", SERVICE_TEMPLATE), id)
        state = self._resources.state
        groups: dict[str, list[str]] = {}
        for key, record in state.all("", "publication").items():
            group, service = split_id(key)
            if service == id:
                groups.setdefault(record.value["version"], []).append(group)
        found = [
            {
                "version": split_id(key)[1],
                "created_at": record.created_at,
                "gateway_group_ids": groups.get(split_id(key)[1], []),
            }
            for key, record in state.all("", "service_version").items()
            if split_id(key)[0] == id
        ]
        return Answer(200, {"list": found, "total": len(found)})

    async def import_services(self, call: Call) -> Answer:
        """``POST /api/import/services/template``: a service template together with its routes."""
        only(call, "POST")
        document = call.document()
        routes = {kind: document.pop(f"{kind}s", []) for kind in _ROUTES}
        each = [items if isinstance(items, list) else [None] for items in routes.values()]
        if not all(isinstance(item, dict) for items in each for item in items):
            raise BadBody("invalid request body: routes and stream_routes must be arrays of objects")
        id = str(uuid4())

        def plan(state: State) -> Sequence[Change]:
            changes = [self._resources.change("", SERVICE_TEMPLATE, id, document, DIALECT)]
            for kind, items in routes.items():
                for item in items:
                    route = {**item, "service_id": id}
                    changes.append(self._resources.change("", _ROUTES[kind], str(uuid4()), route, DIALECT))
            return changes

        written = await self._resources.write(plan, call.caller)
        record = written.state.get("", SERVICE_TEMPLATE.name, id)
        assert record is not None
        stored = Stored(self._shown(SERVICE_TEMPLATE, record), True, written.state.revision)
        return self._renderer.stored(SERVICE_TEMPLATE, stored)

    async def publish(self, call: Call) -> Answer:
        """``POST /api/services/publish``: templates become services of a group, all in one commit."""
        if call.method != "POST":
            raise NotAllowed(("POST",))
        document = call.checked("service", _PUBLISH)
        group = document["gateway_group_id"]

        def plan(state: State) -> Sequence[Change]:
            if not group_exists(state, group):
                raise NotFound("gateway group")
            changes: dict[Any, Change] = {}
            for index, wanted in enumerate(document["services"]):
                new = document.get("create_new_version", True)
                for change in self._publication(state, group, wanted, new, index):
                    if change.key in changes:
                        raise Invalid("service", [_wrong(index, "service_id", "duplicate", "named twice")])
                    changes[change.key] = change
            return list(changes.values())

        written = await self._resources.write(plan, call.caller)
        shown = [
            {"service_id": each["service_id"], "version": each["version"], "gateway_group_id": group}
            for each in document["services"]
        ]
        return Answer(200, {"value": shown}, {"X-Gateway-Revision": str(written.state.revision)})

    def _publication(
        self, state: State, group: str, wanted: Document, new: bool, index: int
    ) -> Sequence[Change]:
        id, version = wanted["service_id"], wanted["version"]
        template = state.get("", SERVICE_TEMPLATE.name, id)
        if template is None:
            raise Invalid("service", [_wrong(index, "service_id", "reference", "service template not found")])
        key = join_id(id, version)
        kept = state.get("", "service_version", key)
        changes: list[Change] = []
        if kept is not None and new:
            text = f"version {version} of this service exists already"
            raise Invalid("service", [_wrong(index, "version", "duplicate", text)])
        if kept is None and not new:
            text = f"version {version} of this service does not exist"
            raise Invalid("service", [_wrong(index, "version", "reference", text)])
        if kept is None:
            content = _content(state, template)
            changes.append(Change("", "service_version", key, content))
        else:
            content = dict(kept.value)
        changes += self._changes(state, group, id, content, wanted)
        at = int(self._clock.time())
        record = {"version": version, "published_at": at}
        return [*changes, Change("", "publication", join_id(group, id), record)]

    def _changes(
        self, state: State, group: str, id: str, content: Document, wanted: Document
    ) -> Sequence[Change]:
        """What a group's service and its routes become; routes of the version before go."""
        before = state.get(group, "service", id)
        service = dict(content["service"])
        for name in RUNTIME:
            if before is not None:
                service.pop(name, None)
                if name in before.value:
                    service[name] = before.value[name]
            if name in wanted:
                service[name] = wanted[name]
        changes = [self._resources.change(group, KINDS["service"], id, service, DIALECT)]
        for kind in _ROUTES:
            routes: Mapping[str, Document] = content[f"{kind}s"]
            for own, route in routes.items():
                changes.append(self._resources.change(group, KINDS[kind], own, route, DIALECT))
            for own, record in state.all(group, kind).items():
                if record.value.get("service_id") == id and own not in routes:
                    changes.append(Change(group, kind, own, None))
        return changes


def _content(state: State, template: Record) -> Document:
    """What a template is now, with its routes by id."""
    content: Document = {"service": dict(template.value)}
    for kind, templates in _ROUTES.items():
        content[f"{kind}s"] = {
            id: dict(record.value)
            for id, record in state.all("", templates.name).items()
            if record.value.get("service_id") == template.id
        }
    return content


def _wrong(index: int, member: str, rule: str, text: str) -> Problem:
    return Problem(("services", index, member), rule, text)
