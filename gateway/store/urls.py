"""Which store a setting names."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorFromThreads

from gateway.interfaces import IConfigStore
from gateway.store.memory import MemoryStore
from gateway.store.sealing import Sealer
from gateway.store.sqlite import SQLiteStore

_FORMS = "use sqlite:PATH, sqlite:///ABSOLUTE/PATH or memory:"


def sqlite_path(url: str) -> str:
    """
    Take the file out of a ``sqlite:`` URL.

    Args:
        url: ``sqlite:var/gateway.db`` (relative to the working directory), ``sqlite:/var/lib/gw.db``
            or ``sqlite:///var/lib/gw.db``. The path is taken as it stands, without %-decoding.
    Raises:
        ValueError: it names no file; the text is for the user.
    """
    path = url.partition(":")[2]
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError(
                f"sqlite:// must be followed by an absolute path, three slashes in all; {_FORMS}"
            )
    if not path or path.endswith("/"):
        raise ValueError(f"sqlite: names no file; {_FORMS}")
    if path == ":memory:":
        raise ValueError("for a store that forgets use memory:")
    for mark in "?#\0":
        if mark in path:
            raise ValueError(f"a sqlite: path takes no options and no {mark!r}; {_FORMS}")
    return path


def open_store(
    url: str, reactor: IReactorFromThreads, sealer: Sealer | None = None, *, busy_timeout_s: float = 5.0
) -> IConfigStore:
    """
    Make the store that *url* names. It is not open yet: ``open()`` it.

    Args:
        url: ``sqlite:…`` as in ``sqlite_path``, or ``memory:``. The scheme in any letter case.
        reactor, sealer, busy_timeout_s: As for ``SQLiteStore``.
    Raises:
        ValueError: no store of that name; the text fits behind ``[store] url:`` and repeats
            nothing of the URL but its scheme, for the rest may hold a password.
    """
    scheme, colon, rest = url.strip().partition(":")
    scheme = scheme.lower()
    if not colon:
        raise ValueError(f"a store is named by a URL; {_FORMS}")
    if scheme == "sqlite":
        return SQLiteStore(sqlite_path(url.strip()), reactor, sealer, busy_timeout_s=busy_timeout_s)
    if scheme == "memory":
        if rest.strip("/"):
            raise ValueError("memory: takes no path")
        return MemoryStore()
    raise ValueError(f"there is no store called {scheme!r}; {_FORMS}")
