"""The resource service: read, create, replace, patch and delete, without a dialect's words.

It takes documents and gives records; what may go wrong is a ``Refusal``. Everything that depends
on the current configuration is checked inside the plan, when it is this write's turn, so two
writers can never both be right about the same free key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from attrs import evolve, frozen

from gateway.admin.checks import Draft
from gateway.admin.expiry import KIND as EXPIRY
from gateway.admin.expiry import with_expiries
from gateway.admin.keys import KeyIndex
from gateway.admin.kind import Kind, Shape
from gateway.admin.kinds import GATEWAY_GROUP, KINDS
from gateway.admin.preconditions import NONE, Preconditions
from gateway.admin.refusals import Invalid, NotFound
from gateway.admin.translation import translated
from gateway.control.control import Control, Plan, Written
from gateway.control.state import State
from gateway.core.compiler import SERVED_KINDS
from gateway.core.unused import unused
from gateway.errors import ConfigErrors, Problem
from gateway.model.credential import join_id, split_id
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.record import Change, Key, Record
from gateway.model.schema import Document
from gateway.registry import PluginRegistry

Edit = Callable[[Document], Any]
"""From a stored document, with its id, to the one that should replace it. May raise Refusal."""

Finish = Callable[[Document, Record | None], Document]
"""From the document to be stored, and the record it replaces, to what is really stored."""

Guard = Callable[[State, Record], None]
"""Looks at a record that is about to be deleted; raises a Refusal to keep it."""


@frozen
class Caller:
    """
    Who writes, for the log of revisions, and under which conditions.

    Attributes:
        served: Whether the write ends once it is served; else once it is stored.
        expires_at: Unix seconds at which what is written goes again; None for never.
    """

    author: str
    reason: str | None = None
    preconditions: Preconditions = NONE
    served: bool = True
    expires_at: float | None = None


@frozen
class Place:
    """
    Where resources of one kind are.

    Attributes:
        group: The gateway group's id; ``""`` for what belongs to none.
        parent: The own id of the parent, for kinds that have one.
    """

    group: str
    kind: Kind
    parent: str | None = None

    def stored(self, id: str) -> str:
        """The id of the record for the own id *id*."""
        return id if self.parent is None else join_id(self.parent, id)


@frozen
class Stored:
    """
    A finished write.

    Attributes:
        record: What is stored now. created: Whether it was not there before.
        revision: The number of the commit.
    """

    record: Record
    created: bool
    revision: int
    warnings: tuple[str, ...] = ()


def own_id(kind: Kind, record: Record) -> str:
    """The id as users know it."""
    return record.id if kind.parent is None else split_id(record.id)[1]


def is_served(kind: Kind) -> bool:
    """Whether the data plane looks at resources of a kind; those of no gateway group are not for it."""
    return kind.name not in KINDS or kind.name in SERVED_KINDS


def group_exists(state: State, group: str) -> bool:
    """Whether *group* can hold resources; the default group always can."""
    return group in ("", DEFAULT_GROUP) or state.get("", "gateway_group", group) is not None


class Resources:
    """
    Reads the served configuration and changes it through ``Control``.

    Attributes:
        on_expiry: Called after a commit that changed when something ends.
    """

    def __init__(
        self, control: Control, registry: PluginRegistry, *, new_id: Callable[[], str] = lambda: str(uuid4())
    ) -> None:
        self.control = control
        self.registry = registry
        self._new_id = new_id
        self._keys = KeyIndex(registry)
        self.on_expiry: Callable[[], None] = lambda: None
        self._members: dict[str, tuple[Mapping[str, Record], dict[str, list[Record]]]] = {}

    @property
    def state(self) -> State:
        """The configuration being served."""
        return self.control.state

    # Reading

    def get(self, place: Place, id: str) -> Record:
        """One record, by its own id. Raises NotFound."""
        self._enter(self.state, place)
        record = self.state.get(place.group, place.kind.name, place.stored(id))
        if record is None:
            raise NotFound()
        return record

    def all(self, place: Place, service_id: str | None = None) -> Sequence[Record]:
        """
        Every record of a place, in the order of creation.

        Args:
            service_id: Only routes, or stream routes, of that service.
        Raises:
            NotFound: the group or the parent does not exist.
        """
        self._enter(self.state, place)
        table = self.state.all(place.group, place.kind.name)
        if place.parent is not None:
            return self._grouped(place.kind.name, table, lambda r: split_id(r.id)[0]).get(place.parent, [])
        if service_id is not None:
            name = f"{place.kind.name} of service"
            return self._grouped(name, table, lambda r: str(r.value.get("service_id", ""))).get(
                service_id, []
            )
        return list(table.values())

    def _grouped(
        self, name: str, table: Mapping[str, Record], owner: Callable[[Record], str]
    ) -> Mapping[str, list[Record]]:
        # Clients ask once per parent; the table is another object as soon as anything in it changes.
        cached = self._members.get(name)
        if cached is None or cached[0] is not table:
            groups: dict[str, list[Record]] = {}
            for record in table.values():
                groups.setdefault(owner(record), []).append(record)
            cached = self._members[name] = (table, groups)
        return cached[1]

    # Writing

    async def write(self, plan: Plan, caller: Caller) -> Written:
        """Commit a plan; the index of keys follows along."""

        def following(state: State) -> Sequence[Change]:
            self._keys.follow(state)
            return with_expiries(state, plan(state), caller.expires_at)

        written = await self.control.write(
            following, author=caller.author, reason=caller.reason, served=caller.served
        )
        if written.revision is not None and any(c.kind == EXPIRY for c in written.revision.changes):
            self.on_expiry()
        return written

    async def expire(self, plan: Plan) -> Written:
        """Commit a plan in the gateway's own name: what it removes has ended."""
        return await self.write(plan, Caller("gateway", "expired"))

    async def put(
        self,
        place: Place,
        id: str,
        document: Document,
        caller: Caller,
        dialect: str,
        finish: Finish = lambda value, before: value,
    ) -> Stored:
        """
        Make or wholly replace a resource.

        Args:
            finish: The last touch on what is stored, for members that no client may set.
        Raises:
            Invalid, NotFound, Stale: see ``gateway.admin.refusals``.
            ConfigErrors: the result could not be served.
            StoreUnavailable: the store did not take it.
        """

        def plan(state: State) -> Sequence[Change]:
            before = self._before(state, place, id, caller)
            if before is None and not (place.kind.upsert or _is_default_group(place, id)):
                raise NotFound()
            full = document if member is None else {member: id, **document}
            full = {**full, **_unseen(place.kind.shapes[dialect], full, before)}
            return [self._change(state, place, id, full, before, dialect, finish)]

        member = place.kind.id_member
        return await self._store(place, lambda: id, plan, caller)

    async def create(
        self,
        place: Place,
        document: Document,
        caller: Caller,
        dialect: str,
        finish: Finish = lambda value, before: value,
        make_id: Callable[[State], str] | None = None,
    ) -> Stored:
        """
        Make a resource under an id of the server's choice, or the one its kind finds in it.

        Args:
            finish: As for ``put``.
            make_id: Chooses the id once it is this write's turn; None for the server's usual way.
        Raises:
            As ``put``; Invalid if it exists already.
        """
        kind = place.kind
        found = None if kind.id_of is None else kind.id_of(document)
        given = [name for name in kind.id_members if name in document]
        if given and found is None and kind.upsert:
            text = "a POST takes no id, the server makes one; use PUT to choose it"
            raise Invalid(kind.name, [Problem((given[0],), "unsupported", text)])
        id = self._new_id() if found is None else found

        def plan(state: State) -> Sequence[Change]:
            nonlocal id
            if make_id is not None:
                id = make_id(state)
            before = self._before(state, place, id, caller)
            if before is not None:
                raise Invalid(kind.name, [Problem((), "duplicate", f"{kind.title} already exists")])
            return [self._change(state, place, id, document, None, dialect, finish)]

        return await self._store(place, lambda: id, plan, caller)

    async def patch(
        self,
        place: Place,
        id: str,
        edit: Edit,
        caller: Caller,
        dialect: str,
        finish: Finish = lambda value, before: value,
    ) -> Stored:
        """
        Change a resource from what it is when it is this write's turn; the result is checked whole.

        A resource that the other dialect wrote is changed from what it looks like in this one.

        Args:
            finish: As for ``put``.
        Raises:
            As ``put``; NotFound if it does not exist; whatever *edit* raises.
        """

        def plan(state: State) -> Sequence[Change]:
            before = self._before(state, place, id, caller)
            if before is None:
                raise NotFound()
            document = translated(state, before, dialect)
            if place.kind.id_members:
                document[place.kind.id_members[0]] = id
            edited = edit(document)
            if not isinstance(edited, dict):
                text = "value must be an object"
                raise Invalid(place.kind.name, [Problem((), "value", text)])
            return [self._change(state, place, id, edited, before, dialect, finish)]

        return await self._store(place, lambda: id, plan, caller)

    async def delete(
        self, place: Place, id: str, caller: Caller, guard: Guard = lambda state, record: None
    ) -> int:
        """
        Remove a resource and all that hangs on it, in one commit.

        Args:
            guard: Asked once it is this write's turn.
        Returns:
            The commit's revision.
        Raises:
            NotFound: it does not exist. Otherwise what *guard* raises, or as ``put``.
        """

        def plan(state: State) -> Sequence[Change]:
            record = self._before(state, place, id, caller)
            if record is None:
                raise NotFound()
            guard(state, record)
            keys = dict.fromkeys(place.kind.cascade(state, place.group, record.id))
            return [Change(*key, None) for key in (*keys, record.key)]

        return (await self.write(plan, caller)).state.revision

    def _enter(self, state: State, place: Place) -> None:
        if not group_exists(state, place.group):
            raise NotFound("gateway group")
        if place.parent is not None and place.kind.parent is not None:
            parent = KINDS[place.kind.parent]
            if state.get(place.group, parent.name, place.parent) is None:
                raise NotFound(parent.title)

    def _before(self, state: State, place: Place, id: str, caller: Caller) -> Record | None:
        self._enter(state, place)
        record = state.get(place.group, place.kind.name, place.stored(id))
        caller.preconditions.check(record)
        return record

    async def _store(self, place: Place, id: Callable[[], str], plan: Plan, caller: Caller) -> Stored:
        try:
            written = await self.write(plan, caller)
        except ConfigErrors as errors:
            key = (place.group, place.kind.name, place.stored(id()))
            # What cannot be compiled is told with its kind and id in front; here those are known.
            raise Invalid(
                place.kind.name, [_from_here(problem, key) for problem in errors.problems]
            ) from errors
        record = written.state.get(place.group, place.kind.name, place.stored(id()))
        assert record is not None
        warnings = place.kind.warnings(record.value, self.registry.is_auth)
        if not is_served(place.kind):
            warnings.append(f"the {place.kind.title} is stored; the data plane does not use it yet")
        else:
            warnings.extend(unused(place.kind.name, record.value))
            warnings.extend(self._unused_settings(place.kind.name, record.value))
        created = record.created_revision == record.modified_revision
        return Stored(record, created, written.state.revision, tuple(warnings))

    def _unused_settings(self, kind: str, document: Mapping[str, Any]) -> Iterator[str]:
        """Settings of plugins that have no effect."""
        of_consumer = kind in ("consumer", "credential")
        for name, config in document.get("plugins", {}).items():
            if name in self.registry and not (of_consumer and self.registry.is_auth(name)):
                for text in self.registry.unused(name, config):
                    yield f"plugins.{name}.{text}"

    def _change(
        self,
        state: State,
        place: Place,
        id: str,
        document: Document,
        before: Record | None,
        dialect: str,
        finish: Finish = lambda value, before: value,
    ) -> Change:
        """Check a document; what it becomes when it is stored."""
        kind = place.kind
        shape = kind.shapes[dialect]
        document = {name: value for name, value in document.items() if name not in shape.ignored}
        draft = Draft(
            state, self.registry, self._keys, place.group, kind.name, place.stored(id), document, before
        )
        problems = found_problems(kind, shape, draft, id)
        if problems:
            raise Invalid(kind.name, problems)
        value = {name: member for name, member in document.items() if name not in kind.id_members}
        full = finish(shape.complete(value), before)
        return Change(place.group, kind.name, place.stored(id), full, dialect)

    def change(self, group: str, kind: Kind, id: str, document: Document, dialect: str) -> Change:
        """
        What stores a document that came from the gateway itself, checked on its own.

        Raises:
            Invalid: it does not fit.
        """
        problems = self.validate(group, kind, id, document, dialect)
        if problems:
            raise Invalid(kind.name, problems)
        shape = kind.shapes[dialect]
        value = {name: member for name, member in document.items() if name not in kind.id_members}
        return Change(group, kind.name, id, shape.complete(value), dialect)

    def validate(
        self, group: str, kind: Kind, id: str, document: Document, dialect: str
    ) -> Sequence[Problem]:
        """
        Check a document on its own, without a look at other resources; nothing is stored.

        Args:
            id: The own id it would have; the stored one for kinds with a parent.
        Returns:
            Every problem, as a write would tell it.
        """
        shape = kind.shapes[dialect]
        document = {name: value for name, value in document.items() if name not in shape.ignored}
        draft = Draft(self.state, self.registry, self._keys, group, kind.name, id, document, None)
        own = id if kind.parent is None else split_id(id)[1]
        return found_problems(kind, shape, draft, own, references=False)


