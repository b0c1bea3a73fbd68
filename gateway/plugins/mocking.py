"""mocking: answers in the place of a service that is not there yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from gateway import __version__
from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation, in_seconds
from gateway.core.mock_data import Generator, to_xml
from gateway.core.rewriting import field_value, map_schema, plain_fields, resolved, utf8
from gateway.core.variables import Template, compile_template
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, IExplainedHooks, PluginServices
from gateway.model.schema import fill

NAME = "mocking"
REASON = "mocked"
_JSON = frozenset({"application/json"})
_XML = frozenset({"application/xml", "text/xml"})
_TYPES = _JSON | _XML | {"text/plain", "text/html"}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "delay": {"type": "integer", "minimum": 0, "default": 0, "description": "Seconds before the answer."},
        "response_status": {
            "type": "integer",
            "minimum": 100,
            "maximum": 599,
            "default": 200,
            "description": "The status.",
        },
        "content_type": {
            "type": "string",
            "default": "application/json;charset=utf8",
            "description": "Content-Type of the answer: JSON, XML, plain text or HTML.",
        },
        "response_example": {"type": "string", "description": "The content, with variables."},
        "response_schema": {
            "type": "object",
            "description": "JSON Schema of the content; values are made up, example is honoured.",
        },
        "with_mock_header": {
            "type": "boolean",
            "default": True,
            "description": "Say in x-mock-by that the answer is made up.",
        },
        "response_headers": map_schema("Fields of the answer, with variables."),
    },
    "anyOf": [{"required": ["response_example"]}, {"required": ["response_schema"]}],
}


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


@implementer(IAccessPhase, IExplainedHooks)
@frozen(eq=False)
class Mocking:
    """
    mocking with one configuration.

    Attributes:
        content: Makes the content.
        fields: More response fields, variables in them.
    """

    status: int
    content: Callable[[Exchange], str]
    fixed: tuple[tuple[bytes, bytes], ...]
    fields: tuple[tuple[bytes, Template], ...]
    delay_s: float
    services: PluginServices

    def access(self, exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None]:
        """See ``IAccessPhase``."""
        return self._late(exchange) if self.delay_s else self._reply(exchange)

    async def _late(self, exchange: Exchange) -> Reply:
        await self.services.sleep(self.delay_s)
        return self._reply(exchange)

    def explain(self, exchange: Exchange, phase: str) -> Explanation:
        """See ``IExplainedHooks``."""
        words = (
            f"the answer comes after {in_seconds(self.delay_s)}" if self.delay_s else "the answer is made up"
        )
        return Explanation(self._reply(exchange), words)

    def _reply(self, exchange: Exchange) -> Reply:
        fields = (*self.fixed, *resolved(self.fields, exchange))
        return Reply(self.status, utf8(self.content(exchange)), fields, REASON)


def _generated(schema: Mapping[str, Any], media_type: str, random: Callable[[], float]) -> Callable[..., str]:
    def make(exchange: Exchange) -> str:
        value = Generator(random).value(schema)
        if media_type in _XML:
            return to_xml(value)
        if isinstance(value, str) and media_type not in _JSON:
            return value
        return json.dumps(value, separators=(",", ":"))

    return make


def _check(config: Mapping[str, Any]) -> None:
    if _media_type(config.get("content_type", "application/json")) not in _TYPES:
        raise ValueError("unsupported content type!")
    if config.get("response_status", 200) < 200:
        raise ValueError("response_status below 200 cannot end a request")
    plain_fields(config.get("response_headers", {}))


def _make(config: Mapping[str, Any], services: PluginServices) -> Mocking:
    filled = fill(SCHEMA, config)
    content_type = filled["content_type"]
    fixed = [(b"content-type", field_value(content_type))]
    if filled["with_mock_header"]:
        fixed.append((b"x-mock-by", f"APISIX/{__version__}".encode()))
    content: Callable[[Exchange], str]
    if "response_example" in filled:
        content = compile_template(filled["response_example"])
    else:
        content = _generated(filled["response_schema"], _media_type(content_type), services.random)
    return Mocking(
        filled["response_status"],
        content,
        tuple(fixed),
        tuple([one for one in plain_fields(filled.get("response_headers", {})) if one[0] != b"content-type"]),
        float(filled["delay"]),
        services,
    )


plugin = Factory(name=NAME, priority=10900, schema=SCHEMA, check=_check, make=_make)
