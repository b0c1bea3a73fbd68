"""Secrets at rest: which members of a document are secret, and how they are encrypted.

A sealed text is ``$sealed$v1$<key id>$<base64>``: AES-256-GCM (NIST SP 800-38D) with a random
96-bit nonce in front of the ciphertext and the 128-bit tag behind it. The associated data is the
place of the text: gateway group, kind, id and path within the document, so a sealed text that is
moved elsewhere does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.model.problems import PathPart
from gateway.model.record import Key
from gateway.model.schema import is_reference

PREFIX = "$sealed$v1$"
_SEALED = re.compile(r"\$sealed\$v1\$([0-9a-f]{12})\$([A-Za-z0-9_-]+={0,2})")
_NONCE_BYTES = 12
_TAG_BYTES = 16

_SECRETS_BY_KIND: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "ssl": (("key",), ("keys",)),
    "certificate": (("key",), ("keys",)),
    "authority": (("key",),),
    "secret": (("token",), ("secret_access_key",), ("session_token",), ("auth_config", "private_key")),
    "secret_provider": (
        ("token",),
        ("secret_access_key",),
        ("session_token",),
        ("auth_config", "private_key"),
    ),
}
_SECRETS_ANYWHERE = (("tls", "client_key"), ("upstream", "tls", "client_key"))

Path = tuple[PathPart, ...]
SecretFields = Callable[[str], Sequence[str]]
"""Given a plugin's name, the names of its settings that are secret."""


def is_sealed(text: str) -> bool:
    """Whether *text* has the form of a sealed text; it may still fail to open."""
    return _SEALED.fullmatch(text) is not None


def secret_places(kind: str, value: Mapping[str, Any], secret_fields: SecretFields) -> set[Path]:
    """
    Tell where a document's secrets stand.

    Everything below a place is secret: of an array or object, each text in it.

    Args:
        kind: The record's kind. value: Its document.
    Returns:
        Paths from the document's root. They need not exist in it.
    """
    places: set[Path] = {*_SECRETS_ANYWHERE, *_SECRETS_BY_KIND.get(kind, ())}
    places.update(plugin_places(value.get("plugins"), secret_fields, ("plugins",)))
    if kind == "service_version":
        for path, document in _inside_version(value):
            places.update((*path, *place) for place in secret_places("service", document, secret_fields))
    return places


def plugin_places(value: Any, secret_fields: SecretFields, path: Path = ()) -> Iterator[Path]:
    """
    Tell where the secrets of plugins stand, wherever a plugin's name stands with its settings.

    Args:
        value: Anything; ``{name: settings}`` and ``[name, settings]`` count at every depth, as the settings
            of one plugin may hold those of another. path: Where it is.
    """
    if isinstance(value, Mapping):
        for name, settings in value.items():
            yield from ((*path, name, member) for member in secret_fields(name))
            yield from plugin_places(settings, secret_fields, (*path, name))
    elif isinstance(value, (list, tuple)):
        if len(value) > 1 and isinstance(value[0], str):
            yield from ((*path, 1, member) for member in secret_fields(value[0]))
        for place, item in enumerate(value):
            yield from plugin_places(item, secret_fields, (*path, place))


