"""The first look at a request: is it HTTP that means one thing only? What is ambiguous is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gateway.core import reasons
from gateway.core.exchange import Reply, RequestHead
from gateway.core.fields import Pair
from gateway.core.paths import BadPath, normalise

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z").match
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e\x80-\xff]+\Z").match
"""A request target: no controls, white space or fragment. Bytes over 0x7f pass: some browsers send them."""
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
"""Upstreams get these percent-encoded, as RFC 3986 section 2.5 would have had them sent."""
_HOST = re.compile(rb"(?:[0-9A-Za-z._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z").match
_MAX_HOST = 1024
"""A name has 253 characters at most (RFC 1035 section 2.3.4)."""
_FIELD_BAD = re.compile(rb"[\x00\r\n]").search
_ABSOLUTE = re.compile(rb"(?i)https?://([^/?#]*)")


class Admitted(NamedTuple):
    """
    A request that may go on.

    Attributes:
        path: Decoded and normalised, for matching.
        host: The Host in lower case, without its port; empty for HTTP/1.0 without one.
    """

    head: RequestHead
    path: str
    host: str


def _refuse(why: str) -> Reply:
    return Reply(400, None, ((b"connection", b"close"),), reasons.BAD_REQUEST, why)


def admit(method: bytes, target: bytes, pairs: Sequence[Pair], version: tuple[int, int]) -> Admitted | Reply:
    """
    Check a request's head and reduce its target to origin form.

    Args:
        method, target: As on the request line.
        pairs: Field lines in order, names lower-cased.
        version: ``(1, 1)`` and so on.
    Returns:
        The admitted request, or the 400 that refuses it and closes the connection.
    Source:
        RFC 9112 sections 3 and 3.2, RFC 9110 sections 5.5, 5.6.2 and 7.2.
    """
    if _TOKEN(method) is None:
        return _refuse("the method is not a token")
    hosts = []
    for name, value in pairs:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version < (1, 1)):
            return _refuse("the only transfer coding taken is chunked, and that of HTTP/1.1")
        elif _FIELD_BAD(value) is not None or _TOKEN(name) is None:
            return _refuse("a field line holds bytes that no field line may hold")
    return admit_read(RequestHead(method, target, tuple(pairs), version), hosts)


def admit_read(head: RequestHead, hosts: Sequence[bytes]) -> Admitted | Reply:
    """
    The same for a head that was read strictly: method and field lines are known to be what they should.

    Args:
        hosts: The values of its Host fields.
    """
    target = head.target
    if len(hosts) != 1 and (hosts or head.version >= (1, 1)):
        return _refuse("exactly one Host field is needed")
    host = hosts[0] if hosts else b""
    name = _host_name(host)
    if name is None:
        return _refuse("the Host field is not a host")
    if _TARGET(target) is None:
        return _refuse("the request target holds bytes that no target may hold")
    if target[0] != 0x2F or not target.isascii():
        if not target.isascii():
            target = _BEYOND_ASCII.sub(lambda found: b"%%%02X" % found.group()[0], target)
        if target[0] != 0x2F:
            reduced = _origin_form(head.method, target, host)
            if isinstance(reduced, Reply):
                return reduced
            target = reduced
        head = RequestHead(head.method, target, head.fields, head.version)
    try:
        path = normalise(target.partition(b"?")[0])
    except BadPath as error:
        return _refuse(str(error))
    return Admitted(head, path, name)


def _origin_form(method: bytes, target: bytes, host: bytes) -> bytes | Reply:
    if target == b"*" and method == b"OPTIONS":
        return b"/"
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return _refuse("the request target has a form this gateway does not serve")
    if absolute.group(1).lower() != host.lower():
        return _refuse("the request target and the Host field disagree")
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


@lru_cache(maxsize=1024)
def _host_name(host: bytes) -> str | None:
    """A Host in lower case, without its port; None if it is none."""
    if host and (len(host) > _MAX_HOST or _HOST(host) is None):
        return None
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[: text.find("]") + 1]
    return text.partition(":")[0]
