"""The lean reactor, in a process of its own: this one has a reactor already."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.http1 import reactor as lean
from tests.limits import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]


def run(text: str) -> str:
    """Run *text* as a program and return what it printed; its errors are this test's."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done.stdout + done.stderr


class LeanReactorTests(SynchronousTestCase):
    """What anybody may expect of a reactor, of this one."""

    def test_chosen_already(self) -> None:
        """Where there is a reactor, nothing is installed."""
        from twisted.internet import reactor

        self.assertFalse(lean.install())
        self.assertNotEqual(type(reactor).__name__, "LeanReactor")

    def test_round_trip(self) -> None:
        """Timers fire, data comes and goes, a closed connection is noticed."""
        printed = run("""
            from gateway.http1 import reactor as lean
            print(lean.install())
            from twisted.internet import reactor, protocol, endpoints
            class Echo(protocol.Protocol):
                def dataReceived(self, data):
                    self.transport.write(data)
                    self.transport.loseConnection()
            class Ask(protocol.Protocol):
                def connectionMade(self):
                    self.transport.write(b"hello")
                def dataReceived(self, data):
                    print(data.decode())
                def connectionLost(self, reason):
                    print(reason.type.__name__)
                    reactor.callLater(0, reactor.stop)
            port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
            point = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
            endpoints.connectProtocol(point, Ask())
            reactor.callLater(60, reactor.stop)
            reactor.run()
            print(type(reactor).__name__)
        """)
        self.assertEqual(printed.split(), ["True", "hello", "ConnectionDone", "LeanReactor"])

    def test_bug(self) -> None:
        """A handler that raises costs its connection, not the process; the failure is logged."""
        printed = run("""
            from gateway.http1 import reactor as lean
            lean.install()
            import sys
            from twisted.logger import globalLogBeginner, textFileLogObserver
            globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
            from twisted.internet import reactor, protocol, endpoints
            class Bad(protocol.Protocol):
                def dataReceived(self, data):
                    raise RuntimeError("a bug")
            class Ask(protocol.Protocol):
                def connectionMade(self):
                    self.transport.write(b"hello")
                def connectionLost(self, reason):
                    print("gone")
                    reactor.callLater(0, reactor.stop)
            port = reactor.listenTCP(0, protocol.Factory.forProtocol(Bad), interface="127.0.0.1")
            point = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
            endpoints.connectProtocol(point, Ask())
            reactor.callLater(60, reactor.stop)
            reactor.run()
        """)
        self.assertIn("RuntimeError: a bug", printed)
        self.assertIn("gone", printed)

    def test_turn(self) -> None:
        """While there are several events a turn is open; a bug in one of them does not leave it so."""
        printed = run("""
            from gateway.http1 import reactor as lean
            lean.install()
            from gateway.http1 import eager
            from twisted.internet import reactor
            import socket
            seen = []
            class End:
                def __init__(self):
                    self.ours, self.theirs = socket.socketpair()
                    self.theirs.send(b"x")
                def fileno(self):
                    return self.ours.fileno()
                def logPrefix(self):
                    return "end"
                def doRead(self):
                    self.ours.recv(9)
                    seen.append(eager.turn.open)
                    raise RuntimeError("a bug")
                def connectionLost(self, reason):
                    reactor.removeReader(self)
            def look():
                for number in (2, 1):
                    ends = [End() for _ in range(number)]
                    for end in ends:
                        reactor.addReader(end)
                    reactor.doIteration(0)
                    print(number, seen, eager.turn.open)
                    seen.clear()
                reactor.stop()
            reactor.callWhenRunning(look)
            reactor.run()
        """)
        self.assertIn("2 [True, True] False", printed)
        self.assertIn("1 [False] False", printed)
