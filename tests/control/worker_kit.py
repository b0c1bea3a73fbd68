"""Workers in memory: the real line between both ends, and a process that a test ends as it likes."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump, connect

from gateway.control.amp_commands import pack, read_changes, read_records
from gateway.control.shared_sockets import SharedAddress
from gateway.control.worker import Worker
from gateway.control.worker_link import ParentLink
from gateway.control.workers import Workers
from gateway.settings_fields import Address


class FakeServing:
    """
    What a worker does (``gateway.control.worker_link.Serving``): it takes notes.

    Attributes:
        calls: What it was told, in order. ids: Of what it serves, at ``revision``.
        fault: Raised by ``apply``.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.revision = 0
        self.ids: list[str] = []
        self.fault: Exception | None = None
        self.serving = False
        self.gone = False

    def configure(self, document: Any) -> None:
        self.calls.append(("configure", document))

    async def load(self, revision: int, document: Any) -> None:
        records, damaged = read_records(document)
        self.revision, self.ids = revision, [record.id for record in records]
        self.calls.append(("load", revision, damaged))

    async def apply(self, revision: int, document: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.revision = revision
        self.ids += [change.id for change in read_changes(document)]
        self.calls.append(("apply", revision))

    def socket(self, kind: str, descriptor: int) -> None:
        os.close(descriptor)
        self.calls.append(("socket", kind))

    async def serve(self) -> None:
        self.serving = True
        self.calls.append(("serve",))

    def report(self) -> dict[str, Any]:
        return {"revision": self.revision, "in_flight": 3, "bugs": 1, "serving": self.serving}

    def inspect(self) -> dict[str, Any]:
        return {"requests": 5, "health": [{"name": "x" * 200_000, "nodes": []}]}

    def reopen(self) -> None:
        self.calls.append(("reopen",))

    def drain(self, grace_s: float) -> None:
        self.calls.append(("drain", grace_s))

    def orphaned(self) -> None:
        self.gone = True


class DescriptorTransport(FakeTransport):
    """In memory, and it can hand descriptors over."""

    other: DescriptorTransport

    def sendFileDescriptor(self, descriptor: int) -> None:
        self.other.protocol.fileDescriptorReceived(os.dup(descriptor))


class FakeProcess:
    """
    A process that is a line in memory.

    Attributes:
        stopped: Whether nothing that is sent to it arrives, as after SIGSTOP.
    """

    pids = iter(range(1000, 100_000))

    def __init__(self, worker: Worker) -> None:
        self.pid = next(self.pids)
        self.worker = worker
        self.serving = FakeServing()
        self.link = ParentLink(self.serving, (self.pid, "1.0"))
        self.stopped = False
        self.killed = False
        self.ended = False
        theirs, ours = DescriptorTransport(self.link, False), DescriptorTransport(worker.link, True)
        theirs.other, ours.other = ours, theirs
        # The line is there from the start; the process says hello when it is pumped.
        self.pump: IOPump = connect(worker.link, ours, self.link, theirs, greet=False)

    def kill(self) -> None:
        """Nothing more comes from it; the system says so in the next turn."""
        self.killed = True

    def step(self) -> bool:
        """Deliver what is under way. Returns whether anything happened."""
        if self.ended:
            return False
        if self.killed:
            self.end("signal 9")
            return True
        if self.stopped:
            return False
        return bool(self.pump.pump())

    def end(self, why: str) -> None:
        """It is gone, by itself or not."""
        self.ended = True
        self.pump.clientIO.abortConnection()
        self.pump.serverIO.disconnectReason = self.pump.clientIO.disconnectReason
        for _ in range(4):
            self.pump.pump()
        self.worker.exited(why)


class Fleet:
    """
    ``Workers`` over fake processes and a real, shared address on loopback.

    Attributes:
        state: What a worker that starts is to load.
        slow: Whether processes that are started from now on never say hello.
        refuse: Whether the system starts no process.
    """

    def __init__(self, count: int = 2, timeout_s: float = 10.0) -> None:
        self.clock = Clock()
        self.processes: list[FakeProcess] = []
        self.stopped = False
        self.refuse = False
        self.state: tuple[int, Any] = (1, {"records": [], "damaged": []})
        self.address = SharedAddress.reserve("proxy", Address("127.0.0.1", 0))
        self.workers = Workers(
            count,
            [self.address],
            self.spawn,
            self.clock,
            settings=pack({"a": "b"}),
            version="1.0",
            timeout_s=timeout_s,
        )

    def spawn(self, worker: Worker) -> FakeProcess:
        if self.refuse:
            raise BlockingIOError("no more processes")
        made = FakeProcess(worker)
        made.stopped = self.stopped
        self.processes.append(made)
        return made

    def run(self) -> None:
        """Deliver everything that is under way."""
        for _ in range(1000):
            steps = [process.step() for process in list(self.processes)]
            if not any(steps):
                return
        raise AssertionError("there is no end to it")

    def advance(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        self.run()
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            self.run()

    def process(self, number: int) -> FakeProcess:
        """The one in a slot, by the slot's number."""
        worker = self.workers.slots[number - 1].worker
        assert worker is not None
        found: Any = worker.process
        return found

    @property
    def pids(self) -> list[int]:
        """Who serves."""
        return [worker.process.pid for worker in self.workers.serving]

    def close(self) -> None:
        """Let go of every socket."""
        for slot in self.workers.slots:
            slot.close_sockets()
        self.address.close()

    def connects(self) -> bool:
        """Whether somebody could listen at the address: it is still held."""
        with socket.socket() as probe:
            try:
                probe.bind((self.address.address.host, self.address.address.port))
            except OSError:
                return True
            return False
