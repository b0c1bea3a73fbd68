"""public-api: a route leads to what the gateway tells about itself, so that other plugins can guard it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IExplainedHooks, PluginServices, PublicApi

NAME = "public-api"
UNKNOWN = "public_api_unknown"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "uri": {"type": "string", "description": "Path of the API; not set: the path of the request."}
    },
}


@implementer(IAccessPhase, IExplainedHooks)
@frozen(eq=False)
class Public:
    """
    public-api with one configuration.

    Attributes:
        apis: What there is, by path.
    """

    uri: str | None
    apis: Mapping[str, PublicApi]

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``: what it answers is known when somebody has gathered it."""
        path = self.uri or exchange.path
        if path not in self.apis:
            return Explanation(Reply(404, None, (), UNKNOWN), "there is no public API of this path")
        if exchange.request.method not in (b"GET", b"HEAD"):
            return Explanation(Reply(404, None, (), UNKNOWN), "it answers GET and HEAD alone")
        return Explanation(Reply(200, b"", (), "public_api"), f"answers with {path}")

    async def access(self, exchange: Exchange) -> Reply:
        """See ``IAccessPhase``."""
        api = self.apis.get(self.uri or exchange.path)
        if api is None or exchange.request.method not in (b"GET", b"HEAD"):
            return Reply(404, None, (), UNKNOWN)
        return await api(exchange)


def _make(config: Mapping[str, Any], services: PluginServices) -> Public:
    return Public(config.get("uri"), services.public_apis)


plugin = Factory(name=NAME, priority=501, schema=SCHEMA, make=_make)
