"""What a kind of resource is: its checks and its cascade, and its shape in each dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

from gateway.admin.checks import Check
from gateway.control.state import State
from gateway.model import fields
from gateway.model.problems import Problem
from gateway.model.record import Key, Record
from gateway.model.schema import Checker, Document, Schema, fill_scalars

Filter = Callable[[Record, str], bool]
"""Whether a record is in a list that a query parameter's value narrows."""

TIMES = ("created_at", "updated_at")

_ID = Checker(fields.identifier)
_USERNAME = Checker(fields.username)


def plain_id(id: str) -> list[Problem]:
    """What is wrong with an id, for most kinds (Admin API contract §2.8)."""
    return [problem.below("id") for problem in _ID.problems(id)]


def username_id(id: str) -> list[Problem]:
    """What is wrong with a username that is an id."""
    return [problem.below("username") for problem in _USERNAME.problems(id)]


@frozen
class Shape:
    """
    How documents of a kind look in one dialect.

    Attributes:
        path: The segment under ``/apisix/admin``; empty for what is served elsewhere.
        methods: Letters of Admin API contract §3.1: L G C U P D.
        checker: Picks the schema that a document must fit.
        ignored: Members the server adds to answers. They are accepted and dropped, so that
            what was read can be written back.
        aliases: Other segments that mean the same.
        hidden: Members that no answer shows.
    """

    path: str
    methods: str
    checker: Callable[[Mapping[str, Any]], Checker]
    ignored: frozenset[str] = frozenset(TIMES)
    aliases: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()

    def complete(self, document: Document) -> Document:
        """Add the defaults that this dialect stores (Admin API contract §6.4)."""
        return fill_scalars(self.checker(document).schema, document)


@frozen
class Kind:
    """
    A kind of resource.

    Attributes:
        name: The kind of its records. title: What people call it.
        shapes: Dialect → shape.
        id_members: Members that repeat the id; they must agree with the path and are not stored.
        id_member: The member that *is* the id and is stored, such as ``username``; or None.
        id_of: Finds the id in a document that is created without one; None for a new UUID.
        id_problems: What is wrong with an own id.
        id_segments: Of how many path segments an own id is made.
        parent: The kind its records belong to, if their stored id is ``<parent id>/<own id>``.
        upsert: Whether a PUT may create it.
        bare: Whether answers are the document alone, without id and times.
        problems: What no schema can say about a document that fits it.
        checks: What depends on plugins or on the id: told of a document that is only validated, too.
        references: What depends on other resources.
        cascade: What goes when it goes, by key; children before parents.
        warnings: What a writer should know though it was accepted.
        filters: Query parameters that narrow its lists.
        orders: What its lists can be ordered by besides times and name: members of its documents.
        secrets: Names of members that hold secrets, wherever they stand.
    """

    name: str
    title: str
    shapes: Mapping[str, Shape]
    id_members: tuple[str, ...] = ("id",)
    id_member: str | None = None
    id_of: Callable[[Mapping[str, Any]], str | None] | None = None
    id_problems: Callable[[str], list[Problem]] = plain_id
    id_segments: int = 1
    parent: str | None = None
    upsert: bool = True
    bare: bool = False
    problems: Callable[[Mapping[str, Any]], list[Problem]] = lambda document: []
    checks: tuple[Check, ...] = ()
    references: tuple[Check, ...] = ()
    cascade: Callable[[State, str, str], Iterable[Key]] = lambda state, group, own: ()
    warnings: Callable[[Mapping[str, Any], Callable[[str], bool]], list[str]] = lambda document, is_auth: []
    filters: Mapping[str, Filter] = field(factory=dict)
    orders: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset({"client_key"})


def one(schema: Schema) -> Callable[[Mapping[str, Any]], Checker]:
    """The checker of a kind whose documents all fit one schema."""
    checker = Checker(schema)
    return lambda document: checker


def member(name: str) -> Filter:
    """Records whose member *name* is the text asked for."""
    return lambda record, wanted: str(record.value.get(name)) == wanted


def flag(name: str) -> Filter:
    """Records whose member *name* is as true as the text asked for."""
    return lambda record, wanted: bool(record.value.get(name)) == (wanted.lower() in ("true", "1"))
