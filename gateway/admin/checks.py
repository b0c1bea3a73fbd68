"""What no schema can say about a resource: its plugins, its references, its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from gateway.admin.keys import KeyIndex
from gateway.control.state import State
from gateway.core.expressions import compile_expression
from gateway.interfaces import ISharedSettings
from gateway.model import proto_text, secret
from gateway.model.credential import split_id
from gateway.model.gateway_group import DEFAULT_GROUP
from gateway.model.problems import Problem
from gateway.model.record import Record
from gateway.model.schema import Checker, enterprise_required, fill, is_reference
from gateway.registry import PluginRegistry

_MANAGERS = {manager: Checker(schema) for manager, schema in secret.MANAGERS.items()}
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
        found = draft.registry.check(name, config, credential=credential) or filter_faults(config)
        found = found or list(shared(draft, name, config))
        found = found or list(_not_given(draft, name, config))
        if found:
            yield Problem(("plugins", name), "plugin", "bad settings", name, branches=(tuple(found),))


def _not_given(draft: Draft, name: str, config: Mapping[str, Any]) -> Iterator[Problem]:
    """
    What this dialect asks for though there is a default. Settings that are stored like this already, by the
    other dialect or an earlier release, may stay as they are (plugin contract §9).
    """
    meta = config.get("_meta")
    if isinstance(meta, Mapping) and meta.get("disable") is True:
        return
    before = None if draft.before is None else draft.before.value.get("plugins", {}).get(name)
    if before == config:
        return
    for member in enterprise_required(draft.registry.factory(name).schema):
        if member not in config:
            yield Problem((member,), "required", f'property "{member}" is required', member)


_WITH_PLUGINS = ("service", "route", "global_rule", "consumer", "plugin_config", "consumer_group")


def shared(draft: Draft, name: str, config: Mapping[str, Any]) -> Iterator[Problem]:
    """
    Places that share what a plugin keeps have the same settings. What is stored counts, this resource's own
    included: others may be in the group by the time a change of it is served (plugin contract §3).
    """
    factory = draft.registry.factory(name)
    if not ISharedSettings.providedBy(factory):
        return
    shared = factory.shared_name(config)
    if shared is None:
        return
    wanted = _filled(factory, config)
    for kind in _WITH_PLUGINS:
        for record in draft.state.all(draft.group, kind).values():
            plugins = record.value.get("plugins")
            other = plugins.get(name) if isinstance(plugins, Mapping) else None
            if not isinstance(other, Mapping) or factory.shared_name(other) != shared:
                continue
            if other != config and _filled(factory, other) != wanted:
                yield Problem((), "conflict", "group conf mismatched")
                return


def _filled(factory: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their defaults, without what is the gateway's own."""
    return {member: value for member, value in fill(factory.schema, config).items() if member != "_meta"}


def filter_faults(config: Mapping[str, Any]) -> list[Problem]:
    """Why ``_meta.filter`` can never be evaluated: the plugin would run whatever it was meant to say."""
    meta = config.get("_meta", {})
    if meta.get("disable") is True:
        return []
    fault = _expression_fault(meta.get("filter", []))
    return [] if fault is None else [Problem((), "expression", fault)]


def _expression_fault(raw: object) -> str | None:
    if not isinstance(raw, list) or not raw:
        return None
    try:
        compile_expression(raw)
    except ValueError as error:
        return f"failed to validate the 'vars' expression: {error}"
    return None


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
    return _service(draft, "service", "route", "http")


def stream_service(draft: Draft) -> Iterator[Problem]:
    """A stream route's service exists and is one for streams."""
    return _service(draft, "service", "stream route", "stream")


def service_template(draft: Draft) -> Iterator[Problem]:
    """The template that a route template belongs to exists and is of its type."""
    if draft.kind == "route_template":
        return _service(draft, "service_template", "route", "http")
    return _service(draft, "service_template", "stream route", "stream")


def _service(draft: Draft, kind: str, what: str, wanted: str) -> Iterator[Problem]:
    id = draft.document.get("service_id")
    if not isinstance(id, str):
        return
    service = draft.state.get(draft.group, kind, id)
    type = "http" if service is None else service.value.get("type", "http")
    if service is None:
        yield Problem(("service_id",), "reference", f"{kind.replace('_', ' ')} not found")
    elif type != wanted:
        text = f"the service is of type {type}, a {what} needs one of type {wanted}"
        yield Problem(("service_id",), "reference", text)