def found_problems(
    kind: Kind, shape: Shape, draft: Draft, id: str, *, references: bool = True
) -> list[Problem]:
    """
    Everything that is wrong with a document.

    Args:
        id: Its own id. references: Whether other resources count.
    """
    document = draft.document
    problems = kind.id_problems(id)
    last = id.rpartition("/")[2]
    for name in (*kind.id_members, *filter(None, [kind.id_member])):
        if kind.upsert and isinstance(document.get(name), str) and document[name] not in (id, last):
            text = "the id in the body is not the one in the path"
            problems.append(Problem((name,), "conflict", text, id))
    found = shape.checker(document).problems(document)
    checks = (*kind.checks, *kind.references) if references else kind.checks
    own = [problem for check in checks for problem in check(draft)]
    told = {problem.path for problem in own}
    # A rule of our own that stands at the same place says it better.
    problems += [p for p in found if p.path not in told or p.rule not in _SIZES]
    problems += own
    if not found:
        problems += kind.problems(document)
    return problems


_SIZES = ("minProperties", "maxProperties")


def _unseen(shape: Shape, document: Document, before: Record | None) -> Mapping[str, Any]:
    """Members no answer shows, of a document that was read and is written back with the same certificates."""
    if before is None or not shape.hidden or shape.hidden & document.keys():
        return {}
    if any(document.get(name) != before.value.get(name) for name in ("cert", "certs")):
        return {}
    return {name: before.value[name] for name in shape.hidden if name in before.value}


def _is_default_group(place: Place, id: str) -> bool:
    return place.kind is GATEWAY_GROUP and id == DEFAULT_GROUP


def _from_here(problem: Problem, key: Key) -> Problem:
    return evolve(problem, path=problem.path[2:]) if problem.path[:2] == key[1:] else problem
