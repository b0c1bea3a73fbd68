"""
treq for proxied traffic.

A stock ``treq.client.HTTPClient`` is made for a caller with one identity: it keeps cookies and
sends them with the next request, asks for gzip and undoes it, follows redirects and rewrites
URLs. A proxy must do none of that. ``ProxyClient`` keeps the calling convention, and with
``raw=True`` goes straight to the agent.

This is the one place that relies on names treq keeps to itself: ``HTTPClient._agent`` and
``treq.response._Response``. ``tests.upstream.test_client`` pins what is relied on.
"""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from treq.response import _Response
from twisted.internet.defer import Deferred

from gateway.core.fields import Pair
from gateway.upstream.request import PreparedRequest

_NO_COOKIES = IndexableCookieJar()


class ProxiedResponse(_Response):
    """
    A treq response to a raw request: content as it came, cookies kept by nobody.

    Attributes:
        code: The status code.
        raw_fields: Field lines: lower-case names and values; in order where the agent keeps it.
    """

    def __init__(self, original: Any) -> None:
        self.original = original
        self._cookiejar = _NO_COOKIES

    @property
    def code(self) -> int:
        return self.original.code  # type: ignore[no-any-return]

    @property
    def raw_fields(self) -> list[Pair]:
        original: Any = self.original
        try:
            return original.raw_fields  # type: ignore[no-any-return]
        except AttributeError:
            # Another agent's response, such as a test double's.
            headers = original.headers.getAllRawHeaders()
            return [(name.lower(), value) for name, values in headers for value in values]

    def deliverBody(self, protocol: Any) -> None:
        """As ``IResponse.deliverBody``."""
        original: Any = self.original
        original.deliverBody(protocol)


class ProxyClient(HTTPClient):
    """A treq client whose raw requests reach the agent, and whose raw responses the caller, untouched."""

    def request(
        self, method: Any, url: Any, *, headers: Any = None, data: Any = None, raw: bool = False, **kw: Any
    ) -> Deferred[Any]:
        """
        As ``treq.request``, or with *raw*:

        Args:
            method: bytes, or ASCII text; sent as it is.
            url: bytes, or ASCII text; handed to the agent as it is.
            headers: A ``PreparedRequest``, or ``Headers``, or None.
            data: The content: a provider of ``IBodyProducer``, or None.
            kw: None for a raw request: treq's other options mean changes to the request.
        Returns:
            Fires with a ``ProxiedResponse``; its content has not been read.
        Raises:
            TypeError: an option that a raw request cannot have.
        """
        if not raw:
            kw.setdefault("_stacklevel", 3)
            return super().request(method, url, headers=headers, data=data, **kw)
        if kw:
            raise TypeError(f"a raw request takes no {', '.join(sorted(kw))}")
        if isinstance(method, str):
            method = method.encode("ascii")
        if isinstance(url, str):
            url = url.encode("ascii")
        return self._agent.request(method, url, headers, data).addCallback(ProxiedResponse)

    def send(self, request: PreparedRequest, body: Any = None) -> Deferred[Any]:
        """
        Send a prepared request; to be awaited.

        Args:
            body: Its content: a provider of ``IBodyProducer``, or None.
        Returns:
            Fires with a ``ProxiedResponse``; fails as ``UpstreamAgent.request`` does.
        """
        return self.request(request.method, request.url, headers=request, data=body, raw=True)
