"""Lists: which records, in which order, which page (Admin API contract §2.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from gateway.admin.calls import Query
from gateway.admin.kind import Filter, Kind
from gateway.admin.refusals import BadParameter
from gateway.model.credential import split_id
from gateway.model.record import Record

DEFAULT_PAGE_SIZE = 10
_LABEL = re.compile(r"labels\[(.*)\]", re.DOTALL)


@frozen
class Page:
    """
    Part of a list.

    Attributes:
        records: In order. total: How many there are on all pages.
    """

    records: Sequence[Record]
    total: int


@frozen
class Listing:
    """
    What a reader wants of a list.

    Attributes:
        page: From 1; None for everything. page_size: Records on a page.
        order_by: ``updated_at``, ``created_at``, ``name``, or a member its kind names.
        descending: Largest first.
        search: Text to be found in id, name, description or labels, in any letter case.
        labels: Labels that a record must have, with these values. label_keys: with any value.
        filters: Further conditions and the values they are for.
    """

    page: int | None
    page_size: int
    order_by: str
    descending: bool
    search: str | None
    labels: Mapping[str, str]
    label_keys: Sequence[str]
    filters: Sequence[tuple[Filter, str]]

    @classmethod
    def parse(cls, query: Query, kind: Kind) -> Listing:
        """
        Read query parameters; those nobody knows are ignored.

        Args:
            kind: Says by which parameters its lists are narrowed, and in which orders they come.
        Raises:
            BadParameter: a number or a word cannot be used.
        """
        labels: dict[str, str] = {}
        for name, value in query.pairs:
            match = _LABEL.fullmatch(name)
            if match is None:
                continue
            if labels.setdefault(match[1], value) != value:
                raise BadParameter(name, "one label cannot have two values")
        page = query.number("page", None)
        page_size = query.number("page_size", None)
        return cls(
            page=1 if page is None and page_size is not None else page,
            page_size=page_size or DEFAULT_PAGE_SIZE,
            order_by=query.choice("order_by", ("updated_at", "created_at", "name", *kind.orders)),
            descending=query.choice("direction", ("desc", "asc")) == "desc",
            search=query.one("search"),
            labels=labels,
            label_keys=query.all("label"),
            filters=[(filter, value) for name, filter in kind.filters.items() for value in query.all(name)],
        )

    def of(self, records: Sequence[Record]) -> Page:
        """The page of *records* that is wanted."""
        chosen = [record for record in records if self._has(record)] if self._narrows else list(records)
        chosen.sort(key=self._place, reverse=self.descending)
        if self.page is None:
            return Page(chosen, len(chosen))
        start = (self.page - 1) * self.page_size
        return Page(chosen[start : start + self.page_size], len(chosen))

    @property
    def _narrows(self) -> bool:
        return bool(self.labels or self.label_keys or self.filters or self.search)

    def _place(self, record: Record) -> tuple[Any, ...]:
        # Times are whole seconds; revisions order what happened within one.
        if self.order_by == "name":
            return (_text(record.value.get("name", record.value.get("username"))), record.created_revision)
        if self.order_by == "created_at":
            return (record.created_at, record.created_revision, record.id)
        if self.order_by != "updated_at":
            return (record.value.get(self.order_by, 0), record.modified_revision, record.id)
        return (record.updated_at, record.modified_revision, record.id)

    def _has(self, record: Record) -> bool:
        labels = record.value.get("labels", {})
        if any(labels.get(name) != value for name, value in self.labels.items()):
            return False
        if any(name not in labels for name in self.label_keys):
            return False
        if not all(filter(record, value) for filter, value in self.filters):
            return False
        return self.search is None or _contains(record, self.search.casefold())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _contains(record: Record, wanted: str) -> bool:
    value = record.value
    own = split_id(record.id)[1] if record.kind == "credential" else record.id
    texts = [own, *(_text(value.get(name)) for name in ("name", "username", "desc", "description"))]
    for name, label in value.get("labels", {}).items():
        texts += (name, _text(label))
    return any(wanted in text.casefold() for text in texts)
