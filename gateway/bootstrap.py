"""The first start, and every start: the data directory and what stands in it before anything listens.

::

    <data_dir>/               0700
        admin-token           0600   the first access token, if gw.ini gives none
        apisix-admin-key      0600   the key of the apisix dialect, if gw.ini gives none
        admin-password        0600   the first password of the user admin, likewise
        admin.crt, admin.key         the self-signed certificate (gateway.certificates)
        ports.json                   where this process listens, while it runs
        gateway.db, secret.key       the store's
        access.log
"""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import socket
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from attrs import field, frozen

from gateway.errors import SettingsErrors
from gateway.files import write_atomically
from gateway.settings import Settings
from gateway.settings_fields import Address
from gateway.telemetry.log_format import check_format

TOKEN_FILE = "admin-token"  # noqa: S105 - a file's name
APISIX_KEY_FILE = "apisix-admin-key"
PORTS_FILE = "ports.json"
PASSWORD_FILE = "admin-password"  # noqa: S105 - likewise
TOKEN_PREFIX = "a7ee-"  # noqa: S105

_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_SPARE_FILES = 128
"""Open files that are neither a client's connection nor an upstream's."""


@frozen
class AdminToken:
    """
    The first access token of the Admin API, or the key of its apisix dialect.

    Attributes:
        text: The token itself; keep its hash only.
        origin: ``settings``, ``file`` (made by an earlier start), or ``made`` just now.
        path: The file that holds it; None if it came from the settings.
    """

    text: str = field(repr=False)
    origin: Literal["settings", "file", "made"]
    path: Path | None = None

    @property
    def is_new(self) -> bool:
        """Whether it was made just now."""
        return self.origin == "made"


def check_formats(settings: Settings) -> None:
    """
    Check what only those who use a setting can check: the access log's line.

    Raises:
        SettingsErrors: it has a variable that means nothing, or a stray ``$``.
    """
    problems = check_format(settings.log.access_format)
    if problems:
        raise SettingsErrors([f"[log] access_format: {problem}" for problem in problems])


def ensure_data_dir(settings: Settings) -> Path:
    """
    Make sure that ``[gateway] data_dir`` is there and can be written; it is made with mode 0700.

    Raises:
        SettingsErrors: it is not a directory, or cannot be made or written.
    """
    path = settings.gateway.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise SettingsErrors([f"[gateway] data_dir: {path} is not a directory"]) from None
    except OSError as error:
        raise SettingsErrors(
            [f"[gateway] data_dir: {path} cannot be made: {error.strerror or error}"]
        ) from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsErrors([f"[gateway] data_dir: {path} cannot be read and written by this user"])
    return path


def admin_token(settings: Settings, announce: Callable[[str], object] | None = None) -> AdminToken:
    """
    The token that opens the Admin API on a fresh install.

    ``[admin] token`` if given; else the one in ``<data_dir>/admin-token``; else a new one, which
    is written there (mode 0600) and announced once.

    Args:
        announce: Takes the words with the new token. By default they are printed: never log them.
    Raises:
        SettingsErrors: the file cannot be read or written, or holds no token.
    """
    if settings.admin.token is not None:
        return AdminToken(settings.admin.token.text, "settings")
    path = ensure_data_dir(settings) / TOKEN_FILE
    token = _kept(path, "[admin] token", "token", TOKEN_PREFIX)
    if token.is_new:
        text = f"The admin token is {token.text}\nIt is kept in {path} and will not be shown again."
        (announce or _print)(text)
    return token


def apisix_key(settings: Settings, announce: Callable[[str], object] | None = None) -> AdminToken:
    """
    The key that opens the apisix dialect of the Admin API.

    ``[apisix] admin_key`` if given; else the one in ``<data_dir>/apisix-admin-key``; else a new one, which is
    written there (mode 0600). Where it is gets announced, not the key.

    Raises:
        SettingsErrors: the file cannot be read or written, or holds no key.
    """
    if settings.apisix.admin_key is not None:
        return AdminToken(settings.apisix.admin_key.text, "settings")
    path = ensure_data_dir(settings) / APISIX_KEY_FILE
    key = _kept(path, "[apisix] admin_key", "key", "")
    if key.is_new:
        (announce or _print)(f"The key of the apisix dialect is in {path}")
    return key


