"""TLS connections with fewer steps between the socket and whoever speaks over them.

Twisted's protocol asks OpenSSL for more until it raises, makes a buffer for each question, and hands each
record to the socket by itself. Here OpenSSL's answer tells that there is no more, one buffer serves all
connections of the process, and the records of one write leave together. Everything out of the
ordinary goes Twisted's way.

``tests/http1/test_eager_tls.py`` pins the names of pyOpenSSL and Twisted that are relied on.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import _util
from twisted.protocols.tls import TLSMemoryBIOProtocol

_lib: Any = _util.lib
_ffi: Any = _util.ffi

_SIZE = 1 << 16
# Filled and copied from within one call: connections can share it.
_buffer = _ffi.new("char[]", _SIZE)
_view = _ffi.buffer(_buffer)
_MOST_AT_ONCE = 1 << 20


class EagerTLS(TLSMemoryBIOProtocol):
    """As its base."""

    _tlsConnection: Any
    transport: Any
    wrappedProtocol: Any

    def _flushReceiveBIO(self) -> None:
        connection = self._tlsConnection
        read, view = _lib.SSL_read, _view
        while not self._lostTLSConnection:
            count = read(connection._ssl, _buffer, _SIZE)
            if count > 0:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(view[:count])
                continue
            error = _lib.SSL_get_error(connection._ssl, count)
            if error == _lib.SSL_ERROR_WANT_READ or (
                error == _lib.SSL_ERROR_ZERO_RETURN and self.peer_ended()
            ):
                break
            # The end, or something is wrong. Asked again it says the same.
            super()._flushReceiveBIO()
            return
        self._flushSendBIO()

    def peer_ended(self) -> bool:
        """The peer sends no more (close_notify). Returns whether the connection goes on all the same."""
        return False

    def _flushSendBIO(self) -> None:
        outgoing = self._tlsConnection._from_ssl
        while True:
            count = _lib.BIO_read(outgoing, _buffer, _SIZE)
            if count <= 0:
                return
            self.transport.write(_view[:count])

    def _write(self, bytes: bytes) -> None:
        size = len(bytes)
        if self._lostTLSConnection or not self._handshakeDone or size > _MOST_AT_ONCE:
            super()._write(bytes)
            return
        ssl = self._tlsConnection._ssl
        text = _ffi.from_buffer(bytes)
        sent = 0
        while sent < size:
            count = _lib.SSL_write(ssl, text + sent, size - sent)
            if count <= 0:
                # It cannot just now, or never: Twisted finds out which.
                self._flushSendBIO()
                super()._write(bytes[sent:])
                return
            sent += count
        self._flushSendBIO()
