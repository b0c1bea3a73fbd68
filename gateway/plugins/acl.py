"""acl: which consumers may, by the labels they have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.json_paths import JsonPath
from gateway.core.regex_limits import Regex
from gateway.core.regexes import compile_regex
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IPureHooks, PluginServices
from gateway.model.schema import fill, is_reference

EXTERNAL_USER = "external_user"
"""In ``Exchange.context``: what a plugin knows of a user who is no consumer, as a JSON object."""

_LABELS: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "array", "minItems": 1, "items": {"type": "string"}},
}

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "allow_labels": {**_LABELS, "description": "Label → values, one of which is needed."},
        "deny_labels": {**_LABELS, "description": "Label → values, none of which may be there."},
        "rejected_code": {
            "type": "integer",
            "minimum": 200,
            "default": 403,
            "description": "The status of a refusal.",
        },
        "rejected_msg": {"type": "string", "description": "What a refusal says."},
        "external_user_label_field": {
            "type": "string",
            "default": "groups",
            "description": "Of users who are no consumers: the path to their labels, such as $.realm.groups "
            "or $..groups[*].name.",
        },
        "external_user_label_field_key": {
            "type": "string",
            "minLength": 1,
            "description": "What that label is called here; not set: as the path.",
        },
        "external_user_label_field_parser": {
            "type": "string",
            "enum": ["segmented_text", "json", "table"],
            "description": "How its value is read.",
        },
        "external_user_label_field_separator": {
            "type": "string",
            "minLength": 1,
            "description": "A regular expression of what stands between values, for segmented_text.",
        },
    },
    "anyOf": [{"required": ["allow_labels"]}, {"required": ["deny_labels"]}],
}

MISSING = "acl_nobody"
DENIED = "acl_denied"
_MISSING = Reply.json(401, {"message": "Missing authentication."}, reason=MISSING)

Labels = Mapping[str, frozenset[str]]


def values_of(text: str) -> frozenset[str]:
    """The values of a consumer's label: of a JSON array of texts, or of a list with commas."""
    if text.lstrip().startswith("["):
        found = _from_json(text)
        if found:
            return found
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _from_json(text: object) -> frozenset[str]:
    try:
        return _from_list(json.loads(text)) if isinstance(text, str) else frozenset()
    except (ValueError, RecursionError):
        return frozenset()


def _from_list(value: object) -> frozenset[str]:
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


@frozen
class ExternalLabel:
    """
    Where a user who is no consumer has a label.

    Attributes:
        path: Where it is. key: What it is called in the lists.
        separator: Of ``segmented_text``.
    """

    path: JsonPath
    key: str
    parser: str | None
    separator: Regex | None

    def labels(self, user: object) -> Labels:
        """The user's labels as a consumer has them."""
        found = self.path.find(user)
        values = [self._values(one) for one in found]
        if self.path.several and self.parser in (None, "table"):
            # Such as the names of all groups: what was found is the list.
            values.append(_from_list(found))
        return {self.key: frozenset().union(*values)}

    def _values(self, found: object) -> frozenset[str]:
        match self.parser:
            case "segmented_text":
                parts = self.separator.split(found) if self.separator and isinstance(found, str) else []
                return frozenset(part for part in parts if part)
            case "json":
                return _from_json(found)
            case "table":
                return _from_list(found)
        return values_of(found) if isinstance(found, str) else _from_list(found)


@implementer(IAccessPhase, IPureHooks)
@frozen(eq=False)
class ACL:
    """acl with one configuration."""

    allowed: Labels
    denied: Labels
    external: ExternalLabel
    refusal: Reply

    def access(self, exchange: Exchange) -> Reply | None:
        """See ``IAccessPhase``. What is denied counts first."""
        consumer = exchange.consumer
        labels: Labels
        if consumer is not None:
            labels = {name: values_of(text) for name, text in consumer.labels.items()}
        elif EXTERNAL_USER in exchange.context:
            labels = self.external.labels(exchange.context[EXTERNAL_USER])
        else:
            return _MISSING
        if _shared(self.denied, labels) or (self.allowed and not _shared(self.allowed, labels)):
            return self.refusal
        return None


def _shared(wanted: Labels, labels: Labels) -> bool:
    return any(not values.isdisjoint(labels.get(name, ())) for name, values in wanted.items())


def _lists(labels: Mapping[str, list[str]]) -> Labels:
    return {name: frozenset(values) for name, values in labels.items()}


def _check(config: Mapping[str, Any]) -> None:
    separator = config.get("external_user_label_field_separator")
    if config.get("external_user_label_field_parser") == "segmented_text" and separator is None:
        raise ValueError(
            'property "external_user_label_field_separator" is required when the parser is segmented_text'
        )
    if separator is not None and not is_reference(separator):
        _separator(separator)
    where = config.get("external_user_label_field", "groups")
    if not is_reference(where):
        _path(where)
    if config.get("rejected_code", 403) > 999:
        raise ValueError("rejected_code must be a status code")


def _path(text: str) -> JsonPath:
    try:
        return JsonPath.parse(text)
    except ValueError as error:
        raise ValueError(f"external_user_label_field: {error}") from None


def _separator(text: str) -> Regex:
    try:
        pattern = compile_regex(text)
    except ValueError as error:
        raise ValueError(
            f"external_user_label_field_separator: invalid regular expression: {error}"
        ) from None
    if pattern.groups:
        raise ValueError("external_user_label_field_separator: must not have groups that catch")
    return pattern


def _make(config: Mapping[str, Any], services: PluginServices) -> ACL:
    filled = fill(_SCHEMA, config)
    where = filled["external_user_label_field"]
    separator = filled.get("external_user_label_field_separator")
    return ACL(
        _lists(filled.get("allow_labels", {})),
        _lists(filled.get("deny_labels", {})),
        ExternalLabel(
            _path(where),
            str(filled.get("external_user_label_field_key", where)),
            filled.get("external_user_label_field_parser"),
            None if separator is None else _separator(separator),
        ),
        Reply.json(
            int(filled["rejected_code"]),
            {"message": filled.get("rejected_msg", "The consumer is forbidden.")},
            reason=DENIED,
        ),
    )


plugin = Factory(name="acl", priority=2410, schema=_SCHEMA, check=_check, make=_make)
