"""Addresses that several sockets listen at."""

from __future__ import annotations

import socket

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.shared_sockets import SharedAddress
from gateway.settings_fields import Address


class SharedAddressTests(SynchronousTestCase):
    def reserve(self, host: str, port: int = 0) -> SharedAddress:
        made = SharedAddress.reserve("proxy", Address(host, port))
        self.addCleanup(made.close)
        return made

    def opened(self, shared: SharedAddress) -> socket.socket:
        made = shared.open()
        self.addCleanup(made.close)
        return made

    def test_shared(self) -> None:
        """The system chooses a port once; every socket has it, and connections reach those that listen."""
        for host in ("127.0.0.1", "::1"):
            shared = self.reserve(host)
            one, two = self.opened(shared), self.opened(shared)
            self.assertNotEqual(shared.address.port, 0)
            self.assertEqual(one.getsockname(), two.getsockname())
            two.listen()
            for _ in range(8):
                socket.create_connection((host, shared.address.port)).close()
                two.accept()[0].close()

    def test_nobody_listens(self) -> None:
        """Holding an address takes no connections."""
        shared = self.reserve("127.0.0.1")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", shared.address.port))

    def test_taken(self) -> None:
        """An address where somebody listens is not shared with him, not even if he would share it."""
        other = self.opened(self.reserve("127.0.0.1"))
        other.listen()
        with self.assertRaises(CannotListenError) as caught:
            SharedAddress.reserve("proxy", Address("127.0.0.1", other.getsockname()[1]))
        self.assertIn(str(other.getsockname()[1]), str(caught.exception))

    def test_not_ours(self) -> None:
        """An address of another machine is refused."""
        self.assertRaises(CannotListenError, SharedAddress.reserve, "proxy", Address("192.0.2.1", 0))
