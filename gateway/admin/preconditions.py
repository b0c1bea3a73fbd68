"""Conditional requests: an entity tag is the revision that last changed the resource."""

from __future__ import annotations

import re

from attrs import frozen

from gateway.admin.refusals import Stale
from gateway.model.record import Record

_TAG = re.compile(r'\s*(?:W/)?(?:"([^"]*)"|([^",\s]+))\s*(?:,|$)')


def entity_tag(record: Record) -> str:
    """The strong entity tag of *record*, quoted (RFC 9110 section 8.8.3)."""
    return f'"{record.modified_revision}"'


def _tags(text: str) -> frozenset[str]:
    return frozenset(quoted or bare for quoted, bare in _TAG.findall(text))


@frozen
class Preconditions:
    """
    What a writer asks to hold.

    Attributes:
        if_match: Field value of If-Match, or None. A tag may stand without its quotes.
        if_none_match: Field value of If-None-Match, or None.
    """

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, record: Record | None) -> None:
        """
        Compare with the resource as it is now; None if there is none.

        Raises:
            Stale: they do not hold.
        Source:
            RFC 9110 section 13.1.1 and 13.1.2.
        """
        tag = None if record is None else str(record.modified_revision)
        if self.if_match is not None:
            tags = _tags(self.if_match)
            if tag is None or not ("*" in tags or tag in tags):
                raise Stale()
        if self.if_none_match is not None and tag is not None:
            tags = _tags(self.if_none_match)
            if "*" in tags or tag in tags:
                raise Stale()


NONE = Preconditions()
"""Nothing is asked to hold."""
