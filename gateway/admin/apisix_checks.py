"""What no schema can say about a document of the apisix dialect (Admin API contract §4.2, §4.5, §5).

Each message is the whole text of the answer, but for settings of a plugin (rule ``plugin``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from gateway.admin.checks import ONLY_AUTH, Check, Draft, filter_faults, shared
from gateway.admin.checks import definition as definition
from gateway.core.expressions import compile_expression
from gateway.model.apisix import route, secret, upstream
from gateway.model.problems import PathPart, Problem
from gateway.model.record import Record
from gateway.model.schema import Checker, is_reference

Blocker = Callable[["Use"], Iterator[str]]
"""Who still uses a resource that is about to go: the texts that say so."""


def _told(path: tuple[PathPart, ...], text: str, rule: str = "value") -> Problem:
    return Problem(path, rule, text)


# References to other resources


def _reference(member: str, kind: str, what: str) -> Check:
    def check(draft: Draft) -> Iterator[Problem]:
        id = draft.document.get(member)
        if isinstance(id, (str, int)) and draft.state.get(draft.group, kind, str(id)) is None:
            text = f"failed to fetch {what} info by {what} id [{id}], response code: 404"
            yield _told((member,), text, "reference")

    return check


upstream_id = _reference("upstream_id", "upstream", "upstream")
service_id = _reference("service_id", "service", "service")
plugin_config_id = _reference("plugin_config_id", "plugin_config", "plugin config")
group_id = _reference("group_id", "consumer_group", "consumer group")


def _client_certificate(draft: Draft, value: object, *where: str) -> Iterator[Problem]:
    tls = value.get("tls") if isinstance(value, Mapping) else None
    id = tls.get("client_cert_id") if isinstance(tls, Mapping) else None
    if not isinstance(id, (str, int)):
        return
    found = draft.state.get(draft.group, "ssl", str(id))
    text = f"failed to fetch ssl info by ssl id [{id}], "
    if found is None:
        yield _told((*where, "tls", "client_cert_id"), text + "response code: 404", "reference")
    elif found.value.get("type", "server") != "client":
        yield _told((*where, "tls", "client_cert_id"), text + "wrong ssl type", "reference")


def client_certificate(draft: Draft) -> Iterator[Problem]:
    """The certificate that an upstream is shown is there, and is one for that."""
    yield from _client_certificate(draft, draft.document)
    yield from _client_certificate(draft, draft.document.get("upstream"), "upstream")


def superior(draft: Draft) -> Iterator[Problem]:
    """A stream route stands below one of its own protocol, and not below itself."""
    protocol = draft.document.get("protocol")
    id = protocol.get("superior_id") if isinstance(protocol, Mapping) else None
    if not isinstance(protocol, Mapping) or not isinstance(id, (str, int)):
        return
    place = ("protocol", "superior_id")
    if str(id) == draft.id:
        yield _told(place, "stream route can not set itself as superior_id", "reference")
        return
    found = draft.state.get(draft.group, "stream_route", str(id))
    if found is None:
        yield _told(place, f"failed to fetch stream routes[{id}], response code: 404", "reference")
        return
    other = found.value.get("protocol", {}).get("name")
    if other != protocol.get("name"):
        text = (
            f"protocol mismatch: subordinate protocol [{protocol.get('name')}] "
            f"does not match superior protocol [{other}]"
        )
        yield _told(place, text, "reference")


def rule_plugins(draft: Draft) -> Iterator[Problem]:
    """No plugin stands in two global rules."""
    for id, record in draft.state.all(draft.group, "global_rule").items():
        for name in draft.plugins if id != draft.id else ():
            if name in record.value.get("plugins", {}):
                text = f"plugin '{name}' already exists in global rule with id '{id}'"
                yield _told(("plugins", name), text, "duplicate")


def unique_key(draft: Draft) -> Iterator[Problem]:
    """No key of an auth plugin has another owner; a credential shares none with its consumer either."""
    found = draft.keys.others(
        draft.state,
        draft.group,
        draft.kind,
        draft.id,
        draft.document,
        with_consumer=draft.kind == "credential",
    )
    for plugin, member, owner in found:
        text = f"duplicate {member} of plugin {plugin} found with {owner}"
        yield _told(("plugins", plugin, member), text, "duplicate")


# Plugins


def _plugins(draft: Draft, prefix: str, credentials: bool) -> Iterator[Problem]:
    for name, config in draft.plugins.items():
        place = ("plugins", name)
        if name not in draft.registry:
            yield _told(place, f"{prefix}unknown plugin [{name}]", "unknown")
        elif not isinstance(config, Mapping):
            text = json.dumps(config, ensure_ascii=False, separators=(",", ":"))
            yield _told(place, f"{prefix}invalid plugin conf {text} for plugin [{name}]")
        else:
            credential = credentials and draft.registry.is_auth(name)
            found = draft.registry.check(name, config, credential=credential)
            if not found and (faults := filter_faults(config)):
                yield _told(place, prefix + faults[0].message)
            found = found or list(shared(draft, name, config))
            if found:
                yield Problem(place, "plugin", prefix, name, branches=(tuple(found),))


def plugins(draft: Draft) -> Iterator[Problem]:
    """Every plugin is known, and its settings fit."""
    yield from _plugins(draft, "", credentials=False)


def consumer_plugins(draft: Draft) -> Iterator[Problem]:
    """As ``plugins``; those that authenticate carry a credential."""
    yield from _plugins(draft, "invalid plugins configuration: ", credentials=True)


def only_auth(draft: Draft) -> Iterator[Problem]:
    """A credential is for a plugin that authenticates."""
    if any(name in draft.registry and not draft.registry.is_auth(name) for name in draft.plugins):
        yield _told(("plugins",), ONLY_AUTH)


# Fields


def first(draft: Draft) -> Iterator[Problem]:
    """Two forms of one field; told before anything else."""
    yield from route.first_problems(draft.document)


def own_upstream(draft: Draft) -> Iterator[Problem]:
    """An upstream that stands by itself."""
    yield from upstream.problems(draft.document)


def inline_upstream(draft: Draft) -> Iterator[Problem]:
    """The upstream inside a route, service or stream route."""
    inline = draft.document.get("upstream")
    if isinstance(inline, Mapping):
        yield from (problem.below("upstream") for problem in upstream.problems(inline))


def expression(draft: Draft) -> Iterator[Problem]:
    """A route's ``vars`` can be evaluated."""
    raw = draft.document.get("vars")
    if isinstance(raw, list) and raw:
        try:
            compile_expression(raw)
        except ValueError as error:
            yield _told(("vars",), f"failed to validate the 'vars' expression: {error}", "expression")