def _kept(path: Path, setting: str, what: str, prefix: str) -> AdminToken:
    """The secret in a file; a new one is written there if there is no file."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = prefix + secrets.token_urlsafe(32)
        try:
            write_atomically(path, text.encode() + b"\n")
        except OSError as error:
            raise SettingsErrors([f"{setting}: {path} cannot be written: {error.strerror}"]) from None
        return AdminToken(text, "made", path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsErrors([f"{setting}: {path} cannot be read: {error}"]) from None
    if not _TOKEN.fullmatch(text):
        raise SettingsErrors(
            [f"{setting}: {path} holds no {what}; remove it and a new one is made at the next start"]
        )
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        os.chmod(path, 0o600)
    return AdminToken(text, "file", path)


def first_password(settings: Settings) -> tuple[str, Path]:
    """
    A password for a user ``admin`` who has none yet, where gw.ini gives none.

    Returns:
        The password, and the file (mode 0600) that holds it: the one of an earlier start that
        came no further, or a new one.
    Raises:
        SettingsErrors: the file cannot be read or written.
    """
    path = ensure_data_dir(settings) / PASSWORD_FILE
    try:
        if path.exists():
            text = path.read_text(encoding="utf-8").strip()
            if text:
                return text, path
        text = secrets.token_urlsafe(18)
        write_atomically(path, text.encode() + b"\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsErrors([f"[admin] password: {path} cannot be used: {error}"]) from None
    return text, path


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        pass  # nobody is listening; the file has it


def write_ports(data_dir: Path, ports: Mapping[str, int]) -> Path:
    """
    Say where this process listens: a flat JSON object, ``{"admin": 7443, "proxy": 9080}``.

    Args:
        ports: Listener → port, once they listen. A second listener of a kind is ``proxy_2``
            (``name_ports`` makes such names).
    Returns:
        The file; it was replaced in one step, so a reader sees all ports or the last start's.
    """
    path = data_dir / PORTS_FILE
    write_atomically(path, json.dumps(dict(ports)).encode() + b"\n", mode=0o644)
    return path


def remove_ports(data_dir: Path) -> None:
    """To be called before anything listens, and when the gateway stops: the file is not there then."""
    (data_dir / PORTS_FILE).unlink(missing_ok=True)


def name_ports(listeners: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """
    Flatten ports by kind: the first keeps the kind's name, the others are numbered from 2.

    ``{"proxy": [9080, 9081]}`` is ``{"proxy": 9080, "proxy_2": 9081}``.
    """
    return {
        kind if index == 0 else f"{kind}_{index + 1}": port
        for kind, ports in listeners.items()
        for index, port in enumerate(ports)
    }


def worker_count(settings: Settings) -> int:
    """
    How many workers ``[proxy] workers`` asks for; ``auto`` is one for each core this process may use.

    Raises:
        SettingsErrors: this system cannot share a listening address between processes.
    """
    workers = settings.proxy.workers
    if workers == "auto":
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers and not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsErrors(["[proxy] workers: must be 0 on this system, which has no SO_REUSEPORT"])
    return workers


def allow_open_files(settings: Settings) -> str | None:
    """
    Raise this process's limit of open files to what ``[proxy] max_connections`` may need.

    Each request in flight holds a client's and an upstream's connection, and each listener may be full.

    Returns:
        None, or a warning for the log when the system does not even allow so many for one listener.
    """
    proxy = settings.proxy
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if proxy.max_connections:
        needed = proxy.max_connections + min(proxy.max_in_flight, proxy.max_connections) + _SPARE_FILES
        listeners = len(proxy.listen) + len(proxy.tls_listen)
        wanted = needed + (listeners - 1) * proxy.max_connections
    else:
        needed = wanted = sys.maxsize if hard == unlimited else hard
    if soft == unlimited or soft >= wanted:
        return None
    allowed = wanted if hard == unlimited else min(wanted, hard)
    if allowed > soft and wanted != sys.maxsize:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (OSError, ValueError):
            pass
    if soft >= needed or not proxy.max_connections:
        return None
    return (
        f"[proxy] max_connections: {proxy.max_connections} connections may need {needed} open files and the "
        f"system allows {soft}; raise the limit (ulimit -Hn, LimitNOFILE=) or lower the number"
    )


def start_lines(
    settings: Settings,
    listeners: Mapping[str, Sequence[Address]],
    *,
    token: AdminToken,
    store: str,
    apisix_key: AdminToken | None = None,
) -> list[str]:
    """
    What the log says once everything listens.

    Args:
        listeners: ``admin``, ``apisix``, ``proxy``, ``proxy_tls``, ``status`` → where each listens, with
            real port numbers.
        store: ``IConfigStore.describe()``.
    """
    schemes = {"admin": "https" if settings.admin.tls else "http", "proxy_tls": "https"}
    names = {
        "admin": "Admin API",
        "apisix": "Admin API for clients of Apache APISIX",
        "proxy": "Data plane",
        "proxy_tls": "Data plane",
        "status": "Status",
    }
    lines = [
        f"{names.get(kind, kind)} on {schemes.get(kind, 'http')}://{address}"
        for kind, addresses in listeners.items()
        for address in addresses
    ]
    where = "[admin] token" if token.path is None else str(token.path)
    lines.append(f"Admin token in {where}")
    if apisix_key is not None:
        where = "[apisix] admin_key" if apisix_key.path is None else str(apisix_key.path)
        lines.append(f"Key of the apisix dialect in {where}")
    lines.append(f"Configuration in {store}, gateway group {settings.gateway.group}")
    return lines
