"""The default store: configuration in one SQLite file beside the gateway.

``SQLiteStore`` is the Deferred half: it owns one worker thread and hands every call to
``sqlite_log.Database`` there, so that waiting for the disk never holds up the reactor. Calls are
carried out in the order they are made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from gateway.errors import StoreUnavailable
from gateway.interfaces import IConfigStore
from gateway.model.record import Change, Key, Revision, StoreView
from gateway.store.documents import check_page, draft
from gateway.store.sealing import Sealer
from gateway.store.sqlite_log import Database, Resealed

_T = TypeVar("_T")


class _DaemonThread(threading.Thread):
    # Everything answered is on the disk, so a process that never closed the store may just end.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _Worker(ThreadPool):
    threadFactory = _DaemonThread


@implementer(IConfigStore)
class SQLiteStore:
    """
    Configuration in a SQLite file.

    Attributes:
        damaged: Keys of current records that could not be read in full when they were loaded:
            their secrets are sealed with a key that is not at hand, or the file was tampered with.
            Sealed text stands where it was; such a record must not be served.
    """

    def __init__(
        self,
        path: str,
        reactor: IReactorFromThreads,
        sealer: Sealer | None = None,
        *,
        busy_timeout_s: float = 5.0,
        max_waiting: int = 1000,
    ) -> None:
        """
        Args:
            path: The database file; relative to the working directory of now.
            reactor: Where Deferreds fire.
            sealer: Encrypts secrets at rest. None keeps them in clear.
            busy_timeout_s: How long to wait for another program's lock on the file.
            max_waiting: How many calls may be under way; more are refused.
        """
        self.damaged: tuple[Key, ...] = ()
        self._reactor = reactor
        self._max_waiting = max_waiting
        self._waiting = 0
        self._worker: ThreadPool | None = None
        self._lifecycle = DeferredLock()
        self._database = self._make_database(path, sealer or Sealer((), lambda _: ()), busy_timeout_s)

    def _make_database(self, path: str, sealer: Sealer, busy_timeout_s: float) -> Database:
        return Database(path, sealer, busy_timeout_s=busy_timeout_s)

    def describe(self) -> str:
        return f"SQLite file {self._database.path}"

    def open(self) -> Deferred[None]:
        return self._lifecycle.run(lambda: Deferred.fromCoroutine(self._open()))

    async def _open(self) -> None:
        if self._worker is not None:
            return
        worker = _Worker(1, 1, name="config-store")
        worker.start()
        try:
            await deferToThreadPool(self._reactor, worker, self._database.open)
        except BaseException:
            worker.stop()
            raise
        self._worker = worker

    def close(self) -> Deferred[None]:
        """Calls made before are carried out first; calls made after are refused."""
        return self._lifecycle.run(lambda: Deferred.fromCoroutine(self._close()))

    async def _close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        try:
            await deferToThreadPool(self._reactor, worker, self._database.close)
        finally:
            worker.stop()

    def load(self) -> Deferred[StoreView]:
        return self._call(self._database.load).addCallback(self._loaded)

    def commit(
        self,
        changes: Sequence[Change],
        *,
        author: str,
        reason: str | None,
        at: float,
        expected: int | None = None,
    ) -> Deferred[Revision]:
        try:
            drafts = draft(changes, author, reason, at)
        except Exception:
            return fail()
        write = partial(
            self._database.commit, drafts, author=author, reason=reason, at=float(at), expected=expected
        )
        return self._call(write).addCallback(self._committed)

    def history(
        self,
        *,
        group: str | None = None,
        kind: str | None = None,
        id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Deferred[list[Revision]]:
        try:
            check_page(limit)
        except ValueError:
            return fail()
        return self._call(partial(self._database.history, group, kind, id, before, limit))

    def as_of(self, revision: int) -> Deferred[StoreView]:
        return self._call(partial(self._database.as_of, revision))

    def reseal(self) -> Deferred[Resealed]:
        """
        Encrypt all secrets, past ones too, with the first key of the key file: the last step of a rotation.

        Returns:
            Fires with a ``Resealed``. Takes a while on a long history; commits wait for it. Old
            keys may go from the key file once ``unreadable`` is 0.
        Raises:
            StoreUnavailable: as ``commit``.
        """
        return self._call(self._database.reseal)

    def _call(self, work: Callable[[], _T]) -> Deferred[_T]:
        if self._worker is None:
            return fail(StoreUnavailable(f"{self._database.path} is not open"))
        if self._waiting >= self._max_waiting:
            return fail(
                StoreUnavailable(f"{self._database.path} has {self._waiting} calls waiting; try again later")
            )
        self._waiting += 1
        return deferToThreadPool(self._reactor, self._worker, work).addBoth(self._done)

    def _done(self, result: _T) -> _T:
        self._waiting -= 1
        return result

    def _loaded(self, result: tuple[StoreView, tuple[Key, ...]]) -> StoreView:
        view, self.damaged = result
        return view

    def _committed(self, result: tuple[Revision, tuple[Key, ...]]) -> Revision:
        revision, damaged = result
        if self.damaged or damaged:
            written = {change.key for change in revision.changes}
            self.damaged = (*(key for key in self.damaged if key not in written), *damaged)
        return revision
