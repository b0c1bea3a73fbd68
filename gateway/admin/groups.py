"""Gateway groups: the name spaces that resources live in. The group ``default`` is built in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from gateway.admin import certificates
from gateway.admin.access import KEY_PREFIX, digest
from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise import Enterprise
from gateway.admin.enterprise_views import DIALECT, view
from gateway.admin.kinds import GATEWAY_GROUP
from gateway.admin.listing import Listing
from gateway.admin.refusals import Denied, Forbidden, NotAllowed, NotFound
from gateway.admin.resources import Place, Resources
from gateway.control.state import State
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.record import Change, Record

_PLACE = Place("", GATEWAY_GROUP)
_PRIVATE = {"Cache-Control": "no-store"}
_AUTHORITY = ("", "authority", "data-planes")


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

    def __init__(
        self,
        resources: Resources,
        renderer: Enterprise,
        make: Callable[[str], str] = lambda prefix: prefix + secrets.token_urlsafe(32),
    ) -> None:
        """
        Args:
            make: Makes a key that begins as told.
        """
        self._resources = resources
        self._renderer = renderer
        self._make = make

    def _all(self, call: Call) -> Sequence[Record]:
        records = self._resources.all(_PLACE)
        if all(record.id != DEFAULT_GROUP for record in records):
            records = [default_group(self._resources.state), *records]
        own = call.principal.group
        return records if own is None else [record for record in records if record.id == own]

    def _one(self, call: Call, id: str) -> Record:
        for record in self._all(call):
            if record.id == id:
                return record
        raise NotFound()

    async def collection(self, call: Call) -> Answer:
        """List the groups, or make one under an id of the server's choice."""
        if call.method == "GET":
            page = Listing.parse(call.query, GATEWAY_GROUP).of(self._all(call))
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
                return self._renderer.one(GATEWAY_GROUP, self._one(call, id))
            case "PUT":
                stored = await self._resources.put(_PLACE, id, call.document(), call.caller, DIALECT)
                return self._renderer.stored(GATEWAY_GROUP, stored)
            case "DELETE":
                if id == DEFAULT_GROUP:
                    raise Forbidden("the gateway group default cannot be deleted")
                return self._renderer.deleted(await self._resources.delete(_PLACE, id, call.caller))
        raise NotAllowed(("GET", "HEAD", "PUT", "DELETE"))

    async def admin_key(self, call: Call, id: str) -> Answer:
        """``PUT …/{id}/admin_key``: a new key for this group alone; the one before stops at once."""
        if call.method != "PUT":
            raise NotAllowed(("PUT",))
        key = self._make(KEY_PREFIX)
        value = {"hash": digest(key.encode()), "gateway_group_id": id}
        headers = await self._keep(call, id, Change("", "group_key", id, value))
        return Answer(200, {"value": {"key": key}}, headers)

    async def instance_token(self, call: Call, id: str) -> Answer:
        """``POST …/{id}/instance_token``: what a data plane shows to join the group, told once."""
        if call.method != "POST":
            raise NotAllowed(("POST",))
        token, own = self._make("a7ee"), str(uuid4())
        value = {"hash": digest(token.encode()), "gateway_group_id": id}
        headers = await self._keep(call, id, Change("", "instance_token", own, value))
        if call.query.one("only_token") == "true":
            return Answer(200, token.encode(), {**headers, "Content-Type": "text/plain; charset=utf-8"})
        return Answer(200, {"value": {"id": own, "token_plain_text": token}}, headers)

    async def client_certificate(self, call: Call, id: str) -> Answer:
        """``POST …/{id}/dp_client_certificates``: a certificate for a data plane; its key is told once."""
        if call.method != "POST":
            raise NotAllowed(("POST",))
        call.document(empty=True)
        self._one(call, id)
        authority = await self._authority(call)
        pair = certificates.issued(authority, f"data plane of {id}"[:64], certificates.LIFE_DAYS)
        value = {
            "id": str(uuid4()),
            "certificate": pair.cert,
            "private_key": pair.key,
            "ca_certificate": authority.cert,
            "gateway_group_id": id,
        }
        return Answer(200, {"value": value}, _PRIVATE)

    async def _authority(self, call: Call) -> certificates.Pair:
        """The authority that signs them; made when it is asked for first."""

        def plan(state: State) -> Sequence[Change]:
            if state.get(*_AUTHORITY) is not None:
                return []
            made = certificates.authority("gateway data planes")
            return [Change(*_AUTHORITY, {"cert": made.cert, "key": made.key})]

        written = await self._resources.write(plan, call.caller)
        record = written.state.get(*_AUTHORITY)
        assert record is not None
        return certificates.Pair(record.value["cert"], record.value["key"])

    async def _keep(self, call: Call, id: str, change: Change) -> Mapping[str, str]:
        self._one(call, id)

        def plan(state: State) -> Sequence[Change]:
            if id != DEFAULT_GROUP and state.get("", GATEWAY_GROUP.name, id) is None:
                raise NotFound()
            return [change]

        written = await self._resources.write(plan, call.caller)
        return {**_PRIVATE, "X-Gateway-Revision": str(written.state.revision)}

    # What is in a group, by its path

    async def services(self, call: Call, id: str, service: str | None = None) -> Answer:
        """``…/{id}/services[/{service}]``: the published services; DELETE takes one out of the group."""
        self._one(call, id)
        if call.principal.group not in (None, id):
            raise Denied("this key is for another gateway group")
        methods = ("GET", "HEAD") if service is None else ("GET", "HEAD", "DELETE")
        if call.method not in methods:
            raise NotAllowed(methods)
        return await self._renderer.services_of(call, id, service)

    async def health(self, call: Call, id: str, service: str) -> Answer:
        """``GET …/{id}/services/{service}/healthcheck``: how the nodes of its upstreams are."""
        if call.method != "GET":
            raise NotAllowed(("GET", "HEAD"))
        self._one(call, id)
        if self._resources.state.get(id, "service", service) is None:
            raise NotFound()
        wanted = call.query.one("upstream_id") or service
        found = [up for up in await self._renderer.health() if str(up["name"]).rpartition("/")[2] == wanted]
        return Answer(200, {"list": found, "total": len(found)})

    async def instances(self, call: Call, id: str | None, report: Callable[[], Any]) -> Answer:
        """The data planes of a group, or of all: this version knows the one it is itself."""
        if call.method != "GET":
            raise NotAllowed(("GET", "HEAD"))
        if id is not None:
            self._one(call, id)
        wanted = call.query.one("status")
        found = [
            instance
            for instance in await _result(report())
            if id in (None, instance["gateway_group_id"]) and wanted in (None, instance["status"])
        ]
        return Answer(200, {"list": found, "total": len(found)})


async def _result(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value
