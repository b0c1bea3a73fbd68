"""What the first process and a worker say to each other: AMP commands over an inherited socket.

The order of a worker's life: it says ``Hello``; it is told its settings (``Configure``), the
configuration (``Load``), its sockets (``Socket``) and to ``Serve``; then each revision
(``Apply``). Commands are carried out in the order they are sent, each before the next is looked
at, so what was applied before ``Serve`` is served from the first request on.

A command that carries a document is preceded by its ``Part``s: AMP's values end at 64 KiB.
Secrets travel here in clear. The socket is a pair that only these two processes hold.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from attrs import field, frozen
from twisted.protocols.amp import Argument, Boolean, Command, Descriptor, Float, Integer, String, Unicode

from gateway.model.record import Change, Key, Record

PART_BYTES = 60_000
"""Bytes of one part; AMP takes 65,535."""
MAX_DOCUMENT_BYTES = 1 << 30
"""Bytes of one document, packed or not. More is refused by both ends."""

_Fields = list[tuple[bytes, Argument]]


class Hello(Command):
    """Worker: it is there. *version* is that of the code it runs."""

    arguments: ClassVar[_Fields] = [(b"pid", Integer()), (b"version", Unicode())]


class Leaving(Command):
    """Worker: it was told to stop by a signal of its own; it takes no more connections."""

    requiresAnswer = False


class Part(Command):
    """The next piece of the document that the next command takes."""

    arguments: ClassVar[_Fields] = [(b"data", String())]
    requiresAnswer = False


class Configure(Command):
    """Document: the settings, ``gateway.settings_text.to_text``."""


class Load(Command):
    """Document: ``records_document``. Compile all of it; what cannot be compiled is quarantined."""

    arguments: ClassVar[_Fields] = [(b"revision", Integer())]


class Apply(Command):
    """Document: ``changes_document``. Compile it on top of what is served, and swap."""

    arguments: ClassVar[_Fields] = [(b"revision", Integer())]


class Socket(Command):
    """A bound socket to listen at once ``Serve`` comes. *kind* is ``proxy`` or ``proxy_tls``."""

    arguments: ClassVar[_Fields] = [(b"kind", Unicode()), (b"descriptor", Descriptor())]
    requiresAnswer = False


class Serve(Command):
    """Listen; answered when it does."""


class Report(Command):
    """How is it?"""

    response: ClassVar[_Fields] = [
        (b"revision", Integer()),
        (b"in_flight", Integer()),
        (b"bugs", Integer()),
        (b"serving", Boolean()),
    ]


class Inspect(Command):
    """What is so in the worker? The document goes the other way, as ``Part``s before the answer."""


class Reopen(Command):
    """Open the log files anew."""

    requiresAnswer = False


class Reload(Command):
    """Document: as ``Configure``. Go on with these settings, and open the log files anew."""

    requiresAnswer = False


class Drain(Command):
    """Take no more connections, end what is in flight within *grace_s* seconds, and end."""

    arguments: ClassVar[_Fields] = [(b"grace_s", Float())]
    requiresAnswer = False


@frozen
class Packed:
    """A document on its way: compressed, in pieces of ``PART_BYTES``."""

    parts: Sequence[bytes] = field(repr=False)


def pack(document: Any) -> Packed:
    """
    Prepare a JSON value for the wire.

    Raises:
        ValueError: it is larger than ``MAX_DOCUMENT_BYTES``.
    """
    text = json.dumps(document, separators=(",", ":"), default=_plain).encode("ascii")
    if len(text) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"a configuration of {len(text)} bytes is too large for workers")
    # Level 1: nearly all of the gain, and a tenth of the time.
    data = zlib.compress(text, 1)
    return Packed([data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)])


class Unpacker:
    """Puts a document together again."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """The next part. Raises ValueError if the whole is too large."""
        self._size += len(data)
        if self._size > MAX_DOCUMENT_BYTES:
            raise ValueError("a document is too large")
        self._parts.append(data)

    def take(self) -> Any:
        """
        The document; the next one may follow.

        Raises:
            ValueError: it is damaged or too large.
        """
        data, self._parts, self._size = b"".join(self._parts), [], 0
        inflater = zlib.decompressobj()
        try:
            text = inflater.decompress(data, MAX_DOCUMENT_BYTES)
        except zlib.error as error:
            raise ValueError(f"a document is damaged: {error}") from None
        if not inflater.eof:
            raise ValueError("a document is damaged or too large")
        return json.loads(text)


def records_document(records: Iterable[Record], damaged: Collection[Key]) -> Any:
    """What ``Load`` carries. *records* are in the order of creation."""
    return {
        "records": [
            [r.group, r.kind, r.id, r.value, r.dialect, r.created_revision, r.modified_revision]
            for r in records
        ],
        "damaged": [list(key) for key in damaged],
    }


def read_records(document: Any) -> tuple[list[Record], list[Key]]:
    """The records, their times left out, and the keys of ``records_document``."""
    records = [
        Record(group, kind, id, value, dialect, 0, 0, created, modified)
        for group, kind, id, value, dialect, created, modified in document["records"]
    ]
    return records, [(group, kind, id) for group, kind, id in document["damaged"]]


def changes_document(changes: Iterable[Change]) -> Any:
    """What ``Apply`` carries."""
    return [[c.group, c.kind, c.id, c.value, c.dialect] for c in changes]


def read_changes(document: Any) -> list[Change]:
    """The changes of ``changes_document``."""
    return [Change(group, kind, id, value, dialect) for group, kind, id, value, dialect in document]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no place in a document")
