"""The HTTP side of the Admin API on twisted.web: bounded content, and hosts that cannot hurt."""

from __future__ import annotations

import re
from collections.abc import Container
from io import BytesIO
from typing import Any

from klein.resource import KleinResource
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from werkzeug.exceptions import HTTPException

from gateway.admin.json_text import write_json

_DRAIN = 8
"""A client that sends up to this many times the limit is heard to the end, so that it reads its 413."""

_AUTHORITY = re.compile(rb"https?://[^/?]*", re.IGNORECASE)

TOO_LARGE = ("413 Content Too Large", "invalid request body: more than {limit} bytes")
APISIX_TOO_LARGE = (
    "400 Bad Request",
    "invalid request body: request size {length} is greater than the maximum size {limit} allowed",
)
"""As clients of the apisix dialect know it (Admin API contract §4.2)."""

_REFUSED = (
    b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


_FORBIDDEN = (
    b"<html>\n<head><title>403 Forbidden</title></head>\n"
    b"<body>\n<center><h1>403 Forbidden</h1></center>\n</body>\n</html>\n"
)


class BoundedRequest(Request):
    """
    A request that keeps no more content than it may.

    Attributes:
        max_body_bytes: The limit.
        cut_off: The status line and the words for a client that sends far more, and is not heard out.
        too_large: Whether the content is longer; then nothing of it was kept.
        length: Bytes of such content: what was announced, or what came so far.
    """

    max_body_bytes = 2 * 1024 * 1024
    cut_off = TOO_LARGE
    too_large = False
    length = 0

    def __init__(self, channel: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        self._received = 0
        self._cut_off = False

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > self.max_body_bytes:
            self._refuse(length)
            length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if not self.too_large and self._received <= self.max_body_bytes:
            super().handleContentChunk(data)
            return
        if not self.too_large:
            self.content = BytesIO()
        self._refuse(self._received)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # Content is JSON whatever its type says; twisted would read a form, or refuse a bad one.
        if b"form" in b"".join(self.requestHeaders.getRawHeaders(b"content-type", [])).lower():
            self.requestHeaders.removeHeader(b"content-type")
        # A client may send the whole URL as its target (RFC 9112 section 3.2.2).
        if (authority := _AUTHORITY.match(path)) is not None:
            path = path[authority.end() :]
            path = path if path.startswith(b"/") else b"/" + path
        super().requestReceived(command, path, version)

    def _refuse(self, length: int) -> None:
        self.too_large = True
        self.length = max(self.length, length)
        channel: Any = self.channel
        if length > _DRAIN * self.max_body_bytes and channel is not None and not self._cut_off:
            self._cut_off = True
            status, words = self.cut_off
            body = write_json({"error_msg": words.format(length=length, limit=self.max_body_bytes)})
            channel.transport.write(_REFUSED % (status.encode(), len(body), body))
            channel.transport.loseConnection()


class AdminSite(Site):
    """A ``Site`` whose requests are ``BoundedRequest``."""

    noisy = False

    def __init__(
        self,
        resource: IResource,
        *,
        max_body_bytes: int,
        cut_off: tuple[str, str] = TOO_LARGE,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            cut_off: See ``BoundedRequest``.
        """
        own = {"max_body_bytes": max_body_bytes, "cut_off": cut_off}
        limited = type("LimitedRequest", (BoundedRequest,), own)
        super().__init__(resource, requestFactory=limited, **kwargs)
        self.displayTracebacks = False

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered in TLS (ALPN): HTTP/1.1 alone; ``BoundedRequest`` knows no other."""
        return [b"http/1.1"]


class AdminResource(KleinResource):
    """
    The root: a Host that is no host name, or a path that is not UTF-8, is the client's fault.

    An encoded slash stays encoded. It is part of an id, where no rule allows it, and never a
    border between two segments.
    """

    def __init__(self, app: Any, allowed: Container[str] | None = None, *, page: bool = False) -> None:
        """
        Args:
            allowed: Whose requests are looked at, by address; None for everybody's.
            page: Whether others are told so by a page, not by JSON.
        """
        super().__init__(app)
        self._allowed = allowed
        self._page = page

    def render(self, request: Any) -> Any:
        if self._allowed is not None:
            address = getattr(request.getClientAddress(), "host", None)
            if not isinstance(address, str) or address not in self._allowed:
                request.setResponseCode(403)
                if self._page:
                    request.setHeader(b"content-type", b"text/html; charset=utf-8")
                    return _FORBIDDEN
                request.setHeader(b"content-type", b"application/json")
                return write_json({"error_msg": "your address is not allowed here"})
        request.postpath = [segment.replace(b"/", b"%2F") for segment in request.postpath]
        try:
            b"/".join(request.postpath).decode("utf-8")
            request.method.decode("ascii")
            return super().render(request)
        except (HTTPException, UnicodeError):
            request.setResponseCode(400)
            request.setHeader(b"content-type", b"application/json")
            return write_json({"error_msg": "invalid request target or host"})
