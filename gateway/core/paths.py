"""Paths of request targets: the one spelling that routes are matched against, and prefixes.

Matching sees a decoded, normalised path; the upstream gets the target as it was sent
(data-plane contract §3.2). ``strip_prefix`` is the one place where both meet.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DOT_SEGMENT = re.compile(rb"(?:/|%2f)(?:\.|%2e){1,2}(?=/|%2f|$)", re.IGNORECASE)
# What RFC 3986 section 3.3 allows in a path besides letters, digits and percent escapes.
_PATH_SAFE = "/-._~!$&'()*+,;=:@"


class BadPath(ValueError):
    """A request target whose path means nothing, or might mean two things: 400."""


def normalise(raw: bytes) -> str:
    """
    Bring a path into the form that routes are matched against.

    Percent escapes are decoded once (``%2F`` becomes a slash, ``%252F`` becomes ``%2F``), then
    ``.`` and ``..`` are resolved and repeated slashes merged. A trailing slash stays.

    Args:
        raw: The path of a request target in origin form; a query, if still there, is left out.
    Returns:
        Text that starts with ``/``; bytes that are not UTF-8 become lone surrogates (the
        ``surrogateescape`` error handler gives them back).
    Raises:
        BadPath: no slash at the start, ``..`` above the root, a NUL, a bad percent escape, or a
            ``#``: a fragment is no part of a target (RFC 9112 section 3.2), and some upstreams
            would end the path there.
    Source:
        Data-plane contract §3.2; RFC 3986 sections 2.4, 5.2.4 and 6.2.2.
    """
    text = raw.decode("utf-8", "surrogateescape")
    # Nearly every path is plain. Looking into text is several times faster than into bytes.
    if (
        text[:1] == "/"
        and "%" not in text
        and "//" not in text
        and "/." not in text
        and "?" not in text
        and "#" not in text
        and "\0" not in text
    ):
        return text
    return _normalise(raw)


def _normalise(raw: bytes) -> str:
    raw = raw.partition(b"?")[0]
    if raw[:1] != b"/":
        raise BadPath("the path does not start with a slash")
    if b"#" in raw:
        raise BadPath("the path has a fragment")
    if _BAD_ESCAPE.search(raw):
        raise BadPath("the path has a bad percent escape")
    raw = unquote_to_bytes(raw)
    if b"\0" in raw:
        raise BadPath("the path has a NUL")
    return _resolve(raw).decode("utf-8", "surrogateescape")


def _resolve(path: bytes) -> bytes:
    segments = path.split(b"/")
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not kept:
                raise BadPath("the path climbs above the root")
            kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    if kept and segments[-1] in (b"", b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def encode_path(path: str) -> bytes:
    """The inverse of ``normalise``: percent-encode what may not stand in a target's path."""
    return quote_from_bytes(path.encode("utf-8", "surrogateescape"), safe=_PATH_SAFE).encode("ascii")


def join_prefix(prefix: str | None, path: str) -> str:
    """
    Put a service's ``path_prefix`` in front of a route's path pattern, with one slash between.

    Args:
        prefix: Starts with ``/``; ``/``, ``""`` and None change nothing.
        path: A path pattern that starts with ``/``.
    """
    return (prefix or "").rstrip("/") + path


@lru_cache(maxsize=4096)
def _prepared(prefix: str) -> tuple[str, bytes, tuple[bytes, ...] | None]:
    """Without its last slash: as text, as bytes, and segment by segment if some are parameters."""
    bare = prefix.rstrip("/")
    start = bare.encode("utf-8", "surrogateescape")
    return bare, start, tuple(start.split(b"/")) if "/:" in bare else None


def strip_prefix(target: bytes, prefix: str) -> bytes:
    """
    Take a service's ``path_prefix`` off a request target.

    What follows the prefix goes on byte for byte where that is safe. A target that spells the
    prefix otherwise (percent-encoded, with repeated slashes) or that has dot segments, which
    could climb back over the prefix, is replaced by its normalised path, encoded anew.

    Args:
        target: In origin form, as sent by the client or set by a plugin.
        prefix: Starts with ``/``; a segment ``:name`` in it stands for any one segment.
    Returns:
        The target to send: never empty, with the query untouched; *target* itself if its path
        is not below the prefix or cannot be normalised (a plugin has put another one there).
    """
    bare, start, segments = _prepared(prefix)
    if not bare:
        return target
    path, mark, query = target.partition(b"?")
    size = len(start) if segments is None else _raw_size(path, segments)
    if (
        (segments is not None or path.startswith(start))
        and size
        and path[size : size + 1] in (b"/", b"")
        and path[size : size + 2] != b"//"
        and not ((b"/." in path or b"%2" in path) and _DOT_SEGMENT.search(path))
    ):
        return (path[size:] or b"/") + mark + query
    try:
        rest = _below(normalise(path), bare)
    except BadPath:
        rest = None
    return target if rest is None else encode_path(rest) + mark + query


def _raw_size(path: bytes, segments: tuple[bytes, ...]) -> int:
    """How many bytes of *path* its leading *segments* take; 0 if it does not spell them plainly."""
    got = path.split(b"/", len(segments))[: len(segments)]
    if len(got) < len(segments) or got[0]:
        return 0
    for want, have in zip(segments[1:], got[1:], strict=True):
        plain = have and b"%2f" not in have.lower()
        if have != want and not (plain and want.startswith(b":") and len(want) > 1):
            return 0
    return sum(map(len, got)) + len(got) - 1


def _below(path: str, prefix: str) -> str | None:
    """What of the normalised *path* follows *prefix*; None if it is not below it."""
    wanted = prefix.split("/")
    got = path.split("/", len(wanted))
    if len(got) < len(wanted):
        return None
    for want, have in zip(wanted, got, strict=False):
        if have != want and not (want.startswith(":") and len(want) > 1 and have):
            return None
    return "/" + "/".join(got[len(wanted) :])
