"""PATCH in the apisix dialect: merge an object, or put one value at a sub-path (contract §4.6)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.admin.json_patch import merge_patch
from gateway.admin.json_text import MAX_DEPTH, is_deeper
from gateway.admin.refusals import BadBody
from gateway.model.schema import Document


def merged(document: Document, patch: Mapping[str, Any]) -> Document:
    """*document* with *patch* merged in: objects member by member, null deletes, arrays replace whole."""
    return _shallow(merge_patch(document, dict(patch)))


def _shallow(document: Document) -> Document:
    if is_deeper(document, MAX_DEPTH):
        raise BadBody(f"invalid request body: nested deeper than {MAX_DEPTH} levels")
    return document


def placed(document: Document, path: Sequence[str], value: Any) -> Document:
    """
    *document* with *value* at a member; null removes it. Objects on the way are made.

    Args:
        path: Names of members, outermost first; at least one.
    Raises:
        BadBody: something on the way is no object.
    """
    result: Document = copy.deepcopy(document)
    here: Any = result
    for depth, name in enumerate(path[:-1], 1):
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            raise BadBody(f"invalid sub-path: /{'/'.join(path[:depth])}"[:500])
    if value is None:
        here.pop(path[-1], None)
    else:
        here[path[-1]] = value
    return _shallow(result)
