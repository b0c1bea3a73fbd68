"""The time limits of one exchange with an upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gateway.model import fields
from gateway.model.schema import fill

SCHEMA = fields.timeout


@frozen
class Timeout:
    """
    Upstream time limits, in seconds; each is greater than 0.

    Attributes:
        connect_s: To establish a connection, TLS included.
        send_s: Between two successful writes of the request.
        read_s: Between two successful reads of the response.
    """

    connect_s: float
    send_s: float
    read_s: float

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Timeout:
        """Read a document that fits ``SCHEMA``; absent members take the schema's defaults."""
        full = fill(SCHEMA, document)
        return cls(float(full["connect"]), float(full["send"]), float(full["read"]))
