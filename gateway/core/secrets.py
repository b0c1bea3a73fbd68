"""References to secrets that are kept outside the configuration: ``$env://NAME[/json_key]``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.model.schema import is_reference

_ENV = "$env://"


class UnresolvedReference(ValueError):
    """
    A reference leads nowhere; whatever needs it must not be used. The text names the reference,
    never a value.
    """


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


def _resolved(value: Any, env: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        if not is_reference(value):
            return value
        if value[: len(_ENV)].lower() == _ENV:
            return _from_environment(value, env)
        raise UnresolvedReference(f"{value}: no secret manager is configured")
    if isinstance(value, Mapping):
        return {name: _resolved(member, env) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolved(item, env) for item in value]
    return value


def resolve(config: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """
    Put the values in the place of the references.

    Args:
        config: A plugin's settings; objects and arrays are walked. A text is a reference as a whole
            or not at all; its prefix is matched in any letter case, the variable's name is not.
        env: The environment: variable name → value.
    Returns:
        A new document; *config* is unchanged. A value that is put in is not looked at again.
    Raises:
        UnresolvedReference: the variable is not set, or it or its JSON member is missing, empty or
            not a text; also for every ``$secret://`` reference, since no secret manager is supported.
    Source:
        jwt-auth contract §2, secret references: what cannot be resolved is never used literally.
    """
    resolved: dict[str, Any] = _resolved(config, env)
    return resolved