def no_lua(draft: Draft) -> Iterator[Problem]:
    """No program text that would never run."""
    yield from route.lua_problems(draft.document)


def addresses(draft: Draft) -> Iterator[Problem]:
    """What looks like an IPv6 address is one; the schema only knows the form."""
    for member in ("remote_addr", "remote_addrs", "server_addr"):
        given = draft.document.get(member)
        for place, text in enumerate(given if isinstance(given, list) else [given], 1):
            if isinstance(text, str) and not is_reference(text) and not _is_address(text):
                where = f"failed to validate item {place}: " if isinstance(given, list) else ""
                yield _told(
                    (member,),
                    f'invalid configuration: property "{member}" validation failed: {where}'
                    "object matches none of the required",
                )


def _is_address(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def username(draft: Draft) -> Iterator[Problem]:
    """The consumer that the path names is the one in the body."""
    if draft.document.get("username") != draft.id:
        yield _told(("username",), "wrong username", "conflict-id")


_MANAGERS = {name: Checker(schema, references=True) for name, schema in secret.MANAGERS.items()}


def manager(draft: Draft) -> Iterator[Problem]:
    """A secret manager's settings are those of its kind."""
    checker = _MANAGERS.get(draft.id.partition("/")[0])
    yield from () if checker is None else checker.problems(dict(draft.document))


_METADATA: dict[int, tuple[Mapping[str, Any], Checker]] = {}


def metadata(draft: Draft) -> Iterator[Problem]:
    """Plugin metadata is what its plugin wants."""
    schema = draft.registry.factory(draft.id).metadata_schema if draft.id in draft.registry else None
    if schema is not None:
        known = _METADATA.get(id(schema))
        if known is None:
            known = _METADATA[id(schema)] = (schema, Checker(schema, references=True))
        yield from known[1].problems(dict(draft.document))


# Who still uses what


class Use:
    """A resource that is about to go, and where to look for those who use it."""

    def __init__(self, records: Callable[[str], Mapping[str, Record]], id: str) -> None:
        """
        Args:
            records: Every record of a kind in the group, by id. id: The stored id of what goes.
        """
        self.records = records
        self.id = id

    def by_member(self, kind: str, *members: str) -> Iterator[str]:
        """Ids of the records of *kind* that name the resource in a member."""
        for id, record in self.records(kind).items():
            value: Any = record.value
            for member in members:
                value = value.get(member) if isinstance(value, Mapping) else None
            if isinstance(value, (str, int)) and str(value) == self.id:
                yield id

    def by_plugin(self, kind: str, plugin: str, names: Callable[[Any], Iterable[object]]) -> Iterator[str]:
        """Ids of the records of *kind* whose *plugin* names the resource."""
        for id, record in self.records(kind).items():
            config = record.value.get("plugins", {}).get(plugin)
            if isinstance(config, Mapping) and any(str(name) == self.id for name in names(config)):
                yield id


def _split_targets(config: Mapping[str, Any]) -> Iterator[object]:
    # Settings of a disabled plugin are stored unchecked.
    rules = config.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        targets = rule.get("weighted_upstreams") if isinstance(rule, Mapping) else None
        for target in targets if isinstance(targets, list) else ():
            if isinstance(target, Mapping) and "upstream_id" in target:
                yield target["upstream_id"]


def service_users(use: Use) -> Iterator[str]:
    """Routes and stream routes of a service."""
    for kind in ("route", "stream_route"):
        for id in use.by_member(kind, "service_id"):
            yield f"can not delete this service directly, {kind} [{id}] is still using it now"


def upstream_users(use: Use) -> Iterator[str]:
    """Routes and services of an upstream, and plugins that send traffic there."""
    for kind in ("route", "service", "stream_route"):
        for id in use.by_member(kind, "upstream_id"):
            yield f"can not delete this upstream, {kind} [{id}] is still using it now"
    for kind in ("route", "service", "plugin_config", "consumer", "consumer_group", "global_rule"):
        for id in use.by_plugin(kind, "traffic-split", _split_targets):
            name = "global_rules" if kind == "global_rule" else kind
            yield f"can not delete this upstream, plugin in {name} [{id}] is still using it now"


def plugin_config_users(use: Use) -> Iterator[str]:
    """Routes with a plugin config."""
    for id in use.by_member("route", "plugin_config_id"):
        yield f"can not delete this plugin config, route [{id}] is still using it now"


def consumer_group_users(use: Use) -> Iterator[str]:
    """Consumers of a group."""
    for id in use.by_member("consumer", "group_id"):
        yield f"can not delete this consumer group, consumer [{id}] is still using it now"


def proto_users(use: Use) -> Iterator[str]:
    """Routes and services that transcode by a proto."""
    for kind in ("route", "service"):
        for id in use.by_plugin(kind, "grpc-transcode", lambda config: (config.get("proto_id"),)):
            yield f"can not delete this proto, {kind} [{id}] is still using it now"


def stream_route_users(use: Use) -> Iterator[str]:
    """Stream routes below a stream route."""
    for id in use.by_member("stream_route", "protocol", "superior_id"):
        if id != use.id:
            yield (
                f"can not delete this stream route directly, stream route [{id}] is still using it "
                "as superior_id"
            )


def nobody(use: Use) -> Iterator[str]:
    """What can always go."""
    yield from ()


REFERENCES = frozenset(
    {upstream_id, service_id, plugin_config_id, group_id, client_certificate, superior, rule_plugins}
    | {unique_key, username}
)
"""Checks that look at other resources, or at the id: a dry run leaves them out (contract §6.5)."""
