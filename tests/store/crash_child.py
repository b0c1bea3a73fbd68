"""The processes that ``test_crash`` kills. Run as ``python -m tests.store.crash_child MODE PATH``.

``commits``: commit numbered revisions for ever, and print each one's number once it is answered.
``statements``: for every SQL statement of an opening or a commit, a copy of this process kills
itself just before it; prints one line for each, ``STAGE NUMBER STATEMENT``.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from typing import NoReturn

from gateway.model.record import Change
from gateway.store.documents import draft
from gateway.store.sealing import Sealer
from gateway.store.sqlite_log import Database

SIZE = 4
"""How many changes each numbered revision has."""

KEY = b"k" * 32
STAGES = ("opening", "commit")


def sealer() -> Sealer:
    return Sealer((KEY,), lambda plugin: ("secret",))


def changes(number: int) -> tuple[Change, ...]:
    """
    What revision *number* changes: one record made, one replaced, one more made and, in each
    revision but the first, the one before's removed.
    """
    value = {
        "number": number,
        "plugins": {"p": {"secret": f"secret {number}"}},
        "pad": "x" * (number * 37 % 5000),
    }
    made = [Change("g", "route", f"made-{number}", value), Change("g", "service", "same", value)]
    own = Change("g", "upstream", f"only-{number}", value)
    if number == 1:
        return (*made, own, Change("g", "service", "other", value))
    return (*made, Change("g", "upstream", f"only-{number - 1}", None), own)


def die() -> NoReturn:
    """Go as if the power of this process was cut: no handlers, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit("unreachable")


class Doomed(Database):
    """
    Dies just before the statement with the number ``fatal``, counted from ``arm``.

    Attributes:
        seen: The statements so far.
    """

    fatal: int | None = None

    def __init__(self, path: str) -> None:
        super().__init__(path, sealer(), busy_timeout_s=5)
        self.seen: list[str] = []

    def arm(self, fatal: int | None) -> None:
        self.fatal = fatal
        self.seen.clear()

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        connection.set_trace_callback(self._trace)
        return connection

    def _trace(self, statement: str) -> None:
        if len(self.seen) == self.fatal:
            die()
        self.seen.append(" ".join(statement.split())[:40])

    def put(self, number: int) -> None:
        drafts = draft(changes(number), "child", None, number)
        self.commit(drafts, author="child", reason=None, at=float(number), expected=number - 1)


def stage(path: str, which: str, fatal: int | None) -> list[str]:
    """Open a store, or commit revision 3 to one that has two; die before statement *fatal*."""
    database = Doomed(path)
    if which == "opening":
        database.arm(fatal)
        database.open()
    else:
        database.open()
        database.put(1)
        database.put(2)
        database.arm(fatal)
        database.put(3)
    if fatal is not None:
        die()  # behind the last statement, before anybody has heard the answer
    statements = list(database.seen)
    database.close()
    return statements


def run_statements(folder: str) -> None:
    for which in STAGES:
        statements = stage(os.path.join(folder, f"{which}-whole.db"), which, None)
        for number, statement in enumerate([*statements, "(answer)"]):
            child = os.fork()
            if child == 0:
                stage(os.path.join(folder, f"{which}-{number}.db"), which, number)
                os._exit(1)
            _, status = os.waitpid(child, 0)
            if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                raise SystemExit(f"{which} {number}: the copy ended with status {status}")
            print(which, number, statement, flush=True)


def run_commits(path: str) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from gateway.store.sqlite import SQLiteStore

    async def work(reactor: object) -> None:
        store = SQLiteStore(path, reactor, sealer())  # type: ignore[arg-type]
        await store.open()
        number = (await store.load()).revision
        print("ready", number, flush=True)
        while True:
            number += 1
            await store.commit(
                changes(number), author="child", reason=None, at=float(number), expected=number - 1
            )
            print(number, flush=True)

    react(lambda reactor: Deferred.fromCoroutine(work(reactor)))


if __name__ == "__main__":
    {"statements": run_statements, "commits": run_commits}[sys.argv[1]](sys.argv[2])