def _inside_version(value: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The documents a version of a service holds: the service, and its routes by id."""
    if isinstance(value.get("service"), Mapping):
        yield ("service",), value["service"]
    for member in ("routes", "stream_routes"):
        routes = value.get(member)
        for id, route in routes.items() if isinstance(routes, Mapping) else ():
            if isinstance(route, Mapping):
                yield (member, id), route


def _rewritten(value: Any, path: Path, secret: bool, places: set[Path], each: _Rewrite) -> Any:
    # A copy of what changed only: what stays the same is the same object.
    secret = secret or path in places
    if isinstance(value, str):
        return each(value, path, secret)
    if isinstance(value, Mapping):
        changed = None
        for name, item in value.items():
            new = _rewritten(item, (*path, name), secret, places, each)
            if new is not item:
                changed = dict(value) if changed is None else changed
                changed[name] = new
        return value if changed is None else changed
    if isinstance(value, (list, tuple)):
        items = [_rewritten(item, (*path, i), secret, places, each) for i, item in enumerate(value)]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


_Rewrite = Callable[[str, Path, bool], str]


def _place_bytes(key: Key, path: Path) -> bytes:
    return json.dumps([PREFIX, *key, *path]).encode("ascii")


def key_id(key: bytes) -> str:
    """The name a key has in sealed texts: 12 hex digits that tell nothing else about it."""
    return hashlib.sha256(b"gateway sealing key\0" + key).hexdigest()[:12]


@frozen
class Unsealed:
    """
    Attributes:
        value: The document in clear, as far as it could be had.
        damaged: Where sealed text was left in place because no key opens it; empty if all is well.
    """

    value: Mapping[str, Any]
    damaged: tuple[Path, ...]


class Sealer:
    """Encrypts the secrets of documents, and opens them again."""

    def __init__(self, keys: Sequence[bytes], secret_fields: SecretFields) -> None:
        """
        Args:
            keys: 32 bytes each. The first encrypts; all decrypt. Without keys nothing is
                encrypted and nothing opens.
            secret_fields: As ``PluginRegistry.secret_fields``.
        Raises:
            ValueError: a key has another length.
        """
        if any(len(key) != 32 for key in keys):
            raise ValueError("a sealing key must be 32 bytes long")
        self._secret_fields = secret_fields
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._current = key_id(keys[0]) if keys else None

    def __repr__(self) -> str:
        return f"<Sealer with {len(self._ciphers)} keys, current {self._current}>"

    def seal(self, key: Key, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        Encrypt the secrets of a document.

        References (``$env://``, ``$secret://``) stay, and so does sealed text that does not open
        here: whoever puts a damaged record back keeps it damaged, and recoverable. Any other text
        that begins like a sealed one is sealed wherever it stands, so nobody can plant one.

        Args:
            key: The record's. value: Its document; not changed.
        Returns:
            The document to write; *value* itself if there is nothing to encrypt.
        """
        current = self._current
        if current is None:
            return value

        def each(text: str, path: Path, secret: bool) -> str:
            if text.startswith(PREFIX):
                dead = is_sealed(text) and self._open(key, path, text) is None
                return text if dead else self._seal(current, key, path, text)
            if secret and not is_reference(text):
                return self._seal(current, key, path, text)
            return text

        places = secret_places(key[1], value, self._secret_fields)
        sealed: Mapping[str, Any] = _rewritten(value, (), False, places, each)
        return sealed

    def unseal(self, key: Key, value: Mapping[str, Any]) -> Unsealed:
        """
        Open every sealed text of a document, wherever it stands.

        Args:
            key: The record's. value: Its document as it was written; not changed.
        """
        damaged: list[Path] = []

        def each(text: str, path: Path, secret: bool) -> str:
            if not text.startswith(PREFIX):
                return text
            clear = self._open(key, path, text)
            if clear is not None:
                return clear
            # With keys, seal() lets no such text through: somebody else wrote it.
            if self._ciphers or is_sealed(text):
                damaged.append(path)
            return text

        clear: Mapping[str, Any] = _rewritten(value, (), False, set(), each)
        return Unsealed(clear, tuple(damaged))

    def is_current(self, key: Key, value: Mapping[str, Any]) -> bool:
        """Whether each secret of a written document is sealed, and with the current key."""
        stale: list[Path] = []
        mark = f"{PREFIX}{self._current}$"

        def each(text: str, path: Path, secret: bool) -> str:
            if not text.startswith(mark) and (text.startswith(PREFIX) or (secret and not is_reference(text))):
                stale.append(path)
            return text

        _rewritten(value, (), False, secret_places(key[1], value, self._secret_fields), each)
        return self._current is None or not stale

    def _seal(self, current: str, key: Key, path: Path, text: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        clear = text.encode("utf-8", "surrogatepass")
        box = nonce + self._ciphers[current].encrypt(nonce, clear, _place_bytes(key, path))
        return f"{PREFIX}{current}${base64.urlsafe_b64encode(box).decode('ascii')}"

    def _open(self, key: Key, path: Path, text: str) -> str | None:
        form = _SEALED.fullmatch(text)
        cipher = self._ciphers.get(form[1]) if form else None
        if form is None or cipher is None:
            return None
        try:
            box = base64.urlsafe_b64decode(form[2])
            if len(box) < _NONCE_BYTES + _TAG_BYTES:
                return None
            clear = cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], _place_bytes(key, path))
            return clear.decode("utf-8", "surrogatepass")
        except (InvalidTag, binascii.Error, UnicodeDecodeError):
            return None
