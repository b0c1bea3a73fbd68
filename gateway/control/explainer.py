"""``explain`` for the Admin API: from a query to an exchange on the live snapshot, and back to JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.control.served import Served
from gateway.core.content_variables import is_readable
from gateway.core.exchange import Connection, ContentTooLarge, Reply, RequestHead
from gateway.core.explain import explain
from gateway.core.opening import open_exchange
from gateway.core.real_ip import RealIp
from gateway.interfaces import Clock
from gateway.model.problems import ConfigErrors, Problem
from gateway.proxy.admission import admit


class _Content:
    """Content that has arrived: ``ContentSource``."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.recorded = b""

    @property
    def received(self) -> int:
        return len(self._content)

    def record(self, max_bytes: int, then: Callable[[bytes | None], None] | None = None) -> None:
        self.recorded = max(self.recorded, self._content[:max_bytes], key=len)
        if then is not None:
            then(None if len(self._content) > max_bytes else self._content)

    async def gather(self, max_bytes: int) -> bytes:
        if len(self._content) > max_bytes:
            raise ContentTooLarge(max_bytes, len(self._content))
        return self._content


class Explainer:
    """Answers what the data plane would do with a request."""

    def __init__(
        self, runner: Served, clock: Clock, real_ip: Callable[[], RealIp | None] = lambda: None
    ) -> None:
        """
        Args:
            real_ip: Tells whose word about the client's address is taken now.
        """
        self._runner = runner
        self._clock = clock
        self._real_ip = real_ip

    def explain(self, query: Mapping[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        """
        Args:
            query: ``method``; ``url``, absolute (``http://host/path?query``) or a path, then a Host
                header tells the host; ``headers``, pairs of text as a client would send them;
                ``client_ip``, the address it comes from (loopback if absent); ``body``, the content as text.
        Returns:
            See ``gateway.core.explain.explain``; to be awaited.
        Raises:
            ConfigErrors: at once: the URL or a header cannot be sent by any client.
        """
        url: str = query["url"]
        headers: Iterable[tuple[str, str]] = query.get("headers") or ()
        parts = urlsplit(url)
        pairs = [
            (name.strip().lower().encode("latin-1", "replace"), _wire(value.strip()))
            for name, value in headers
        ]
        if parts.netloc and not any(name == b"host" for name, _ in pairs):
            pairs.insert(0, (b"host", _wire(parts.netloc.rpartition("@")[2])))
        if not any(name == b"host" for name, _ in pairs):
            pairs.insert(0, (b"host", b"localhost"))
        body: str | None = query.get("body")
        content = None if body is None else _wire(body)
        if content is not None and not any(name == b"content-length" for name, _ in pairs):
            pairs.append((b"content-length", b"%d" % len(content)))
        path = parts.path or "/"
        if not path.startswith("/"):
            raise ConfigErrors([Problem(("url",), "value", "must be absolute or start with /", got=url)])
        target = _wire(path + (f"?{parts.query}" if parts.query else ""))
        admitted = admit(_wire(query.get("method") or "GET"), target, pairs, (1, 1))
        if isinstance(admitted, Reply):
            raise ConfigErrors(
                [Problem(("url",), "value", f"no client can send this: {admitted.detail}", got=url)]
            )
        head: RequestHead = admitted.head
        tls = parts.scheme == "https"
        connection = Connection(
            query.get("client_ip") or "127.0.0.1", 0, "127.0.0.1", parts.port or (443 if tls else 80), tls
        )
        exchange = open_exchange(
            head,
            connection,
            self._runner.snapshot,
            path=admitted.path,
            host=admitted.host,
            started_s=self._clock.time(),
            id="explain",
            real_ip=self._real_ip(),
        )
        if content is not None:
            exchange.source = _Content(content)
            if is_readable(exchange):
                exchange.held = content
        return explain(exchange)


def _wire(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
