from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway import inherited as module
from gateway.errors import SettingsErrors
from gateway.inherited import address_of, inherited, variables
from gateway.settings import settings_from

PID = 4711


class InheritedTests(SynchronousTestCase):
    """Sockets are handed over by descriptor number: here those that the system gives out next."""

    def setUp(self) -> None:
        self.kept: list[socket.socket] = []

    def hand_over(self, *sockets: socket.socket, names: str = "", pid: int = PID) -> dict[str, str]:
        """The environment for copies of *sockets* in a row; the first one's number is what is patched in."""
        descriptors = [one.fileno() for one in sockets]
        first = max(descriptors) + 50
        for offset, descriptor in enumerate(descriptors):
            os.dup2(descriptor, first + offset)
        self.patch(module, "FIRST_DESCRIPTOR", first)
        environ = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(len(sockets)), "HOME": "/"}
        return {**environ, "LISTEN_FDNAMES": names} if names else environ

    def listening(self) -> socket.socket:
        made = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(made.close)
        return made

    def take(self, environ: dict[str, str], **proxy: str) -> dict[str, list[int]]:
        found = inherited(settings_from({"proxy": proxy}), environ, PID)
        for some in found.values():
            for one in some:
                self.addCleanup(one.close)
        return {kind: [address_of(one).port for one in some] for kind, some in found.items()}

    def test_by_name(self) -> None:
        """Names say which listener a socket is for."""
        one, two, three = (self.listening() for _ in range(3))
        environ = self.hand_over(one, two, three, names="proxy:admin:proxy")
        ports = [x.getsockname()[1] for x in (one, two, three)]
        self.assertEqual(self.take(environ), {"proxy": [ports[0], ports[2]], "admin": [ports[1]]})

    def test_by_address(self) -> None:
        """Without names the addresses of gw.ini say it."""
        one = self.listening()
        port = one.getsockname()[1]
        environ = self.hand_over(one, names="gateway.socket")
        self.assertEqual(self.take(environ, tls_listen=f"127.0.0.1:{port}"), {"proxy_tls": [port]})

    def test_variables(self) -> None:
        """They are found though somebody took them out of the environment, and go no further."""
        initial = Path(self.mktemp())
        initial.write_bytes(b"HOME=/\0LISTEN_PID=7\0LISTEN_FDS=1\0LISTEN_FDNAMES=proxy\0")
        environ = {"HOME": "/", "LISTEN_FDS": "2"}
        told = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "proxy"}
        self.assertEqual(variables(environ, initial), told)
        self.assertEqual(environ, {"HOME": "/"})
        self.assertEqual(variables({}, Path("/nowhere")), {})

    def test_not_for_us(self) -> None:
        """What was meant for another process, or nothing at all, is left alone."""
        self.assertEqual(self.take({}), {})
        self.assertEqual(self.take(self.hand_over(self.listening(), pid=PID + 1)), {})

    def test_refused(self) -> None:
        """Sockets that are for nothing are named, all of them."""
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent = socket.socket()
        for one in (datagrams, silent):
            self.addCleanup(one.close)
        environ = self.hand_over(self.listening(), datagrams, silent, names="other:proxy:admin")
        error = self.assertRaises(SettingsErrors, self.take, environ)
        self.assertEqual(len(error.problems), 3)
        for problem, words in zip(
            error.problems,
            ("is no listener's address", "is not a TCP socket", "does not listen"),
            strict=True,
        ):
            self.assertIn(words, problem)
