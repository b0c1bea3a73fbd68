"""multi-auth: a request is from whoever one of several auth plugins says it is from."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core.chain import Hook, Verdict
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import Pair
from gateway.factories import NestingFactory
from gateway.interfaces import IPureHooks, IRewritePhase, PluginLog, PluginServices

NAME = "multi-auth"
FAILED = "multi_auth_failed"
"""The reason code of a request that satisfied none of the plugins."""

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "auth_plugins": {
            "type": "array",
            "minItems": 2,
            "items": {
                "type": "object",
                "additionalProperties": {"type": "object"},
                "examples": [{"key-auth": {}}, {"basic-auth": {}}],
            },
            "description": "Auth plugins with their settings, one each, in the order they are tried.",
        }
    },
    "required": ["auth_plugins"],
}


@implementer(IRewritePhase)
@frozen(eq=False)
class MultiAuth:
    """
    multi-auth with one configuration.

    Attributes:
        hooks: Name and rewrite hook of each plugin, in order.
    """

    hooks: tuple[tuple[str, Hook], ...]
    log: PluginLog = field(repr=False)

    def rewrite(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """See ``IRewritePhase``. Waits only where one of the plugins has to."""
        failures: list[tuple[str, Reply]] = []
        for index, (name, hook) in enumerate(self.hooks):
            verdict = hook(exchange)
            if verdict is None:
                return None
            if not isinstance(verdict, Reply):
                return self._go_on(exchange, verdict, index, failures)
            failures.append((name, verdict))
        return self._refuse(failures)

    async def _go_on(
        self,
        exchange: Exchange,
        waiting: Coroutine[Any, Any, Verdict],
        index: int,
        failures: list[tuple[str, Reply]],
    ) -> Reply | None:
        verdict = await waiting
        while verdict is not None:
            failures.append((self.hooks[index][0], verdict))
            index += 1
            if index == len(self.hooks):
                return self._refuse(failures)
            following = self.hooks[index][1](exchange)
            verdict = following if following is None or isinstance(following, Reply) else await following
        return None

    def _refuse(self, failures: list[tuple[str, Reply]]) -> Reply:
        told = "; ".join(
            f"{name} failed to authenticate the request, code: {reply.status}. error: {_why(reply)}"
            for name, reply in failures
        )
        self.log.warn("{failures}", failures=told)
        challenge: tuple[Pair, ...] = ()
        for _, reply in failures:
            challenge = tuple(pair for pair in reply.fields if pair[0] == b"www-authenticate") or challenge
        return Reply.json(
            401, {"message": "Authorization Failed"}, fields=challenge, reason=FAILED, detail=told
        )


@implementer(IPureHooks)
class PureMultiAuth(MultiAuth):
    """multi-auth over plugins that touch nothing but the exchange."""


def _why(reply: Reply) -> str:
    return f"{reply.reason} ({reply.detail})" if reply.detail else reply.reason


def _nested(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, settings) for each in config["auth_plugins"] for name, settings in each.items()]


def _check(config: Mapping[str, Any]) -> None:
    for place, each in enumerate(config["auth_plugins"], 1):
        if len(each) != 1:
            raise ValueError(f"auth_plugins: item {place} must hold one plugin, it holds {len(each)}")


def _make(config: Mapping[str, Any], services: PluginServices) -> MultiAuth:
    bound = []
    for name, settings in _nested(config):
        plugin = services.nested(name, settings)
        if not plugin.auth:
            raise ValueError(f"{name} plugin is not supported")
        bound.append(plugin)
    hooks = tuple((plugin.name, plugin.rewrite) for plugin in bound if plugin.rewrite is not None)
    if not hooks:
        raise ValueError("none of the plugins authenticates")
    kind = PureMultiAuth if all(plugin.pure for plugin in bound) else MultiAuth
    return kind(hooks, services.log)


plugin = NestingFactory(
    name=NAME,
    priority=2600,
    schema=_SCHEMA,
    check=_check,
    make=_make,
    kind="auth",
    nested=_nested,
    nested_kind="auth",
)
