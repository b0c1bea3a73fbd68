"""webhook-signature: lets a webhook in only if its sender has signed the content.

Many services send ``X-Hub-Signature-256: sha256=<HMAC-SHA-256 of the content in hex>``. The plugin checks it
before anything reaches the upstream.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from zope.interface import implementer

from gateway.core.exchange import ContentTooLarge, Exchange, Reply
from gateway.core.fields import configured_name
from gateway.factories import Factory
from gateway.interfaces import IAccessPhase, ILogPhase, PluginLog, PluginServices
from gateway.model.schema import fill, is_reference

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "secret": {"type": "string", "minLength": 1, "description": "What the sender signs with."},
        "header": {
            "type": "string",
            "default": "X-Hub-Signature-256",
            "description": "The header with the signature.",
        },
        "max_body_size": {
            "type": "integer",
            "minimum": 1,
            "maximum": 67108864,
            "default": 1048576,
            "description": "Bytes of content that are held to be checked; more is answered 413.",
        },
    },
    "required": ["secret"],
    "additionalProperties": False,
}

_UNSIGNED = Reply.json(401, {"message": "the webhook is not signed"}, reason="webhook_unsigned")
_FORGED = Reply.json(401, {"message": "the signature is wrong"}, reason="webhook_forged")


@implementer(IAccessPhase, ILogPhase)
@frozen(eq=False)
class WebhookSignature:
    """webhook-signature with one configuration."""

    secret: bytes = field(repr=False)
    header: bytes
    max_body_size: int
    log_to: PluginLog = field(repr=False)

    async def access(self, exchange: Exchange) -> Reply | None:
        """Waits for the content, which goes on to the upstream once it is checked."""
        given = exchange.fields.get(self.header)
        if given is None or not given.startswith(b"sha256="):
            return _UNSIGNED
        try:
            content = await exchange.read_content(self.max_body_size)
        except ContentTooLarge:
            return Reply(413, reason="body_too_large")
        wanted = b"sha256=" + hmac.digest(self.secret, content, "sha256").hex().encode()
        return None if hmac.compare_digest(given, wanted) else _FORGED

    def log(self, exchange: Exchange) -> None:
        """A forged webhook is somebody trying."""
        if exchange.outcome is not None and exchange.outcome.reason == _FORGED.reason:
            self.log_to.warn("a forged webhook came from {client}", client=exchange.client_ip)


def check(config: Mapping[str, Any]) -> None:
    """What the schema cannot say."""
    name = config.get("header")
    if name is not None and not is_reference(name):
        configured_name(name)


def make(config: Mapping[str, Any], services: PluginServices) -> WebhookSignature:
    """Parse once; requests find everything ready."""
    filled = fill(SCHEMA, config)
    if is_reference(filled["secret"]):
        raise ValueError("secret is a reference that was not resolved")
    return WebhookSignature(
        secret=filled["secret"].encode(),
        header=configured_name(filled["header"]),
        max_body_size=filled["max_body_size"],
        log_to=services.log,
    )


plugin = Factory(
    name="webhook-signature",
    version="1.0",
    priority=2950,
    schema=SCHEMA,
    check=check,
    make=make,
    secret_fields=("secret",),
)