def not_the_default_upstream(draft: Draft) -> Iterator[Problem]:
    """The upstream called like its service is the one inline in the service."""
    service, own = split_id(draft.id)
    if own == service:
        text = "this is the default upstream of the service: change it there"
        yield Problem(("id",), "conflict", text)


def upstream_certificates(draft: Draft) -> Iterator[Problem]:
    """The certificates an upstream names exist, and those shown to it are a client's."""
    inline = draft.document.get("upstream") if draft.kind in ("service", "route") else draft.document
    path = ("upstream",) if draft.kind in ("service", "route") else ()
    if not isinstance(inline, Mapping):
        return
    tls = inline.get("tls")
    id = tls.get("client_cert_id") if isinstance(tls, Mapping) else None
    if isinstance(id, str):
        record = draft.state.get(draft.group, "ssl", id)
        place = (*path, "tls", "client_cert_id")
        if record is None:
            text = f"failed to fetch ssl info by ssl id [{id}], response code: 404"
            yield Problem(place, "reference", text)
        elif record.value.get("type", "server") != "client":
            text = f"failed to fetch ssl info by ssl id [{id}], wrong ssl type"
            yield Problem(place, "reference", text)
    yield from _exists(draft, inline.get("client_certificate"), "certificate", (*path, "client_certificate"))
    yield from _all_exist(draft, inline, path)


def sni_certificates(draft: Draft) -> Iterator[Problem]:
    """The certificate and the CA certificates of an SNI exist."""
    yield from _exists(draft, draft.document.get("certificate_id"), "certificate", ("certificate_id",))
    yield from _all_exist(draft, draft.document, ())


def _all_exist(draft: Draft, document: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Problem]:
    ids = document.get("ca_certificates")
    for place, each in enumerate(ids if isinstance(ids, list) else ()):
        yield from _exists(draft, each, "ca_certificate", (*path, "ca_certificates", place))


def _exists(draft: Draft, id: object, kind: str, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if isinstance(id, str) and draft.state.get(draft.group, kind, id) is None:
        yield Problem(path, "reference", f"{kind.replace('_', ' ')} {id[:256]} not found")


def role_policies(draft: Draft) -> Iterator[Problem]:
    """The policies of a role exist."""
    ids = draft.document.get("permission_policies")
    for place, id in enumerate(ids if isinstance(ids, list) else ()):
        yield from _exists(draft, id, "permission_policy", ("permission_policies", place))


def metadata(draft: Draft) -> Iterator[Problem]:
    """Metadata is for a plugin that is there, and as that plugin wants it."""
    if draft.id not in draft.registry:
        yield Problem(("id",), "plugin", f"unknown plugin [{draft.id[:100]}]", list(draft.registry.names))
    else:
        yield from draft.registry.check_metadata(draft.id, draft.document)


def secret_manager(draft: Draft) -> Iterator[Problem]:
    """A secret provider's settings are those of its manager."""
    checker = _MANAGERS.get(draft.id.partition("/")[0])
    if checker is not None:
        yield from checker.problems(draft.document)


def definition(draft: Draft) -> Iterator[Problem]:
    """The content of a proto has the form of a definition."""
    content = draft.document.get("content")
    if isinstance(content, str) and content and not is_reference(content):
        try:
            proto_text.check(content)
        except proto_text.ProtoError as error:
            yield Problem(("content",), "value", f"invalid content: {error}")


def fixed_type(draft: Draft) -> Iterator[Problem]:
    """A service keeps the type it was made with."""
    before = draft.before
    if before is not None and isinstance(draft.document.get("type", "http"), str):
        type = before.value.get("type", "http")
        if draft.document.get("type", "http") != type:
            yield Problem(("type",), "conflict", f"the type is fixed at creation, it is {type}", type)


def expression(draft: Draft) -> Iterator[Problem]:
    """A route's ``vars`` can be evaluated."""
    fault = _expression_fault(draft.document.get("vars"))
    if fault is not None:
        yield Problem(("vars",), "expression", fault)


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


def unique_username(draft: Draft) -> Iterator[Problem]:
    """People log in by their name, so no two users share one."""
    name = draft.document.get("username")
    others = draft.state.all("", "user")
    if any(id != draft.id and record.value.get("username") == name for id, record in others.items()):
        yield Problem(("username",), "duplicate", "username is already in use")
