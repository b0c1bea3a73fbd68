"""Writing the head of an HTTP/1.1 request (RFC 9112 sections 2 and 3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.core.fields import Pair
from gateway.http1.field_lines import write_lines

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[!-~\x80-\xff]+")
_CONTENT_EXPECTED = frozenset((b"POST", b"PUT", b"PATCH"))
_LIMIT = 1024


class _Methods(dict[bytes, bytes]):
    """Method → ``METHOD `` with its space, checked once and remembered."""

    def __missing__(self, method: bytes) -> bytes:
        if _TOKEN.fullmatch(method) is None:
            raise ValueError(f"not a method: {method!r}")
        start = method + b" "
        if len(self) < _LIMIT:
            self[method] = start
        return start


_methods = _Methods()


def serialise(
    method: bytes,
    target: bytes,
    fields: Sequence[Pair],
    *,
    content_length: int | None = None,
    chunked: bool = False,
) -> bytes:
    """
    Write a request line and field lines, with the empty line that ends them.

    Args:
        method: A token, sent as it is.
        target: The request target as it shall stand on the request line.
        fields: Lower-case names and values, sent in this order; none of them ``content-length`` or
            ``transfer-encoding``.
        content_length: Octets of content that follow; None if there is no content, or *chunked*.
        chunked: Whether the content follows in the chunked transfer coding.
    Raises:
        ValueError: something in it would not arrive as one field, or one request: a name that is no
            token, a value with CR, LF or NUL, white space or a control character in the target.
    Source:
        RFC 9112 sections 3, 5 and 6; RFC 9110 section 8.6 for ``Content-Length: 0``.
    """
    if _TARGET.fullmatch(target) is None:
        raise ValueError("the request target holds white space or a control character, or is empty")
    text = write_lines(fields)
    if chunked:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif content_length is not None:
        framing = b"Content-Length: %d\r\n" % content_length
    elif method in _CONTENT_EXPECTED:
        framing = b"Content-Length: 0\r\n"
    else:
        return b"%b%b HTTP/1.1\r\n%b\r\n" % (_methods[method], target, text)
    return b"%b%b HTTP/1.1\r\n%b%b\r\n" % (_methods[method], target, text, framing)
