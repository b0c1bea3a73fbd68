"""The apisix dialect: resources as clients of Apache APISIX's Admin API know them.

A thin renderer over the resource service. The rules are those of Admin API contract §4 and §5;
``answer`` checks a request in the order of §4.2.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import evolve

from gateway.admin.apisix_checks import Use
from gateway.admin.apisix_errors import KEY_NOT_FOUND, ApisixErrors
from gateway.admin.apisix_kinds import APISIX_KINDS, DIALECT, ApisixKind, resource_key
from gateway.admin.apisix_listing import BadPage, conditions, page
from gateway.admin.apisix_patch import merged, placed
from gateway.admin.calls import Answer, Call
from gateway.admin.expiry import MAX_TTL_S
from gateway.admin.json_text import BadJSON, read_json
from gateway.admin.listed import Listed
from gateway.admin.preconditions import entity_tag
from gateway.admin.refusals import BadBody, NotFound, Refusal
from gateway.admin.resources import Caller, Place, Resources, Stored
from gateway.admin.translation import translated
from gateway.control.state import State
from gateway.interfaces import Clock
from gateway.model.apisix import secret
from gateway.model.apisix.fields import TIMES
from gateway.model.record import Key, Record
from gateway.model.schema import Document

VERSION = "3.18.0"
"""The release of Apache APISIX whose Admin API this dialect follows; clients adapt to it."""

ROOT = "/apisix/admin"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "*",
    "Access-Control-Max-Age": "3600",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "POST, GET, PUT, OPTIONS, DELETE, PATCH",
    "Access-Control-Allow-Headers": "*",
}
_API_VERSION = {"X-API-VERSION": "v3"}
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")

Seal = Callable[[Key, Mapping[str, Any]], Mapping[str, Any]]
"""Encrypts the secrets of a document, as the store keeps it."""

Page = Callable[[Call, Sequence[str]], Awaitable[Answer]]
"""Answers what is below a first segment that is no kind of resource."""


_Handler = Callable[[Call, Place, ApisixKind, Sequence[str]], Awaitable[Answer]]


def refusal(text: str) -> BadBody:
    """A 400 with *text*."""
    return BadBody(text)


def segments(path: str) -> list[str]:
    """The parts of a path below ``/apisix/admin``, decoded; an encoded slash is part of a part."""
    parts = path.removeprefix(ROOT).split("/")
    return [unquote_to_bytes(part).decode("utf-8", "replace") for part in parts if part]


class Apisix:
    """Answers calls under ``/apisix/admin`` in the apisix dialect."""

    name = DIALECT

    def __init__(
        self,
        resources: Resources,
        *,
        group: str,
        clock: Clock,
        seal: Seal = lambda key, value: value,
        stream_routes: bool = True,
        cors: bool = True,
        version_shown: bool = True,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        """
        Args:
            group: Id of the gateway group that is administered.
            seal: Encrypts what a write's answer shows of secrets.
            stream_routes: Whether stream routes may be written and read.
            cors: Whether pages of other origins may read answers.
            version_shown: Whether the field Server tells the version.
            pages: What else there is, by the first segment: ``plugins``, ``schema``, ``configs``.
        """
        self._resources = resources
        self._group = group
        self._clock = clock
        self._seal = seal
        self._stream_routes = stream_routes
        self._server = f"APISIX/{VERSION}" if version_shown else "APISIX"
        self._cors = CORS if cors else {}
        self._pages = pages or {}
        self._errors = ApisixErrors(resources.registry)
        self._handlers: Mapping[str, _Handler] = {
            "GET": self._get,
            "PUT": self._put,
            "POST": self._post,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    # What every answer has

    def dress(self, answer: Answer) -> Answer:
        """Add the fields that every answer of this dialect has."""
        headers = {"Server": self._server, **self._cors, **answer.headers}
        return Answer(answer.status, answer.body, headers)

    def refuse(self, refusal: Refusal) -> Answer:
        """The answer for what went wrong."""
        if isinstance(refusal, BadJSONBody):
            body = {"error_msg": str(refusal), "req_body": refusal.raw.decode("utf-8", "replace")}
            return Answer(400, body)
        return self._errors.answer(refusal)

    def unauthorized(self, description: str) -> Answer:
        """The answer to a caller who is not known, or may not do this."""
        body = {"error_msg": "failed to check token", "description": description}
        return Answer(401, body, {"Cache-Control": "no-store"})

    def preflight(self) -> Answer:
        """The answer to OPTIONS, whatever the path, and before any key is asked for."""
        return Answer(200, None, PREFLIGHT)

    # Requests

    async def answer(self, call: Call) -> Answer:
        """Answer a call from somebody who may make it."""
        parts = segments(call.path)
        if not parts:
            raise NotFound("path")
        page_of = self._pages.get(parts[0])
        if page_of is not None:
            return await page_of(call, parts[1:])
        try:
            answer = await self._resource(call, parts)
        except BadPage as bad:
            answer = Answer(400, str(bad).encode())
        except Refusal as found:
            answer = self.refuse(found)
        return Answer(answer.status, answer.body, {**_API_VERSION, **answer.headers})

    async def _resource(self, call: Call, parts: Sequence[str]) -> Answer:
        if parts[0] == "stream_routes" and not self._stream_routes:
            raise refusal("stream mode is disabled, can not add stream routes")
        kind = APISIX_KINDS.get(parts[0])
        if kind is None or kind.parent is not None:
            return Answer(404, {"error_msg": f"Unsupported resource type: {parts[0][:100]}"})
        parent = None
        own = list(parts[1:])
        if kind.name == "consumer" and own[1:2] == ["credentials"]:
            kind, parent, own = APISIX_KINDS["credentials"], own[0], own[2:]
        if kind.name == "secret" and len(own) > 1:
            own[:2] = [f"{own[0]}/{own[1]}"]
        handler = self._handlers.get(call.method)
        if handler is None:
            return Answer(404, {"error_msg": "not found"})
        if call.method in kind.refused:
            return Answer(405, {"error_msg": f"not supported `{call.method}` method for {kind.words}"})
        return await handler(call, Place(self._group, kind, parent), kind, own)

    # Reading

    async def _get(self, call: Call, place: Place, kind: ApisixKind, own: Sequence[str]) -> Answer:
        if own:
            if len(own) > 1 or (kind.name == "secret" and "/" not in own[0]):
                raise NotFound()
            try:
                record = self._resources.get(place, own[0])
            except NotFound:
                raise NotFound() from None
            shown = self._shown(self._resources.state, kind, record)
            return Answer(200, shown, {"ETag": entity_tag(record)})
        return self._list(call, place, kind)

    def _list(self, call: Call, place: Place, kind: ApisixKind) -> Answer:
        try:
            records = self._resources.all(place)
        except NotFound:
            raise NotFound() from None
        if kind.parent is not None and not records:
            return Answer(404, KEY_NOT_FOUND)
        wanted = conditions(call.query, kind.name)
        state = self._resources.state
        if wanted:
            views = ((record, self.view(state, kind, record)) for record in records)
            records = [record for record, value in views if all(meets(value) for meets in wanted)]
        chosen = page(call.query, records)
        listed = Listed(chosen, lambda r: self._shown(state, kind, r), len(records), total_first=True)
        return Answer(200, listed, {"X-Gateway-Revision": str(state.revision)})

    def view(self, state: State, kind: ApisixKind, record: Record) -> Document:
        """A record's value: the document, its id and its times. Secrets are in clear."""
        value = translated(state, record, DIALECT)
        if kind.has_id:
            own = record.id if kind.parent is None else record.id.rpartition("/")[2]
            value = {"id": own, **value}
        if kind.has_times:
            value.setdefault("create_time", record.created_at)
            value.setdefault("update_time", record.updated_at)
        return value

    def _shown(self, state: State, kind: ApisixKind, record: Record) -> Document:
        value = self.view(state, kind, record)
        if kind.name == "ssl":
            value = {name: member for name, member in value.items() if name not in ("key", "keys")}
        return {
            "key": resource_key(kind, record.id),
            "value": value,
            "createdIndex": record.created_revision,
            "modifiedIndex": record.modified_revision,
        }

    # Writing

    async def _put(self, call: Call, place: Place, kind: ApisixKind, own: Sequence[str]) -> Answer:
        if len(own) > 1:
            return Answer(404, {"error_msg": "not found"})
        document = self._document(call, self._read(call, "missing configurations"))
        id = own[0] if own else None
        if kind.name == "consumer":
            username = document.get("username")
            id = id or (username if isinstance(username, str) else "")
        elif kind.name == "plugin_metadata":
            id = self._plugin_name(id)
            document.pop("id", None)
        else:
            id = self._id(kind, id, document)
        self._no_times(document)
        caller = self._caller(call)
        stored = await self._resources.put(place, id, document, caller, DIALECT, _keep_create_time)
        return self._stored(kind, stored)

    async def _post(self, call: Call, place: Place, kind: ApisixKind, own: Sequence[str]) -> Answer:
        document = self._document(call, self._read(call, "missing configurations"))
        if own or "id" in document:
            raise refusal(f"wrong {kind.words} id, do not need it")
        self._no_times(document)

        def make_id(state: State) -> str:
            number = state.revision + 1
            while state.get(place.group, kind.name, f"{number:020d}") is not None:
                number += 1
            return f"{number:020d}"

        caller = self._caller(call)
        stored = await self._resources.create(place, document, caller, DIALECT, make_id=make_id)
        return self._stored(kind, stored)

    async def _patch(self, call: Call, place: Place, kind: ApisixKind, own: Sequence[str]) -> Answer:
        if kind.name == "secret" and (not own or "/" not in own[0]):
            raise refusal("no secret id")
        if not own:
            raise refusal(f"missing {kind.words} id")
        id, below = own[0], own[1:]
        patch = self._read(call, "missing new configuration", null=bool(below))
        if not below and not isinstance(patch, dict):
            raise refusal("invalid configuration")

        def edit(document: Document) -> Any:
            document.pop("update_time", None)
            changed = placed(document, below, patch) if below else merged(document, patch)
            self._id(kind, id, changed)
            return changed

        stored = await self._resources.patch(place, id, edit, self._caller(call), DIALECT)
        return self._stored(kind, stored)

    async def _delete(self, call: Call, place: Place, kind: ApisixKind, own: Sequence[str]) -> Answer:
        if not own or (kind.name == "secret" and "/" not in own[0]):
            raise refusal(
                "missing plugin name" if kind.name == "plugin_metadata" else f"missing {kind.words} id"
            )
        if len(own) > 1:
            return Answer(404, {"error_msg": "not found"})
        forced = call.query.one("force") == "true"

        def guard(state: State, record: Record) -> None:
            use = Use(lambda name: state.all(record.group, name), record.id)
            text = None if forced else next(kind.users(use), None)
            if text is not None:
                raise refusal(text)

        key = resource_key(kind, place.stored(own[0]))
        try:
            revision = await self._resources.delete(place, own[0], self._caller(call), guard)
        except NotFound as missing:
            if kind.parent is not None and missing.what != "resource":
                # The consumer is gone and took its credentials along: clients that remove both have it as
                # they want it (Admin API contract §6.2).
                return Answer(200, {"deleted": "0", "key": key})
            raise NotFound() from None
        return Answer(200, {"deleted": "1", "key": key}, {"X-Gateway-Revision": str(revision)})

    def _stored(self, kind: ApisixKind, stored: Stored) -> Answer:
        record = stored.record
        value = self.view(self._resources.state, kind, record)
        if kind.name != "secret":
            value = dict(self._seal(record.key, value))
        headers = {"ETag": entity_tag(record), "X-Gateway-Revision": str(stored.revision)}
        if stored.warnings:
            headers["X-Gateway-Warning"] = "; ".join(stored.warnings)
        body = {"key": resource_key(kind, record.id), "value": value}
        return Answer(201 if stored.created else 200, body, headers)

    # What comes with a request

    def _read(self, call: Call, missing: str, *, null: bool = False) -> Any:
        """The content as a JSON value. Raises a refusal with *missing* if there is none."""
        raw = call.read()
        value = None
        if raw.strip():
            try:
                value = read_json(raw)
            except BadJSON as error:
                raise BadJSONBody(str(error), raw) from None
        self._ttl(call)
        if value is None and not (null and raw.strip()):
            raise refusal(missing)
        return value

    def _document(self, call: Call, value: Any) -> Document:
        if not isinstance(value, dict):
            got = "table" if isinstance(value, list) else _TYPES.get(type(value), "number")
            raise refusal(f"invalid configuration: wrong type: expected object, got {got}")
        return value

    def _id(self, kind: ApisixKind, id: str | None, document: Document) -> str:
        """The id that the path or the document names; it leaves the document."""
        given = document.pop("id", None)
        if kind.name == "secret":
            id, given = _secret_id(id or "", given)
        if id is None and not isinstance(given, (str, int)):
            raise refusal(f"missing {kind.words} id")
        if id is not None and given is not None and str(given) != id:
            raise refusal(f"wrong {kind.words} id")
        if id is not None:
            return id
        # Not every number is an id, though its text would be: the checks of ids refuse the empty one.
        return str(given) if isinstance(given, str) or is_number_id(given) else ""

    def _plugin_name(self, id: str | None) -> str:
        if id is None:
            raise refusal("missing plugin name")
        if id not in self._resources.registry:
            raise refusal("invalid plugin name")
        return id

    def _no_times(self, document: Mapping[str, Any]) -> None:
        inner = {f"{name}.": document.get(name) for name in ("upstream", "plugins")}
        for prefix, members in {"": document, **inner}.items():
            for time in TIMES:
                if isinstance(members, Mapping) and time in members:
                    raise refusal(f"the property is forbidden:  {prefix}{time}")

    def _ttl(self, call: Call) -> float | None:
        text = call.query.one("ttl")
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise refusal("invalid argument ttl: should be a number")
        return min(float(text), MAX_TTL_S)

    def _caller(self, call: Call) -> Caller:
        ttl = self._ttl(call)
        caller = call.caller
        return caller if ttl is None else evolve(caller, expires_at=self._clock.time() + ttl)


_TYPES: Mapping[type, str] = {str: "string", bool: "boolean", type(None): "nil"}


class BadJSONBody(BadBody):
    """
    The content is not JSON.

    Attributes:
        raw: What came.
    """

    def __init__(self, text: str, raw: bytes) -> None:
        self.raw = raw
        super().__init__(f"invalid request body: {text}")


def is_number_id(id: object) -> bool:
    """Whether a JSON value is a number that can be an id."""
    return isinstance(id, int) and not isinstance(id, bool) and id >= 1


def _secret_id(path: str, given: object) -> tuple[str | None, object]:
    """The id that a path below ``/secrets`` names, and what the document adds to it or says otherwise."""
    name, slash, own = path.partition("/")
    if name and name not in secret.MANAGERS:
        raise refusal(f"invalid secret manager: {name[:100]}")
    if slash:
        return path, None if given in (own, path) else given
    return None, f"{name}/{given}" if name and isinstance(given, (str, int)) else None


def _keep_create_time(value: Document, before: Record | None) -> Document:
    """A replaced document keeps the time of its creation, also one that a patch has set."""
    if before is not None and "create_time" in before.value:
        return {**value, "create_time": before.value["create_time"]}
    return value
