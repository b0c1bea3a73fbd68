"""The enterprise dialect: resources of a gateway group as API7 Enterprise clients know them.

A thin renderer over the resource service. The rules are those of Admin API contract §2 and §3.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise_errors import EnterpriseErrors
from gateway.admin.enterprise_views import DIALECT, default_upstream, single_plugins, view
from gateway.admin.json_patch import PatchError, json_patch, merge_patch
from gateway.admin.kind import Kind, Shape
from gateway.admin.kinds import KINDS, kind_at
from gateway.admin.listed import Listed
from gateway.admin.listing import Listing
from gateway.admin.preconditions import entity_tag
from gateway.admin.refusals import BadBody, BadParameter, Denied, Forbidden, NotAllowed, NotFound, Refusal
from gateway.admin.resources import Place, Resources, Stored, group_exists
from gateway.admin.validation import Validation
from gateway.control.state import State
from gateway.model.record import Change, Record

_COLLECTION = {"L": "GET", "C": "POST"}
_ITEM = {"G": "GET", "U": "PUT", "P": "PATCH", "D": "DELETE"}


def allowed(shape: Shape, letters: Mapping[str, str]) -> list[str]:
    """The methods that *shape* has among *letters*."""
    methods = [method for letter, method in letters.items() if letter in shape.methods]
    return ["GET", "HEAD", *methods[1:]] if methods[:1] == ["GET"] else methods


class Enterprise:
    """Answers calls under ``/apisix/admin`` in the enterprise dialect."""

    name = DIALECT

    def __init__(self, resources: Resources, status: Callable[[], Any] = dict) -> None:
        """
        Args:
            status: What the gateway says of itself, or an awaitable of it.
        """
        self._resources = resources
        self._status = status
        self._errors = EnterpriseErrors(resources.registry)
        self._validation = Validation(resources, DIALECT, self._errors.of_document)

    def dress(self, answer: Answer) -> Answer:
        """What every answer of this dialect has: nothing besides its own."""
        return answer

    def refuse(self, refusal: Refusal) -> Answer:
        """The answer for what went wrong."""
        return self._errors.answer(refusal)

    def group(self, call: Call) -> str:
        """
        The gateway group a call is about.

        Raises:
            BadParameter: it is not said. NotFound: there is no such group.
            Denied: the caller's key is for another one.
        """
        group = call.query.one("gateway_group_id")
        own = call.principal.group
        if own is not None:
            if group not in (None, own):
                raise Denied("this key is for another gateway group")
            group = own
        if group is None:
            raise BadParameter("gateway_group_id", "value is required but missing")
        if not group_exists(self._resources.state, group):
            raise NotFound("gateway group")
        return group

    async def answer(self, call: Call, segments: Sequence[str]) -> Answer:
        """
        Answer a call.

        Args:
            segments: The path below ``/apisix/admin``, taken apart; none is empty.
        Raises:
            Refusal: see ``refuse``.
        """
        if tuple(segments) == ("configs", "validate"):
            return self._validate(call)
        kind, parent, own = self._find(segments)
        if len(own) == 0:
            methods = allowed(kind.shapes[DIALECT], _COLLECTION)
        elif len(own) == kind.id_segments:
            methods = allowed(kind.shapes[DIALECT], _ITEM)
        else:
            raise NotFound()
        if call.method not in methods:
            raise NotAllowed(methods)
        place = Place(self.group(call), kind, parent)
        return await (self._item(call, place, "/".join(own)) if own else self._collection(call, place))

    def _validate(self, call: Call) -> Answer:
        if call.method != "POST":
            raise NotAllowed(("POST",))
        return self._validation.answer(self.group(call), call.document())

    def _find(self, segments: Sequence[str]) -> tuple[Kind, str | None, Sequence[str]]:
        """The kind a path is about, the own id of its parent, and what is left for the own id."""
        kind = kind_at(DIALECT, segments[0]) if segments else None
        if kind is None:
            raise NotFound()
        if len(segments) > 1 + kind.id_segments:
            child = kind_at(DIALECT, segments[2], kind.name)
            if child is None:
                raise NotFound()
            return child, segments[1], segments[3:]
        return kind, None, segments[1:]

    async def _collection(self, call: Call, place: Place) -> Answer:
        if call.method == "GET":
            if place.kind.name == "service" and call.query.one("unhealthy_nodes") == "true":
                return self.list(call, place, among=await self._unhealthy())
            return self.list(call, place)
        self._check_direct(place, None)
        stored = await self._resources.create(place, call.document(), call.caller, DIALECT)
        return self.stored(place.kind, stored)

    async def _item(self, call: Call, place: Place, id: str) -> Answer:
        if call.method != "GET":
            self._check_direct(place, id)
        match call.method:
            case "GET":
                return self.one(place.kind, self._get(place, id))
            case "PUT":
                document = call.document(empty=place.kind.id_member is not None)
                stored = await self._resources.put(place, id, document, call.caller, DIALECT)
            case "PATCH":
                patch = call.patch()
                self._check_patch(place.kind, patch)
                stored = await self._resources.patch(
                    place, id, lambda document: edited(document, patch), call.caller, DIALECT
                )
            case _:
                if place.kind.name == "service_upstream" and id == place.parent:
                    raise Forbidden("the default upstream of a service cannot be deleted: change the service")
                if place.kind.name == "global_rule":
                    return self.deleted(await self._delete_rule(call, place, id))
                return self.deleted(await self._resources.delete(place, id, call.caller))
        return self.stored(place.kind, stored)

    async def health(self) -> Sequence[Mapping[str, Any]]:
        """The health of the upstreams that are being checked (data-plane contract §15)."""
        report = self._status()
        if inspect.isawaitable(report):
            report = await report
        found: Sequence[Mapping[str, Any]] = report.get("health", ())
        return found

    async def _unhealthy(self) -> frozenset[str]:
        """Ids of services with a node that is not well."""
        return frozenset(
            str(upstream["name"]).rpartition("/")[2]
            for upstream in await self.health()
            if any(node.get("status") not in ("healthy", "mostly_healthy") for node in upstream["nodes"])
        )

    def _check_direct(self, place: Place, id: str | None) -> None:
        """Refuse what only a publication may change (contract §3.7): routes, and which services there are."""
        group = self._resources.state.get("", "gateway_group", place.group)
        if group is None or not group.value.get("enforce_service_publishing"):
            return
        there = id is not None and self._resources.state.get(place.group, "service", id) is not None
        if place.kind.name in ("route", "stream_route") or (place.kind.name == "service" and not there):
            raise Denied("this gateway group takes services and routes by publication only")

    async def _delete_rule(self, call: Call, place: Place, id: str) -> int:
        """Delete a global rule; one that is shown, but stands among others in a rule, leaves that rule."""
        records = self._resources.all(place)
        inside = next((r for r in records if r.id != id and id in r.value.get("plugins", {})), None)
        if inside is None or any(record.id == id for record in records):
            return await self._resources.delete(place, id, call.caller)
        whole = inside.id

        def plan(state: State) -> Sequence[Change]:
            record = state.get(place.group, place.kind.name, whole)
            plugins = {} if record is None else dict(record.value.get("plugins", {}))
            if record is None or plugins.pop(id, None) is None:
                raise NotFound()
            call.caller.preconditions.check(record)
            value = {**record.value, "plugins": plugins} if plugins else None
            return [Change(*record.key, value, record.dialect)]

        return (await self._resources.write(plan, call.caller)).state.revision

    def _records(self, place: Place, service_id: str | None) -> Sequence[Record]:
        records = self._resources.all(place, service_id)
        if place.kind.name == "service_upstream":
            default = self._default_upstream(place)
            return records if default is None else [default, *records]
        if place.kind.name == "global_rule":
            return [each for rule in records for each in single_plugins(rule)]
        return records

    def _get(self, place: Place, id: str) -> Record:
        try:
            return self._resources.get(place, id)
        except NotFound:
            if place.kind.name == "plugin_metadata":
                self._metadata_of(id)
            if place.kind.name not in ("service_upstream", "global_rule"):
                raise
            # Both may show what is kept inside another record.
            for record in self._records(place, None):
                if record.id == place.stored(id):
                    return record
            raise

    def _metadata_of(self, plugin: str) -> None:
        registry = self._resources.registry
        if plugin in registry and registry.factory(plugin).metadata_schema is None:
            raise Forbidden(f"plugin {plugin} has no metadata")

    def _certificates_of(self, call: Call, group: str) -> Container[str] | None:
        """Ids of the certificates of an SNI that the query names; None if it names none."""
        id, name = call.query.one("sni_id"), call.query.one("sni_name")
        if id is None and name is None:
            return None
        return {
            record.value["certificate_id"]
            for record in self._resources.state.all(group, "sni").values()
            if id in (None, record.id) and name in (None, record.value["domain"])
        }

    def _default_upstream(self, place: Place) -> Record | None:
        service = self._resources.state.get(place.group, "service", place.parent or "")
        return None if service is None else default_upstream(service)

    def _check_patch(self, kind: Kind, patch: Any) -> None:
        # Hidden members must not be copied to where they are shown.
        hidden = kind.shapes[DIALECT].hidden
        for operation in patch if hidden and isinstance(patch, list) else ():
            source = operation.get("from") if isinstance(operation, Mapping) else None
            if isinstance(source, str) and (source == "" or source.lstrip("/").partition("/")[0] in hidden):
                raise BadBody("invalid patch: a member that is never shown cannot be copied")

    async def services_of(self, call: Call, group: str, id: str | None) -> Answer:
        """The services of a group, which its path names; one of them, or its removal."""
        place = Place(group, KINDS["service"])
        return self.list(call, place) if id is None else await self._item(call, place, id)

    def list(self, call: Call, place: Place, *, among: Container[str] | None = None) -> Answer:
        """
        A list: bare objects, and how many there are on all pages.

        Args:
            among: Ids outside of which nothing is listed.
        """
        listing = Listing.parse(call.query, place.kind)
        service_id = call.query.one("service_id") if "service_id" in place.kind.filters else None
        records = self._records(place, service_id)
        if place.kind.name == "certificate":
            among = self._certificates_of(call, place.group)
        if among is not None:
            records = [record for record in records if record.id in among]
        page = listing.of(records)
        state = self._resources.state
        info = call.query.one("with_publish_info") == "true"

        def shown(record: Record) -> dict[str, Any]:
            return view(state, place.kind, record, publish_info=info)

        if place.kind.bare:
            return Answer(200, {"value": {record.id: shown(record) for record in page.records}})
        headers = {"X-Gateway-Revision": str(state.revision)}
        return Answer(200, Listed(page.records, shown, page.total), headers)

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
