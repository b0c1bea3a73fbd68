"""The metrics as text, and the listener that serves them.

A scrape is rendered in a thread, one at a time: those that come meanwhile share the next one. So however
often somebody asks, requests are served between, and what an answer says is never older than the
question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from prometheus_client.metrics_core import Metric
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import NoResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from gateway.telemetry.exposition_text import CONTENT_TYPE, render

DEFAULT_PATH = "/apisix/prometheus/metrics"

_log = Logger()


Source = Callable[[], Iterable[Metric]]


class Exposition:
    """Renders the metrics when somebody asks."""

    def __init__(
        self,
        gather: Callable[[], Awaitable[list[Source]]],
        in_thread: Callable[[Callable[[], bytes]], Awaitable[bytes]],
    ) -> None:
        """
        Args:
            gather: Says where the metrics come from; called in the reactor's thread. The sources are read in
                another one.
            in_thread: Runs a function in a thread.
        """
        self._gather = gather
        self._in_thread = in_thread
        self._waiting: list[Deferred[bytes]] = []
        self._busy = False

    def text(self) -> Deferred[bytes]:
        """The metrics as they are after this call."""
        asked: Deferred[bytes] = Deferred()
        self._waiting.append(asked)
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: _log.failure("rendering metrics failed", failure)
            )
        return asked

    async def _work(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                try:
                    sources = await self._gather()
                    data = await self._in_thread(lambda sources=sources: _rendered(sources))  # type: ignore[misc]
                except Exception as error:
                    _log.failure("rendering metrics failed")
                    for one in asked:
                        one.errback(error)
                else:
                    for one in asked:
                        one.callback(data)
        finally:
            self._busy = False

    def resource(self, path: str) -> Resource:
        """What the export listener serves: the metrics at *path*, 404 elsewhere."""
        return _Root(self, path.encode())


def _rendered(sources: list[Source]) -> bytes:
    return b"".join([render(source()) for source in sources])


class _Root(Resource):
    isLeaf = True

    def __init__(self, exposition: Exposition, path: bytes) -> None:
        super().__init__()
        self._exposition = exposition
        self._path = path

    def render_GET(self, request: Request) -> bytes | int:
        if request.path != self._path:
            page: bytes = NoResource().render(request)
            return page
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(data: bytes) -> None:
            if not gone:
                request.setHeader(b"content-type", CONTENT_TYPE.encode())
                request.setHeader(b"content-length", b"%d" % len(data))
                if request.method != b"HEAD":
                    request.write(data)
                request.finish()

        def failed(_: object) -> None:
            if not gone:
                request.setResponseCode(500)
                request.finish()

        self._exposition.text().addCallbacks(answer, failed)
        return NOT_DONE_YET
