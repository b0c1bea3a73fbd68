"""Whole configurations in the apisix dialect: a dry run, and the document of its standalone mode.

``PUT /configs`` replaces everything in the gateway group in one revision (Admin API contract §4.7);
``POST /configs/validate`` only looks (§6.5). Both check each document on its own, a few at a time,
so that a large one does not keep others waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from gateway.admin.apisix import is_number_id
from gateway.admin.apisix_bodies import read_configuration, write_configuration
from gateway.admin.apisix_errors import ApisixErrors
from gateway.admin.apisix_kinds import APISIX_KINDS, DIALECT, ApisixKind
from gateway.admin.calls import Answer, Call
from gateway.admin.expiry import CallLater
from gateway.admin.refusals import BadBody
from gateway.admin.resources import Resources
from gateway.admin.translation import translated
from gateway.control.state import State
from gateway.control.turns import turn
from gateway.errors import ConfigErrors
from gateway.interfaces import Clock
from gateway.model.credential import join_id, split_id
from gateway.model.record import Change, Record
from gateway.model.schema import Document
from gateway.registry import PluginRegistry

KIND = "standalone"
"""The record that keeps versions and the digest of what was last put."""
ID = "configs"
SECTIONS = tuple(kind.path for kind in APISIX_KINDS.values() if kind.parent is None)
MAX_DIGEST = 256
MAX_ERRORS = 1000
"""How many errors one answer tells."""

_CREDENTIALS = "/credentials/"
_PIECE = 20
"""Documents that are checked in one go."""
_MANY = 500
"""Documents that are at least compared with what is stored in one go."""
_UNNAMED = "1"


@frozen
class Item:
    """
    One document of a configuration.

    Attributes:
        section, index: Where it stands. kind: Of what kind it is.
        name: What it is called there; None if it has no id. id: The id of its record.
        value: The document without its id. modified: The number that it carries, or None.
        fault: What is wrong with it, whatever its kind; else None.
    """

    section: str
    index: int
    kind: ApisixKind
    name: str | None
    id: str
    value: Document = field(repr=False)
    modified: int | None = None
    fault: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.kind.name, self.id


def _item(section: str, index: int, given: Any, registry: PluginRegistry) -> Item:
    kind = APISIX_KINDS[section]
    if not isinstance(given, dict):
        return Item(section, index, kind, None, _UNNAMED, {}, fault="an object is needed")
    value = dict(given)
    id = value.pop("id", None)
    name = str(id) if isinstance(id, str) or is_number_id(id) else None
    modified = value.pop("modifiedIndex", None)
    if modified is not None and (isinstance(modified, bool) or not isinstance(modified, int)):
        return Item(section, index, kind, name, _UNNAMED, value, fault="modifiedIndex must be an integer")
    if kind.name == "consumer":
        if name is not None and _CREDENTIALS in name:
            owner, _, own = name.partition(_CREDENTIALS)
            kind = APISIX_KINDS["credentials"]
            return Item(section, index, kind, name, join_id(owner, own), value, modified)
        username = value.get("username")
        name = username if isinstance(username, str) else name
    fault = None
    if kind.name == "plugin_metadata" and name not in registry:
        fault = "missing plugin name" if name is None else "invalid plugin name"
    return Item(section, index, kind, name, _UNNAMED if name is None else name, value, modified, fault)


def items_of(document: Mapping[str, Any], registry: PluginRegistry) -> Iterator[Item]:
    """
    The documents of a configuration; sections that nobody knows are passed over.

    Raises:
        BadBody: a section is no array.
    """
    for section in SECTIONS:
        given = document.get(section)
        # An empty object is what an empty array is called where the two are one.
        if given is None or given == {}:
            continue
        if not isinstance(given, list):
            raise BadBody(f"invalid request body: {section} must be an array")
        for index, each in enumerate(given):
            yield _item(section, index, each, registry)


def _duplicate(item: Item) -> str:
    what = {"consumer": "username", "credential": "credential id"}.get(item.kind.name, "id")
    return f"found duplicate {what} {str(item.name)[:256]} in {item.section}"


class ApisixConfigs:
    """Answers ``configs`` below ``/apisix/admin``."""

    def __init__(
        self, resources: Resources, *, group: str, clock: Clock, call_later: CallLater | None = None
    ) -> None:
        """
        Args:
            group: Id of the gateway group that is administered.
            call_later: As the reactor's; None: documents are all checked in one go.
        """
        self._resources = resources
        self._group = group
        self._clock = clock
        self._call_later = call_later
        self._errors = ApisixErrors(resources.registry)

    async def answer(self, call: Call, path: Sequence[str]) -> Answer:
        """``/configs`` and ``/configs/validate``."""
        match (list(path), call.method):
            case (["validate"], "POST"):
                return await self._validate(call)
            case ([], "GET"):
                return self._get(call)
            case ([], "PUT"):
                return await self._put(call)
        return Answer(404, {"error_msg": "not found"})

    # Checking

    async def _faults(
        self, items: Sequence[Item], known: State | None = None
    ) -> AsyncIterator[tuple[Item, str]]:
        """
        What is wrong with which documents.

        Args:
            known: Documents that are stored there as they are need no second look.
        """
        seen: set[tuple[str, str]] = set()
        looked_at = 0
        for number, item in enumerate(items, 1):
            if number % _MANY == 0:
                await self._pause()
            text = item.fault
            if text is None and item.name is not None and item.key in seen:
                text = _duplicate(item)
            elif text is None and not (known is not None and self._is_stored(known, item)):
                looked_at += 1
                if looked_at % _PIECE == 0:
                    await self._pause()
                problems = self._resources.validate(
                    self._group, item.kind.alone, item.id, item.value, DIALECT
                )
                text = self._errors.text(item.kind.name, problems) if problems else None
            if item.name is not None:
                seen.add(item.key)
            if text is not None:
                yield item, text

    def _is_stored(self, state: State, item: Item) -> bool:
        record = state.get(self._group, *item.key)
        return record is not None and record.dialect == DIALECT and record.value == item.value

    async def _pause(self) -> None:
        if self._call_later is not None:
            await turn(self._call_later)

    async def _validate(self, call: Call) -> Answer:
        items = list(items_of(read_configuration(call), self._resources.registry))
        errors: list[Document] = []
        async for item, text in self._faults(items):
            errors.append(
                {
                    "resource_type": item.section,
                    "resource_id": item.name or "",
                    "index": item.index,
                    "error": text,
                }
            )
            if len(errors) == MAX_ERRORS:
                break
        if not errors:
            return Answer(200, {})
        return Answer(400, {"error_msg": "Configuration validation failed", "errors": errors})

    # The standalone document

    def _meta(self, state: State) -> Record | None:
        return state.get(self._group, KIND, ID)

    def _headers(self) -> dict[str, str]:
        meta = self._meta(self._resources.state)
        if meta is None:
            return {}
        value = meta.value
        return {"X-Digest": str(value["digest"]), "X-Last-Modified": str(value["last_modified"])}

    def _get(self, call: Call) -> Answer:
        state = self._resources.state
        meta = self._meta(state)
        stored: Mapping[str, Any] = {} if meta is None else meta.value
        document: Document = {}
        for section in SECTIONS:
            shown = [self._shown(state, record, stored) for record in self._records(state, section)]
            if shown:
                document[section] = shown
            document[f"{section}_conf_version"] = stored.get("versions", {}).get(section, 0)
        body, type = write_configuration(call, document)
        return Answer(200, body, {"Content-Type": type, **self._headers()})

    def _records(self, state: State, section: str) -> Iterator[Record]:
        yield from state.all(self._group, APISIX_KINDS[section].name).values()
        if section == "consumers":
            yield from state.all(self._group, "credential").values()

    def _shown(self, state: State, record: Record, meta: Mapping[str, Any]) -> Document:
        value = translated(state, record, DIALECT)
        if record.kind == "credential":
            username, own = split_id(record.id)
            value = {"id": f"{username}{_CREDENTIALS}{own}", **value}
        elif record.kind != "consumer":
            value = {"id": record.id, **value}
        modified = meta.get("modified", {}).get(f"{record.kind}/{record.id}")
        return value if modified is None else {**value, "modifiedIndex": modified}

    async def _put(self, call: Call) -> Answer:
        digest = call.headers("x-digest")
        if not digest:
            raise BadBody("missing digest header")
        if len(digest) > MAX_DIGEST or not digest.isascii() or not digest.isprintable():
            raise BadBody("invalid digest header")
        if self._is_current(digest):
            return Answer(204, None, self._headers())
        document = read_configuration(call)
        items = list(items_of(document, self._resources.registry))
        # Told before documents are checked, and once more when it is this write's turn.
        self._versions(self._resources.state, document)
        async for _, text in self._faults(items, self._resources.state):
            raise BadBody(text)
        for item in items:
            if item.name is None:
                raise BadBody(f"missing {item.kind.words} id")
        try:
            await self._resources.write(
                lambda state: self._changes(state, digest, document, items), call.caller
            )
        except ConfigErrors as errors:
            # What cannot be compiled is told with its kind and id in front.
            problem = errors.problems[0]
            where = "/".join(str(part) for part in problem.path[:2])
            raise BadBody(f"invalid configuration: {where}: {problem.message}") from None
        return Answer(202, None, self._headers())

    def _is_current(self, digest: str) -> bool:
        # Whatever else was written since may have changed what the digest is of.
        state = self._resources.state
        meta = self._meta(state)
        return (
            meta is not None and meta.modified_revision == state.revision and meta.value["digest"] == digest
        )

    def _versions(self, state: State, document: Mapping[str, Any]) -> dict[str, int]:
        """The new version of each section. Raises BadBody if one goes back, or is no number."""
        meta = self._meta(state)
        before = {} if meta is None else meta.value["versions"]
        versions = {}
        for section in SECTIONS:
            name = f"{section}_conf_version"
            old, new = int(before.get(section, 0)), document.get(name)
            if new is None:
                versions[section] = old + 1
                continue
            if isinstance(new, bool) or not isinstance(new, int):
                raise BadBody(f"{name} must be a number")
            if new < old:
                raise BadBody(f"{name} must be greater than or equal to ({old})")
            versions[section] = new
        return versions

    def _changes(
        self, state: State, digest: str, document: Mapping[str, Any], items: Sequence[Item]
    ) -> Sequence[Change]:
        versions = self._versions(state, document)
        meta = self._meta(state)
        old: Mapping[str, Any] = {"versions": {}, "modified": {}} if meta is None else meta.value
        kept = {section for section, n in versions.items() if n == old["versions"].get(section, 0)}
        wanted = {item.key: item for item in items if item.section not in kept}
        modified: dict[str, int] = {}
        changes: list[Change] = []
        for section in SECTIONS:
            for record in self._records(state, section):
                name = f"{record.kind}/{record.id}"
                if section in kept:
                    if name in old["modified"]:
                        modified[name] = old["modified"][name]
                elif (record.kind, record.id) not in wanted:
                    changes.extend(self._removal(state, record))
        for (kind, id), item in wanted.items():
            if item.modified is not None:
                modified[f"{kind}/{id}"] = item.modified
            if not self._is_stored(state, item):
                changes.append(Change(self._group, kind, id, item.value, DIALECT))
        value = {
            "digest": digest,
            "last_modified": int(self._clock.time()),
            "versions": versions,
            "modified": modified,
        }
        changes.append(Change(self._group, KIND, ID, value, DIALECT))
        return list({change.key: change for change in changes}.values())

    def _removal(self, state: State, record: Record) -> Iterator[Change]:
        yield Change(*record.key, None)
        if record.kind == "service":
            # What only the enterprise dialect has goes with its service.
            for id in state.all(record.group, "service_upstream"):
                if split_id(id)[0] == record.id:
                    yield Change(record.group, "service_upstream", id, None)
