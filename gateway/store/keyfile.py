"""The key file: what secrets in the store are encrypted with. Whoever has it and the database has them."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat

from gateway.errors import StoreUnavailable

FILE_NAME = "secret.key"
KEY_BYTES = 32
_MAX_FILE_BYTES = 65536


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        # The mode of the very file that is read; a symbolic link to it is fine.
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StoreUnavailable(f"{path} is not a regular file; a key file is needed here")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StoreUnavailable(
                f"{path} can be used by other users (mode {stat.S_IMODE(status.st_mode):04o}); "
                f"run: chmod 600 {path}"
            )
        return file.read(_MAX_FILE_BYTES)


def _create(path: str) -> None:
    # Complete before it gets its name: no crash leaves half a key, and of two starters one wins.
    directory = os.path.dirname(path)
    draft = os.path.join(directory, f".{os.path.basename(path)}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(new_key_line())
            file.flush()
            os.fsync(fd)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
    _sync_directory(directory)


def new_key_line() -> bytes:
    """A fresh random key as a line of a key file."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"


def parse_keys(text: bytes, path: str) -> tuple[bytes, ...]:
    """
    Read the content of a key file.

    Args:
        text: One key a line, 32 bytes in padded base64: the URL-safe alphabet (RFC 4648
            section 5), or the standard one. Empty lines and lines that start with ``#`` mean nothing.
        path: Named in errors; the keys never are.
    Returns:
        The keys, 32 bytes each, at least one; the first is the current one.
    Raises:
        StoreUnavailable: a line is no key, or there is none.
    """
    keys: list[bytes] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            key = base64.b64decode(line, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise StoreUnavailable(
                f"{path}, line {number}, is not a key: {KEY_BYTES} bytes in URL-safe base64 are needed; "
                "put the right key file back"
            )
        if key not in keys:
            keys.append(key)
    if not keys:
        raise StoreUnavailable(
            f"{path} holds no key; put the right key file back, "
            "or remove it if nothing was ever stored: then a new one is made"
        )
    return tuple(keys)


def load_or_create(path: str) -> tuple[bytes, ...]:
    """
    Read the key file, making it (mode 0600, directory 0700) when there is none.

    Args:
        path: The file, commonly ``<data_dir>/secret.key``. To rotate, put a new key on top and
            keep the old ones below it.
    Returns:
        As ``parse_keys``.
    Raises:
        StoreUnavailable: it cannot be read or made, other users can read it, or it is malformed.
    """
    path = os.path.abspath(path)
    try:
        try:
            text = _read(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            _create(path)
            text = _read(path)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be read or made: {error.strerror}; check its owner and the directory's"
        ) from error
    return parse_keys(text, path)
