"""Who owns which authentication key: the index behind the check for duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from gateway.control.state import State
from gateway.model.credential import split_id
from gateway.registry import PluginRegistry

_KINDS = ("consumer", "credential")
_Owners = dict[tuple[str, str], dict["Owner", None]]


@frozen
class Owner:
    """
    Whose key it is.

    Attributes:
        credential: The credential's own id; None if the key stands on the consumer itself.
    """

    consumer: str
    credential: str | None = None

    @classmethod
    def of(cls, kind: str, id: str) -> Owner:
        """The owner that a record of *kind* is, by its stored id."""
        return cls(id) if kind == "consumer" else cls(*split_id(id))

    def __str__(self) -> str:
        if self.credential is None:
            return f"consumer: {self.consumer}"
        return f"credential: {self.credential} of consumer: {self.consumer}"


class KeyIndex:
    """
    The owners of every key in every group, kept up to date one commit at a time.

    It reads all of a group's credentials once, and again only if it missed a commit.
    """

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry
        self._revision = -1
        self._groups: dict[str, _Owners] = {}

    def follow(self, state: State) -> None:
        """Bring the index to *state*; to be called at every commit, whatever it changed."""
        if state.revision == self._revision:
            return
        made = state.made_by
        if made is None or made.number != self._revision + 1:
            self._groups.clear()
        else:
            for change, before in zip(made.changes, made.before, strict=True):
                owners = self._groups.get(change.group)
                if owners is None or change.kind not in _KINDS:
                    continue
                owner = Owner.of(change.kind, change.id)
                for key in self._keys({} if before is None else before.value):
                    held = owners.get(key, {})
                    held.pop(owner, None)
                    if not held:
                        owners.pop(key, None)
                for key in self._keys(change.value or {}):
                    owners.setdefault(key, {})[owner] = None
        self._revision = state.revision

    def others(
        self,
        state: State,
        group: str,
        kind: str,
        id: str,
        value: Mapping[str, Any],
        *,
        with_consumer: bool = False,
    ) -> Iterator[tuple[str, str, Owner]]:
        """
        Find whom a document would share a key with.

        Args:
            state: The one last followed.
            kind: ``consumer`` or ``credential``. id: Its stored id.
            with_consumer: Whether a consumer and its own credentials count against each other.
        Returns:
            Plugin, its name for the key, and the first owner. Two credentials always count against each
            other, a consumer and its own credentials only if asked for.
        Source:
            jwt-auth contract §2, Admin API contract §4.5.
        """
        me = Owner.of(kind, id)
        owners = self._owners(state, group)
        for plugin, key in self._keys(value):
            for owner in owners.get((plugin, key), ()):
                same = owner.consumer == me.consumer and not with_consumer
                if owner != me and not (same and None in (owner.credential, me.credential)):
                    yield plugin, str(self._registry.factory(plugin).key_field), owner
                    break

    def _owners(self, state: State, group: str) -> _Owners:
        owners = self._groups.get(group)
        if owners is None:
            owners = self._groups[group] = {}
            for kind in _KINDS:
                for id, record in state.all(group, kind).items():
                    for key in self._keys(record.value):
                        owners.setdefault(key, {})[Owner.of(kind, id)] = None
        return owners

    def _keys(self, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        plugins = value.get("plugins")
        if not isinstance(plugins, Mapping):
            return
        for name, config in plugins.items():
            if self._registry.is_auth(name) and isinstance(config, Mapping):
                key = self._registry.key_of(name, config)
                if key is not None:
                    yield name, key
