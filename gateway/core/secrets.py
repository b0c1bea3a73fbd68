"""
References to secrets that are kept outside the configuration: ``$env://NAME[/json_key]``, and
``$secret://<manager>/<id>/<path>`` for what a secret manager keeps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from gateway.model.schema import is_reference

_ENV = "$env://"
_SECRET = "$secret://"  # noqa: S105 - what references begin with


class UnresolvedReference(ValueError):
    """
    A reference leads nowhere; whatever needs it must not be used. The text names the reference,
    never a value.
    """


Secrets = Callable[[str], str]
"""From a ``$secret://`` reference to what it stands for. Raises UnresolvedReference."""


def no_manager(reference: str) -> str:
    """The ``Secrets`` of a place that knows no manager."""
    raise UnresolvedReference(f"{reference}: no secret manager is configured")


@frozen
class ManagedSecret:
    """
    A ``$secret://`` reference, taken apart.

    Attributes:
        provider: ``<manager>/<id>``: the id of the resource that says how the manager is asked.
        path: What follows.
    """

    provider: str
    path: str

    @property
    def manager(self) -> str:
        """The manager's name."""
        return self.provider.partition("/")[0]

    @classmethod
    def parse(cls, reference: str) -> ManagedSecret:
        """Read a reference. Raises UnresolvedReference if it lacks a part."""
        manager, _, rest = reference[len(_SECRET) :].partition("/")
        id, _, path = rest.partition("/")
        if not manager or not id or not path.strip("/"):
            raise UnresolvedReference(f"{reference} is not $secret://<manager>/<id>/<path>")
        return cls(f"{manager}/{id}", path.strip("/"))


def managed_references(value: Any) -> list[str]:
    """The ``$secret://`` references that stand in *value*, at any depth."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if item.startswith("$") and item[: len(_SECRET)].lower() == _SECRET:
                found.append(item)
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
    return found


def _from_environment(reference: str, env: Mapping[str, str]) -> str:
    name, slash, member = reference[len(_ENV) :].partition("/")
    if not name:
        raise UnresolvedReference(f"{reference} names no environment variable")
    value: object = env.get(name)
    if value is None:
        raise UnresolvedReference(f"{reference}: the environment has no {name}")
    if slash:
        try:
            document = json.loads(str(value))
        except (ValueError, RecursionError):
            # Not chained: the original error quotes the value.
            raise UnresolvedReference(f"{reference}: {name} is not JSON") from None
        if not isinstance(document, dict) or member not in document:
            raise UnresolvedReference(f'{reference}: {name} has no member "{member}"')
        value = document[member]
    if not isinstance(value, str) or not value:
        raise UnresolvedReference(f"{reference} is not a text, or an empty one")
    return value


def _resolved(value: Any, env: Mapping[str, str], secrets: Secrets) -> Any:
    if isinstance(value, str):
        if not is_reference(value):
            return value
        if value[: len(_ENV)].lower() == _ENV:
            return _from_environment(value, env)
        return secrets(value)
    if isinstance(value, Mapping):
        return {name: _resolved(member, env, secrets) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolved(item, env, secrets) for item in value]
    return value


def resolve(
    config: Mapping[str, Any], env: Mapping[str, str], secrets: Secrets = no_manager
) -> dict[str, Any]:
    """
    Put the values in the place of the references.

    Args:
        config: A plugin's settings; objects and arrays are walked. A text is a reference as a whole
            or not at all; its prefix is matched in any letter case, the variable's name is not.
        env: The environment: variable name → value.
        secrets: Knows what secret managers keep.
    Returns:
        A new document; *config* is unchanged. A value that is put in is not looked at again.
    Raises:
        UnresolvedReference: the variable is not set, or it or its JSON member is missing, empty or
            not a text; or *secrets* has none.
    Source:
        jwt-auth contract §2, secret references: what cannot be resolved is never used literally.
    """
    resolved: dict[str, Any] = _resolved(config, env, secrets)
    return resolved
