"""From consumers and their credentials to identities: what each key leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from gateway.core.consumers import ConsumerEntry, Identity
from gateway.model.consumer import Consumer
from gateway.model.credential import Credential

MakeCredential = Callable[[str, Mapping[str, Any]], tuple[str, object]]
"""Plugin name and settings → the key it is found by and what the plugin made of it; ValueError."""

Owned = tuple[tuple[str, str, Identity], ...]
"""(plugin, key, identity) of one consumer."""


@frozen
class Owner:
    """
    A consumer with everything that can identify it.

    Attributes:
        consumer: None while only credentials are known: nobody can be identified then.
        credentials: By their own id, in the order of creation.
    """

    consumer: Consumer | None = None
    credentials: Mapping[str, Credential] = field(factory=dict)

    def with_credential(self, id: str, credential: Credential | None) -> Owner:
        """The owner with one credential set, or removed: for None, and for one that is for no plugin."""
        credentials = dict(self.credentials)
        if credential is None or not credential.plugin:
            credentials.pop(id, None)
        else:
            credentials[id] = credential
        return evolve(self, credentials=credentials)


def entry_of(
    consumer: Consumer,
    is_auth: Callable[[str], bool],
    groups: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> ConsumerEntry:
    """
    Compile a consumer: its plugins without those that are credentials, and its field values.

    Args:
        groups: The plugins of every consumer group, by id.
    """
    group = consumer.group_id
    custom_id = consumer.labels.get("custom_id")
    return ConsumerEntry(
        username=consumer.username,
        group_id=consumer.group_id,
        labels=consumer.labels,
        plugins={name: config for name, config in consumer.plugins.items() if not is_auth(name)},
        wire_username=_field_value(consumer.username),
        wire_custom_id=None if custom_id is None else _field_value(custom_id) or None,
        group_plugins={} if group is None else (groups or {}).get(group),
    )


_CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))


def _field_value(text: str) -> bytes:
    # A label may hold any character; a field value holds no control but the tab (RFC 9110 section 5.5).
    return text.encode("utf-8", "replace").translate(None, _CONTROLS).strip()


def identities_of(
    owner: Owner, entry: ConsumerEntry, make: MakeCredential, is_auth: Callable[[str], bool]
) -> tuple[Owned, Mapping[str | None, str]]:
    """
    Prepare every credential of one consumer.

    Args:
        owner: Its ``consumer`` is not None.
    Returns:
        The identities, and for each credential that cannot be used why not, by credential id
        (None for one that is kept on the consumer itself). Those are left out: they fail closed.
    """
    found: list[tuple[str, str, Identity]] = []
    faults: dict[str | None, str] = {}
    assert owner.consumer is not None
    inline = [(None, name, config) for name, config in owner.consumer.plugins.items() if is_auth(name)]
    kept = [(id, c.plugin, c.config) for id, c in owner.credentials.items()]
    for id, plugin, config in [*inline, *kept]:
        meta = config.get("_meta")
        if isinstance(meta, Mapping) and meta.get("disable") is True:
            continue
        try:
            key, credential = make(plugin, config)
        except ValueError as error:
            text = f"{plugin}: {error}"
            # Several can be kept on the consumer itself.
            faults[id] = f"{faults[id]}; {text}" if id in faults else text
        else:
            found.append((plugin, key, Identity(entry, id, credential)))
    return tuple(found), faults
