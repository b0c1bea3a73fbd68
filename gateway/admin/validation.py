"""``POST /apisix/admin/configs/validate``: a dry run over many documents (Admin API contract §6.5).

Every document is checked as a PUT would check it, but on its own: what it refers to need not
exist, and nothing is stored. All errors come together, each with the place of its document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from gateway.admin.calls import Answer
from gateway.admin.kind import Kind
from gateway.admin.kinds import KINDS
from gateway.admin.refusals import BadBody
from gateway.admin.resources import Resources
from gateway.model.credential import join_id
from gateway.model.problems import Problem

MAX_ERRORS = 1000
"""How many errors one answer tells."""

_UNNAMED = "unnamed"
_INSIDE = "/credentials/"


@frozen
class Fault:
    """
    What is wrong with one document.

    Attributes:
        index: Its place in its array, from 0. id: What it is called; empty if nobody said.
        problems: Every problem; or *text* says it.
    """

    resource: str
    index: int
    id: str
    kind: str
    problems: Sequence[Problem] = ()
    text: str = ""


Words = Callable[[str, Sequence[Problem]], str]
"""From a kind and problems of a document to the text of its error."""


class Validation:
    """Checks sets of documents in the shapes of one dialect."""

    def __init__(self, resources: Resources, dialect: str, words: Words) -> None:
        self._resources = resources
        self._dialect = dialect
        self._words = words
        self._kinds: dict[str, Kind] = {}
        for kind in KINDS.values():
            shape = kind.shapes.get(dialect)
            if shape is not None:
                for path in (shape.path, *shape.aliases):
                    self._kinds.setdefault(path, kind)
        self._kinds["consumer_credentials"] = KINDS["credential"]

    def answer(self, group: str, document: Mapping[str, Any]) -> Answer:
        """
        Check *document*: resource name → array of documents.

        Raises:
            BadBody: a member is no array, or no resource is called so.
        """
        faults: list[Fault] = []
        for resource, items in document.items():
            kind = self._kinds.get(resource)
            if kind is None:
                raise BadBody(f"invalid request body: unknown resource type {resource[:100]}")
            if not isinstance(items, list):
                raise BadBody(f"invalid request body: {resource} must be an array")
            self._check(group, resource, kind, items, faults)
        if not faults:
            return Answer(200, {})
        errors = [
            {
                "resource_type": fault.resource,
                "resource_id": fault.id,
                "index": fault.index,
                "error": fault.text or self._words(fault.kind, fault.problems),
            }
            for fault in faults[:MAX_ERRORS]
        ]
        return Answer(400, {"error_msg": "Configuration validation failed", "errors": errors})

    def _check(
        self, group: str, resource: str, kind: Kind, items: Sequence[Any], faults: list[Fault]
    ) -> None:
        seen: set[tuple[str, str]] = set()
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                faults.append(Fault(resource, index, "", kind.name, text="value must be an object"))
                continue
            own, id = self._own(kind, item)
            if id is not None:
                if (own.name, id) in seen:
                    text = f"found duplicate {_called(own)} {id[:256]} in {resource}"
                    faults.append(Fault(resource, index, id, own.name, text=text))
                    continue
                seen.add((own.name, id))
            elif own.bare:
                text = 'does not match schema due to: Error at "/id": property "id" is missing'
                faults.append(Fault(resource, index, "", own.name, text=text))
                continue
            parent, _, last = (id or _UNNAMED).rpartition(_INSIDE)
            stored = last if own.parent is None else join_id(parent or _UNNAMED, last)
            members = self._members(own, item, last)
            problems = self._resources.validate(group, own, stored, members, self._dialect)
            if problems:
                faults.append(Fault(resource, index, id or "", own.name, problems))

    def _own(self, kind: Kind, item: Mapping[str, Any]) -> tuple[Kind, str | None]:
        """The kind of one document and its id: credentials may stand among the consumers."""
        id = next((item[name] for name in (*kind.id_members, "id") if isinstance(item.get(name), str)), None)
        if kind.name == "consumer" and isinstance(id, str) and _INSIDE in id:
            return KINDS["credential"], id
        if kind.id_of is not None:
            return kind, kind.id_of(item) or id
        return kind, id

    def _members(self, kind: Kind, item: Mapping[str, Any], last: str) -> dict[str, Any]:
        members = dict(item)
        if "id" in members and isinstance(members["id"], str) and _INSIDE in members["id"]:
            members["id"] = last
        if kind.parent == "service":
            # Which service it belongs to is in the path of a PUT; here there is none.
            members.pop("service_id", None)
        return members


def _called(kind: Kind) -> str:
    return kind.id_member or ("credential id" if kind.name == "credential" else "id")
