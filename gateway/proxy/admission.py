"""The first look at a request: is it HTTP that means one thing only? What is ambiguous is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from gateway.core import reasons
from gateway.core.exchange import Reply, RequestHead
from gateway.core.fields import Pair
from gateway.core.paths import BadPath, normalise
from gateway.core.recurring import HeadMemory

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z").match
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+\Z").match
"""A request target: ASCII without controls, white space or fragment."""
_HOST = re.compile(
    rb"(?:(?:[0-9A-Za-z._~!$&'()*+;=-]++|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?\Z"
).match
"""RFC 3986 section 3.2.2, but for the comma: a Host with one may be two that were joined."""
_FIELD_BAD = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_ABSOLUTE = re.compile(rb"(?i)(https?)://([^/?#]*)")
_MAX_HOST = 1024
"""A name has 253 characters at most (RFC 1035 section 2.3.4)."""


class Admitted(NamedTuple):
    """
    A request that may go on.

    Attributes:
        path: Decoded and normalised, for matching.
        host: The Host in lower case, without its port; empty for HTTP/1.0 without one.
        memory: Of a head that came before: what was made of it then.
    """

    head: RequestHead
    path: str
    host: str
    memory: HeadMemory | None = None


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
    if _TARGET(target) is None:
        return _refuse("the request target holds bytes that no target may hold")
    if head.method == b"CONNECT":
        return _refuse("CONNECT asks for a tunnel, and there are none")
    host = hosts[0] if hosts else b""
    if target[0] != 0x2F:
        reduced = _origin_form(head.method, target, hosts)
        if isinstance(reduced, Reply):
            return reduced
        target, host = reduced
        fields = head.fields
        if not hosts and host:
            fields = ((b"host", host), *fields)
            hosts = [host]
        head = RequestHead(head.method, target, fields, head.version)
    name = _host_name(host) if hosts else ""
    if name is None:
        return _refuse("the Host field is not a host")
    try:
        path = normalise(target.partition(b"?")[0])
    except BadPath as error:
        return _refuse(str(error))
    return Admitted(head, path, name)


def _is_host(host: bytes) -> bool:
    match = _HOST(host)
    if match is None or int(match[1] or 0) > 65535:
        return False
    if host.startswith(b"["):
        try:
            IPv6Address(host[1 : host.index(b"]")].decode("ascii"))
        except ValueError:
            return False
    return True


def _origin_form(method: bytes, target: bytes, hosts: Sequence[bytes]) -> tuple[bytes, bytes] | Reply:
    """The target in origin form and the host, which HTTP/1.0 need not say twice."""
    if target == b"*" and method == b"OPTIONS":
        return b"/", hosts[0] if hosts else b""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return _refuse("the request target has a form this gateway does not serve")
    scheme, authority = absolute.groups()
    host = hosts[0] if hosts else authority
    port = b":443" if scheme.lower() == b"https" else b":80"
    if authority.lower().removesuffix(port) != host.lower().removesuffix(port):
        return _refuse("the request target and the Host field disagree")
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest, host


@lru_cache(maxsize=1024)
def _host_name(host: bytes) -> str | None:
    """A Host in lower case, without its port; None if it is none."""
    if len(host) > _MAX_HOST or not _is_host(host):
        return None
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[: text.find("]") + 1]
    return text.partition(":")[0]
