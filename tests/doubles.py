"""Plugins and services for tests: what the registry and the binder are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.interfaces import IAccessPhase, ICredentialFactory, IPluginFactory, PluginServices


@implementer(IAccessPhase)
@define(eq=False)
class Recorder:
    """An instance that notes its settings in the exchange."""

    config: Mapping[str, Any]
    services: PluginServices

    def access(self, exchange: Exchange) -> Reply | None:
        exchange.context.setdefault("met", []).append(dict(self.config))
        return None


@implementer(IPlugin, IPluginFactory)
@define(eq=False)
class PlainFactory:
    """A plugin of the kind ``general``."""

    name: str = "plain"
    version: str = "0.1"
    priority: int = 100
    kind: str = "general"
    schema: Mapping[str, Any] = field(
        factory=lambda: {"type": "object", "properties": {"n": {"type": "integer"}}}
    )
    metadata_schema: Mapping[str, Any] | None = None
    secret_fields: tuple[str, ...] = ("password",)
    make_instance: Callable[[Mapping[str, Any], PluginServices], object] = Recorder

    def check(self, config: Mapping[str, Any]) -> None:
        if config.get("n") == 13:
            raise ValueError("13 brings bad luck")

    def make(self, config: Mapping[str, Any], services: PluginServices) -> object:
        return self.make_instance(config, services)


@implementer(ICredentialFactory)
@define(eq=False)
class AuthFactory(PlainFactory):
    """A plugin of the kind ``auth``."""

    name: str = "some-auth"
    kind: str = "auth"
    credential_schema: Mapping[str, Any] = field(
        factory=lambda: {
            "type": "object",
            "properties": {"key": {"type": "string", "minLength": 20}},
            "required": ["key"],
            "additionalProperties": False,
        }
    )
    credential_secret_fields: tuple[str, ...] = ("key",)
    key_field: str = "key"

    def check_credential(self, config: Mapping[str, Any]) -> None:
        if "admin" in config["key"]:
            raise ValueError("a key must not say admin")

    def credential(self, config: Mapping[str, Any]) -> object:
        if config["key"] == "broken":
            raise ZeroDivisionError("hunter2")
        if config["key"] == "refused":
            raise ValueError("this key cannot be used")
        return ("credential", config["key"])


@define
class RecordingLog:
    """A plugin's log that keeps its events."""

    events: list[tuple[str, str]] = field(factory=list)
    failures: list[object] = field(factory=list)

    def warn(self, format: str, **fields: object) -> None:
        self.events.append(("warn", format.format(**fields)))

    def error(self, format: str, **fields: object) -> None:
        self.events.append(("error", format.format(**fields)))
        if "log_failure" in fields:
            self.failures.append(fields["log_failure"])


class StoppedClock:
    """Time that stands still."""

    def time(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 1000.0


def services(log: RecordingLog | None = None) -> PluginServices:
    """What plugins may use, in tests."""
    return PluginServices(StoppedClock(), RecordingLog() if log is None else log)
