from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from gateway.certificates import CertificateFiles, ReplaceableOptions
from gateway.settings_fields import Address
from gateway.site_listeners import SiteListeners
from tests.certs import pair


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"hello"


def fetch(port: int, trusted: Path | None = None) -> bytes:
    """The content a request is answered with; over TLS, if there is a certificate to trust."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        if trusted is not None:
            context = ssl.create_default_context(cafile=trusted)
            client = stack.enter_context(context.wrap_socket(client, server_hostname="a.test"))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        found = b""
        while data := client.recv(4096):
            found += data
    return found.rpartition(b"\r\n\r\n")[2]


class SiteListenersTests(TestCase):
    def sites(self, **sockets: list[socket.socket]) -> SiteListeners:
        made = SiteListeners(reactor, sockets)
        self.addCleanup(lambda: Deferred.fromCoroutine(made.stop()))
        return made

    def site(self) -> Site:
        return Site(Hello(), reactor=reactor)

    async def test_addresses(self) -> None:
        """A site is served at each address; once stopped, at none."""
        sites = self.sites()
        sites.open("status", [Address("127.0.0.1", 0), Address("127.0.0.1", 0)], self.site())
        ports = [listener.address.port for listener in sites.listeners]
        self.assertEqual([listener.kind for listener in sites.listeners], ["status"] * 2)
        for port in ports:
            self.assertEqual(await deferToThread(fetch, port), b"hello")
        await sites.stop()
        for port in ports:
            with self.assertRaises(ConnectionRefusedError):
                await deferToThread(fetch, port)

    async def test_inherited(self) -> None:
        """A socket that listens already stands in for the addresses."""
        own = socket.create_server(("127.0.0.1", 0))
        port = own.getsockname()[1]
        sites = self.sites(status=[own])
        sites.open("status", [Address("127.0.0.1", 1)], self.site())
        self.assertEqual([listener.address.port for listener in sites.listeners], [port])
        self.assertEqual(await deferToThread(fetch, port), b"hello")

    async def test_tls(self) -> None:
        """With a certificate clients speak TLS."""
        directory, made = Path(self.mktemp()), pair("a.test")
        directory.mkdir()
        files = CertificateFiles(directory / "a.crt", directory / "a.key")
        files.certificate.write_text(made.cert)
        files.private_key.write_text(made.key)
        sites = self.sites()
        sites.open("admin", [Address("127.0.0.1", 0)], self.site(), ReplaceableOptions(files))
        (listener,) = sites.listeners
        self.assertEqual(await deferToThread(fetch, listener.address.port, files.certificate), b"hello")
