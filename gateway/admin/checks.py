"""What no schema can say about a resource: its plugins, its references, its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from gateway.admin.keys import KeyIndex
from gateway.control.state import State
from gateway.core.expressions import compile_expression
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.problems import Problem
from gateway.model.record import Record
from gateway.registry import PluginRegistry

ONLY_AUTH = "only supports auth type plugins in consumer credential"


@frozen
class Draft:
    """
    A document about to be stored.

    Attributes:
        state: What it would be added to. group, id: Where; *id* is the stored one.
        document: As the writer sent it; it need not fit its schema.
        before: The record it replaces, or None.
    """

    state: State
    registry: PluginRegistry
    keys: KeyIndex
    group: str
    kind: str
    id: str
    document: Mapping[str, Any]
    before: Record | None

    @property
    def plugins(self) -> Mapping[str, Any]:
        """Its plugins, or an empty mapping if it has none or they are malformed."""
        plugins = self.document.get("plugins")
        return plugins if isinstance(plugins, Mapping) else {}


Check = Callable[[Draft], Iterable[Problem]]


def _plugin(draft: Draft, name: str, config: object, credential: bool) -> Iterator[Problem]:
    if name not in draft.registry:
        yield Problem(("plugins", name), "plugin", f"unknown plugin [{name}]", list(draft.registry.names))
    elif isinstance(config, Mapping):
        found = draft.registry.check(name, config, credential=credential)
        if found:
            yield Problem(("plugins", name), "plugin", "bad settings", name, branches=(tuple(found),))


def plugins(draft: Draft) -> Iterator[Problem]:
    """Every plugin is known and its settings fit; ``branches`` of the problem says what does not."""
    for name, config in draft.plugins.items():
        yield from _plugin(draft, name, config, False)


def consumer_plugins(draft: Draft) -> Iterator[Problem]:
    """As ``plugins``; those that authenticate carry the consumer's credential."""
    for name, config in draft.plugins.items():
        yield from _plugin(draft, name, config, draft.registry.is_auth(name))


def credential_plugin(draft: Draft) -> Iterator[Problem]:
    """Exactly one plugin, and one that authenticates."""
    if "plugins" not in draft.document or not isinstance(draft.document["plugins"], Mapping):
        return
    unknown = [name for name in draft.plugins if name not in draft.registry]
    wrong = [name for name in draft.plugins if name in draft.registry and not draft.registry.is_auth(name)]
    if wrong or (len(draft.plugins) != 1 and not unknown):
        yield Problem(("plugins",), "plugin", ONLY_AUTH)
        return
    for name, config in draft.plugins.items():
        yield from _plugin(draft, name, config, True)


def unique_key(draft: Draft) -> Iterator[Problem]:
    """No key of an auth plugin has another owner in the group."""
    for plugin, member, owner in draft.keys.others(
        draft.state, draft.group, draft.kind, draft.id, draft.document
    ):
        text = f"duplicate {member} of plugin {plugin} found with {owner}"
        yield Problem(("plugins", plugin, member), "duplicate", text)


def one_plugin(draft: Draft) -> Iterator[Problem]:
    """A global rule holds one plugin and is called like it (Admin API contract §3.5)."""
    if not isinstance(draft.document.get("plugins"), Mapping):
        return
    if len(draft.plugins) != 1:
        yield Problem(("plugins",), "value", "exactly one plugin is needed", 1, len(draft.plugins))
    elif draft.id not in draft.plugins:
        text = f'the rule\'s id "{draft.id}" is not the name of its plugin'
        yield Problem(("plugins",), "conflict", text, draft.id)


def http_service(draft: Draft) -> Iterator[Problem]:
    """A route's service exists and is one for HTTP."""
    id = draft.document.get("service_id")
    if not isinstance(id, str):
        return
    service = draft.state.get(draft.group, "service", id)
    if service is None:
        yield Problem(("service_id",), "reference", "service not found")
    elif service.value.get("type", "http") != "http":
        yield Problem(
            ("service_id",), "reference", "the service is of type stream, a route needs one of type http"
        )


def fixed_type(draft: Draft) -> Iterator[Problem]:
    """A service keeps the type it was made with."""
    before = draft.before
    if before is not None and isinstance(draft.document.get("type", "http"), str):
        type = before.value.get("type", "http")
        if draft.document.get("type", "http") != type:
            yield Problem(("type",), "conflict", f"the type is fixed at creation, it is {type}", type)


def expression(draft: Draft) -> Iterator[Problem]:
    """A route's ``vars`` can be evaluated."""
    raw = draft.document.get("vars")
    if not isinstance(raw, list) or not raw:
        return
    try:
        compile_expression(raw)
    except ValueError as error:
        text = f"failed to validate the 'vars' expression: {error}"
        yield Problem(("vars",), "expression", text)


def unique_group_name(draft: Draft) -> Iterator[Problem]:
    """Clients choose a group by its name, so no two groups share one."""
    name = draft.document.get("name")
    if draft.id == DEFAULT_GROUP and isinstance(name, str) and name != DEFAULT_GROUP:
        yield Problem(("name",), "conflict", f"the built-in group is called {DEFAULT_GROUP}", DEFAULT_GROUP)
    others = draft.state.all("", "gateway_group")
    taken = any(id != draft.id and record.value.get("name") == name for id, record in others.items())
    # The built-in group has its name though it may not be stored yet.
    if taken or (name == DEFAULT_GROUP and draft.id != DEFAULT_GROUP and DEFAULT_GROUP not in others):
        yield Problem(("name",), "duplicate", "gateway group name is already in use")
