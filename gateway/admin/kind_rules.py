"""What the table of kinds says in code: cascades, ids found in documents, warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.control.state import State
from gateway.model import certificate, secret
from gateway.model.credential import join_id, split_id
from gateway.model.problems import Problem
from gateway.model.record import Key, Record
from gateway.model.schema import Checker

_OWN = Checker(secret.ID)


def members_of_service(state: State, group: str, id: str) -> Iterable[Key]:
    """A service takes its routes, stream routes and additional upstreams along (contract §3.1)."""
    for kind in ("route", "stream_route"):
        for own, record in state.all(group, kind).items():
            # The apisix dialect has whole numbers for ids too.
            if str(record.value.get("service_id")) == id:
                yield group, kind, own
    yield from _children(state, group, "service_upstream", id)
    if state.get("", "publication", join_id(group, id)) is not None:
        yield "", "publication", join_id(group, id)


def credentials_of_consumer(state: State, group: str, id: str) -> Iterable[Key]:
    """A consumer takes its credentials along."""
    return _children(state, group, "credential", id)


def routes_of_template(state: State, group: str, id: str) -> Iterable[Key]:
    """A service template takes its routes, its versions and the memory of its publications along."""
    for kind in ("route_template", "stream_route_template"):
        for own, record in state.all(group, kind).items():
            if record.value.get("service_id") == id:
                yield group, kind, own
    yield from _children(state, group, "service_version", id)
    for own in state.all(group, "publication"):
        if split_id(own)[1] == id:
            yield group, "publication", own


def tokens_of_user(state: State, group: str, id: str) -> Iterable[Key]:
    """A user takes their tokens along."""
    for own, record in state.all("", "token").items():
        if record.value.get("user_id") == id:
            yield "", "token", own


def _children(state: State, group: str, kind: str, parent: str) -> Iterable[Key]:
    for id in state.all(group, kind):
        if split_id(id)[0] == parent:
            yield group, kind, id


def expires_until(record: Record, wanted: str) -> bool:
    """Whether a certificate ends at that unix time or before."""
    ends = certificate.expires_at(record.value)
    return ends is not None and wanted.isdecimal() and ends <= int(wanted[:15])


def auth_on_consumer(document: Mapping[str, Any], is_auth: Callable[[str], bool]) -> list[str]:
    """Auth plugins on a consumer still work, and are not the way any more (contract §3.5)."""
    names = [name for name in document.get("plugins", {}) if is_auth(name)]
    return [f"plugin {name} on a consumer is deprecated: make a credential of the consumer" for name in names]


def only_plugin(document: Mapping[str, Any]) -> str | None:
    """The id of a global rule: its plugin, if it has one alone."""
    plugins = document.get("plugins")
    return next(iter(plugins)) if isinstance(plugins, Mapping) and len(plugins) == 1 else None


def username(document: Mapping[str, Any]) -> str | None:
    """The id of a consumer."""
    name = document.get("username")
    return name if isinstance(name, str) else None


def secret_id(id: str) -> list[Problem]:
    """What is wrong with ``<manager>/<id>``."""
    manager, _, own = id.partition("/")
    if manager not in secret.MANAGERS:
        known = list(secret.MANAGERS)
        return [Problem(("id",), "reference", f"invalid secret manager: {manager[:64]}", known, manager)]
    return [problem.below("id") for problem in _OWN.problems(own)]
