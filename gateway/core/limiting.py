"""What the plugins that limit share: whose a counter is, where it is kept, and how a request is refused.

Source: plugin contract §0 and §3.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.core.variables import compile_template, getter, spell
from gateway.model.schema import without_effect

MAX_KEY = 128
"""Characters of a key; a longer one is counted under its hash."""
DELAY_AT_LEAST_S = 0.001
"""A shorter wait is not worth one."""
DELAY_AT_MOST_S = 3600.0
"""Who would wait longer waits so long; no client does."""
LARGEST = 10**15
"""Larger numbers in settings count as this one: more than ever happens, and exact as a float."""

KEY_TYPES = ("var", "var_combination", "constant")
REMOTE_ADDR = getter("remote_addr")

Told = tuple[str, str, int, tuple[bool, int, float], Any]
"""
What one limit said of a request: where the counter is, its key, its limit, a ``gateway.interfaces.Quota``;
and what was said before, or None. Plain tuples: they are made for each request.
"""

SKIPPED = "skipped_limits"
"""In ``Exchange.context``: names of limits that keep out of this request, because workflow has its own."""


def key_schema(types: tuple[str, ...] = KEY_TYPES[:2], *, default: str | None = None) -> dict[str, Any]:
    """The properties ``key`` and ``key_type``."""
    key: dict[str, Any] = {"type": "string", "description": "What requests are counted by; see key_type."}
    if default is not None:
        key["default"] = default
    return {
        "key": key,
        "key_type": {
            "type": "string",
            "enum": list(types),
            "default": "var",
            "description": "var: key is the name of a variable; var_combination: text with variables; "
            "constant: one counter for all.",
        },
    }


REJECTED: dict[str, Any] = {
    "rejected_code": {
        "type": "integer",
        "minimum": 200,
        "maximum": 599,
        "default": 503,
        "description": "Status of a request over the limit.",
    },
    "rejected_msg": {
        "type": "string",
        "minLength": 1,
        "description": "Its error_msg; without one the answer is the status alone.",
    },
    "allow_degradation": {
        "type": "boolean",
        "default": False,
        "description": "Let requests pass while the counters cannot be had, instead of answering 500.",
    },
}

_KEEPALIVE: dict[str, Any] = {
    "redis_keepalive_timeout": {
        "type": "integer",
        "minimum": 1000,
        "default": 10000,
        "description": "Milliseconds that a connection nobody uses is kept.",
    },
    "redis_keepalive_pool": {
        "type": "integer",
        "minimum": 1,
        "default": 100,
        "description": "Connections kept at most; each process needs one.",
    },
}
_SWITCH: dict[str, Any] = {"type": "boolean", "default": False}
_REDIS: dict[str, Any] = {
    "redis_host": {"type": "string", "minLength": 2},
    "redis_port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 6379},
    "redis_username": {"type": "string", "minLength": 1},
    "redis_password": {"type": "string", "minLength": 0},
    "redis_database": {"type": "integer", "minimum": 0, "default": 0},
    "redis_timeout": {
        "type": "integer",
        "minimum": 1,
        "default": 1000,
        "description": "Milliseconds that a request waits for Redis, connecting included.",
    },
    "redis_ssl": _SWITCH,
    "redis_ssl_verify": _SWITCH,
    **_KEEPALIVE,
}
_CLUSTER: dict[str, Any] = {
    "redis_cluster_nodes": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "string",
            "minLength": 2,
            "maxLength": 100,
            "pattern": r"^[^\s:]+:[0-9]{1,5}$(?!\n)|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$(?!\n)",
        },
        "description": "host:port of nodes to start with.",
    },
    "redis_cluster_name": {"type": "string"},
    "redis_password": {"type": "string", "minLength": 0},
    "redis_timeout": _REDIS["redis_timeout"],
    "redis_cluster_ssl": _SWITCH,
    "redis_cluster_ssl_verify": _SWITCH,
    **_KEEPALIVE,
}


_MILLISECONDS: dict[str, Any] = {"type": "integer", "minimum": 1, "default": 1000}
_SENTINEL: dict[str, Any] = {
    "redis_sentinels": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {
                "host": {"type": "string", "minLength": 2},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            },
            "required": ["host", "port"],
        },
        "description": "The sentinels to ask, in this order.",
    },
    "redis_master_name": {"type": "string", "minLength": 1, "description": "What they call the master."},
    "redis_role": without_effect(
        {"type": "string", "enum": ["master", "slave"], "default": "master"},
        "counters are written, so the master is used",
    ),
    "redis_connect_timeout": _MILLISECONDS,
    "redis_read_timeout": _MILLISECONDS,
    "sentinel_username": {"type": "string", "minLength": 1},
    "sentinel_password": {"type": "string", "minLength": 0},
}


def _policy_needs(policy: str, members: list[str], **otherwise: dict[str, Any]) -> dict[str, Any]:
    return {
        "if": {"properties": {"policy": {"const": policy}}, "required": ["policy"]},
        "then": {"required": members},
        **otherwise,
    }


# One within the other, as Apache APISIX has them: what is missing is told of by the outermost clause.
_SENTINEL_NEEDS = _policy_needs("redis-sentinel", ["redis_sentinels", "redis_master_name"])
_CLUSTER_NEEDS = _policy_needs(
    "redis-cluster", ["redis_cluster_nodes", "redis_cluster_name"], **{"else": _SENTINEL_NEEDS}
)
_NEEDED = _policy_needs("redis", ["redis_host"], **{"else": _CLUSTER_NEEDS})


def policy_schema(*, key_ttl: bool = False, sentinel: bool = False) -> dict[str, Any]:
    """
    Where counters are kept: members of an object schema, ``properties``, ``allOf``.

    Args:
        key_ttl: Whether ``key_ttl`` belongs to it. sentinel: Whether sentinels may tell where it is.
    """
    ttl = {"key_ttl": {"type": "integer", "default": 3600, "minimum": 1}} if key_ttl else {}
    return {
        "properties": {
            "policy": {
                "type": "string",
                "enum": ["local", "redis", "redis-cluster", *(("redis-sentinel",) if sentinel else ())],
                "default": "local",
                "x-enterprise-required": True,
                "description": "Where the counters are: on this machine, or in a Redis that gateways share.",
            },
            **_REDIS,
            **_CLUSTER,
            **(_SENTINEL if sentinel else {}),
            **ttl,
        },
        "allOf": [_NEEDED],
    }


SECRETS = ("redis_password", "sentinel_password")
"""``secret_fields`` of a plugin with counters."""

KeyReader = Callable[[Exchange], str]


def key_source(key: str, key_type: str) -> Callable[[Exchange], object]:
    """
    What reads a request's key, not spelt yet: see ``key_reader``.

    Args:
        key: As configured; for ``var`` a leading ``$`` is passed over.
    """
    if key_type == "constant":
        return lambda exchange: key
    if key_type == "var_combination":
        template = compile_template(key)

        def combined(exchange: Exchange) -> str | None:
            text, found = template.resolve(exchange)
            return text if found else None

        return combined
    read = getter(key.removeprefix("$"))
    return attrgetter("client_ip") if read is REMOTE_ADDR else read


def key_reader(key: str, key_type: str) -> KeyReader:
    """
    What tells a request's key. Where there is none, the client's address is.

    Args:
        key, key_type: As for ``key_source``.
    """
    read = key_source(key, key_type)

    def spelt(exchange: Exchange) -> str:
        value = read(exchange)
        text = value if isinstance(value, str) else spell(value)
        return short(text) if text else exchange.client_ip

    return spelt


def rule_key_reader(key: str) -> Callable[[Exchange], str | None]:
    """The key of one of several rules: text with variables; None if there are some, and none has a value."""
    template = compile_template(key)
    wants = bool(template.names)

    def read(exchange: Exchange) -> str | None:
        text, found = template.resolve(exchange)
        return short(text) if found or not wants else None

    return read


def short(text: str) -> str:
    """*text*, or its hash if it is long."""
    if len(text) <= MAX_KEY:
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def identity(name: str, origin: str, config: Mapping[str, Any], group: str | None = None) -> str:
    """
    What a counter's key starts with: the plugin, the place it is configured at, and its settings.

    Changed settings count anew; two consumers with the same settings count apart. A *group* stands in
    for the place.
    """
    text = json.dumps(config, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8).hexdigest()
    place = f"group/{group}" if group is not None else origin
    return f"gateway:{name}:{place}:{digest}:"


def refusal(settings: Mapping[str, Any], reason: str) -> Reply:
    """The answer to a request over the limit, as ``rejected_code`` and ``rejected_msg`` say."""
    message = settings.get("rejected_msg")
    status: int = settings["rejected_code"]
    if message is None:
        return Reply(status, None, reason=reason)
    return Reply.json(status, {"error_msg": message}, reason=reason)


LEFT_TO_WORKFLOW = Explanation(None, "left to the limit of the same name that workflow has for this request")


def unable(reply: Reply | None, error: Exception) -> Explanation:
    """
    What a limit says that has lost its counters or its numbers.

    Args:
        reply: What it answers then; None if it lets requests pass.
    """
    return Explanation(reply, str(error) if reply is not None else f"{error}; allow_degradation lets it pass")


_POSITIVE = re.compile(r"[0-9]{1,15}(?:\.0+)?", re.ASCII)


def number_reader(value: int | str, *, least: int = 1) -> int | Callable[[Exchange], int | None]:
    """A number, or what reads one from a request: None if it is not a whole number of at least *least*."""
    if isinstance(value, int):
        return min(value, LARGEST)
    template = compile_template(value)

    def read(exchange: Exchange) -> int | None:
        text = template(exchange).strip()
        if not _POSITIVE.fullmatch(text):
            return None
        number = int(text.partition(".")[0])
        return number if number >= least else None

    return read


def decimal(seconds: float) -> bytes:
    """Seconds with at most two decimals, none that are 0."""
    if seconds % 1 == 0:
        return b"%d" % seconds
    text = b"%.2f" % seconds
    return text.rstrip(b"0").rstrip(b".") if text.endswith(b"0") else text


_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def field_name(text: str) -> bytes:
    """
    A field name from the settings, as ``Fields`` spells it.

    Raises:
        ValueError: it is none (RFC 9110 section 5.1).
    """
    if not _FIELD_NAME.fullmatch(text):
        raise ValueError(f"{text!r} cannot be the name of a header")
    return text.lower().encode("ascii")
