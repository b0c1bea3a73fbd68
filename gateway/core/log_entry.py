"""What a logger says of a request: the default entry, or one of the user's own form (plugin contract §6).

Credentials are masked as in the access log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from gateway.core.chain import Predicate
from gateway.core.content_coding import beginning, coding_of
from gateway.core.exchange import Exchange
from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.log_variables import log_reader, shown_arguments, shown_fields
from gateway.core.regex_limits import MatchTimeout
from gateway.core.variables import compile_template

MAX_LEVELS = 5
"""How deep a format may be nested."""
MAX_BODY_BYTES = 524288

_FORMAT: dict[str, Any] = {
    "type": "object",
    "description": "The entry: names to text, $variables or objects.",
}
_EXTRA: dict[str, Any] = {"type": "object", "description": "More for the default entry, in the same form."}


def _body(what: str, when: str) -> dict[str, Any]:
    return {
        f"include_{when}_body": {
            "type": "boolean",
            "default": False,
            "description": f"Whether the {what}'s content is in the entry.",
        },
        f"include_{when}_body_expr": {
            "type": "array",
            "minItems": 1,
            "description": "Only where this expression holds.",
        },
        f"max_{when}_body_bytes": {
            "type": "integer",
            "minimum": 1,
            "default": MAX_BODY_BYTES,
            "description": "Bytes of it; the rest is cut.",
        },
    }


PROPERTIES: dict[str, Any] = {
    "log_format": _FORMAT,
    "log_format_extra": _EXTRA,
    **_body("request", "req"),
    **_body("answer", "resp"),
}
"""What all loggers share, for their schemas."""
METADATA: dict[str, Any] = {"log_format": _FORMAT, "log_format_extra": _EXTRA}
"""The same for their metadata."""


@frozen(eq=False)
class BodyRule:
    """
    Whether a message's content is logged, and how much of it.

    Attributes:
        max_bytes: 0: nothing.
        when: The expression that must hold; None if there is none.
    """

    max_bytes: int
    when: Predicate | None

    @classmethod
    def parse(cls, config: Mapping[str, Any], side: str) -> BodyRule:
        """Read the settings; *side* is ``req`` or ``resp``. ValueError with words for the user."""
        raw = config.get(f"include_{side}_body_expr")
        try:
            when = compile_expression(raw) if raw else None
        except ExpressionError as error:
            raise ValueError(
                f"failed to validate the 'include_{side}_body_expr' expression: {error}"
            ) from None
        wanted = config.get(f"include_{side}_body", False)
        return cls(config.get(f"max_{side}_body_bytes", MAX_BODY_BYTES) if wanted else 0, when)

    def text(
        self, exchange: Exchange, content: bytes | bytearray, coded: Callable[[], bytes] = bytes
    ) -> str | None:
        """
        The content as it is logged, or None.

        Args:
            coded: How it is coded, to be decoded; asked only if it is logged.
        """
        if not self.max_bytes or not content:
            return None
        try:
            if self.when is not None and not self.when(exchange):
                return None
        except MatchTimeout:
            return None  # The entry goes without it.
        plain = beginning(content, coded(), self.max_bytes)
        return plain[: self.max_bytes].decode("utf-8", "replace")


Node = Callable[[Exchange, "Moment"], Any]


@frozen
class Moment:
    """
    What is known when an entry is made.

    Attributes:
        now_s: Unix time. upstream_s: How long the upstream took, in seconds; None without one.
        request_body, response_body: As they are to be in the entry.
        request_content: For a form that names it.
    """

    now_s: float
    upstream_s: float | None
    request_body: str | None
    response_body: str | None
    request_content: str | None = None


_OWN: Mapping[str, Node] = {
    "request_time": lambda exchange, moment: f"{max(0.0, moment.now_s - exchange.started_s):.3f}",
    "resp_body": lambda exchange, moment: moment.response_body,
    "request_body": lambda exchange, moment: moment.request_content,
}


def _variable(name: str) -> Node:
    own = _OWN.get(name)
    if own is not None:
        return own
    read = log_reader(name)
    return lambda exchange, moment: _plain(read(exchange))


def _names_content(form: Mapping[str, Any]) -> bool:
    """Whether a form has the request's content in it, be it in the entry otherwise or not."""
    return any(
        _names_content(value) if isinstance(value, Mapping) else value in ("$request_body", "${request_body}")
        for value in form.values()
    )


def _plain(value: object) -> object:
    """As JSON can say it: bytes that are no UTF-8 as U+FFFD."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value


def _node(value: Any, level: int) -> Node:
    if isinstance(value, Mapping):
        if level >= MAX_LEVELS:
            raise ValueError(f"log_format is nested deeper than {MAX_LEVELS} levels")
        return _object(value, level + 1)
    if not isinstance(value, str) or "$" not in value:
        return lambda exchange, moment: value
    template = compile_template(value, log_reader)
    if len(template.names) == 1 and value in (f"${template.names[0]}", f"${{{template.names[0]}}}"):
        return _variable(template.names[0])
    return lambda exchange, moment: _plain(template(exchange))


def _object(settings: Mapping[str, Any], level: int = 1) -> Node:
    members = tuple([(name, _node(value, level)) for name, value in settings.items()])

    def make(exchange: Exchange, moment: Moment) -> dict[str, Any]:
        made = {}
        for name, node in members:
            value = node(exchange, moment)
            if value is not None:
                made[name] = value
        return made

    return make


@frozen(eq=False)
class EntryMaker:
    """
    Makes entries of one form.

    Attributes:
        form: The user's own; None: the default entry, with *more*.
        hostname, version: Of the gateway.
        key: Its own place in ``Exchange.context``.
        no_route: What ``route_id`` says where there is none.
        request_bytes: Of the request's content, to record; 0: nothing.
    """

    request_body: BodyRule
    response_body: BodyRule
    form: Node | None
    more: Node | None
    hostname: str
    version: str
    key: str
    no_route: str | None = None
    request_bytes: int = 0

    @property
    def with_content(self) -> bool:
        """Whether it has to watch content."""
        return bool(self.request_bytes or self.response_body.max_bytes)

    @classmethod
    def parse(
        cls,
        config: Mapping[str, Any],
        metadata: Mapping[str, Any],
        *,
        hostname: str = "",
        version: str = "",
        key: str = "log_entry",
        no_route: str | None = None,
    ) -> EntryMaker:
        """
        Read a logger's settings; those of the route go before the metadata.

        Raises:
            ValueError: with words for the user.
        """
        form = config.get("log_format") or metadata.get("log_format")
        extra = config.get("log_format_extra") or metadata.get("log_format_extra")
        request_body = BodyRule.parse(config, "req")
        own, more = _object(form) if form else None, _object(extra) if extra else None
        request_bytes = request_body.max_bytes
        if any(_names_content(one) for one in (form, extra) if one):
            request_bytes = config.get("max_req_body_bytes", MAX_BODY_BYTES)
        return cls(
            request_body,
            BodyRule.parse(config, "resp"),
            own,
            more,
            hostname,
            version,
            key,
            no_route,
            request_bytes,
        )

    # -- while the request is under way

    def watch(self, exchange: Exchange) -> None:
        """Have the request's content recorded, if it is wanted. Before it is sent."""
        if self.request_bytes and exchange.source is not None:
            exchange.source.record(self.request_bytes)

    def tap(self, exchange: Exchange, data: bytes) -> None:
        """Keep the beginning of the answer's content, if it is wanted."""
        held: bytearray | None = exchange.context.get(self.key)
        if held is None:
            held = exchange.context[self.key] = bytearray()
        if len(held) < self.response_body.max_bytes:
            held += data[: self.response_body.max_bytes - len(held)]

    # -- at its end

    def entry(self, exchange: Exchange, now_s: float, mono_s: float) -> dict[str, Any]:
        """
        The entry of a request that has ended.

        Args:
            now_s: Unix time. mono_s: The monotonic clock's.
        """
        content = b""
        if self.request_bytes and exchange.source is not None:
            # Another logger may have asked for more of it.
            content = exchange.source.recorded[: self.request_bytes]
        moment = Moment(
            now_s,
            upstream_seconds(exchange, mono_s),
            self.request_body.text(exchange, content),
            self.response_body.text(
                exchange, exchange.context.get(self.key, b""), lambda: coding_of(exchange.response_fields)
            ),
            content.decode("utf-8", "replace") if content else None,
        )
        if self.form is None:
            made = self._default(exchange, moment)
            if self.more is not None:
                made = {**self.more(exchange, moment), **made}
        else:
            made = self.form(exchange, moment)
            if moment.request_body is not None:
                made.setdefault("request", {})
                if isinstance(made["request"], dict):
                    made["request"]["body"] = moment.request_body
            if moment.response_body is not None:
                made.setdefault("response", {})
                if isinstance(made["response"], dict):
                    made["response"]["body"] = moment.response_body
        route = exchange.route
        if route is not None:
            made["route_id"] = route.id
            if self.form is None or route.service_id:
                made["service_id"] = route.service_id or ""
        else:
            made["service_id"] = exchange.host
            if self.no_route is not None:
                made["route_id"] = self.no_route
        return made

    def _default(self, exchange: Exchange, moment: Moment) -> dict[str, Any]:
        connection, outcome = exchange.connection, exchange.outcome
        latency_ms = max(0.0, moment.now_s - exchange.started_s) * 1000
        upstream_ms = None if moment.upstream_s is None else moment.upstream_s * 1000
        target = _plain(_target(exchange))
        scheme = "https" if connection.tls else "http"
        made: dict[str, Any] = {
            "request": {
                "url": f"{scheme}://{exchange.host}:{connection.server_port}{target}",
                "uri": target,
                "method": _plain(exchange.request.method.decode("latin-1")),
                "headers": shown_fields(exchange.request.fields),
                "querystring": {
                    str(_plain(name)): [_plain(one) for one in value]
                    if isinstance(value, list)
                    else _plain(value)
                    for name, value in shown_arguments(exchange).items()
                },
                "size": int(str(_request_length(exchange))),
            },
            "response": {
                "status": exchange.status if outcome is None else outcome.status,
                "headers": shown_fields(exchange.response_fields),
                "size": exchange.answer_bytes,
            },
            "server": {"hostname": self.hostname, "version": self.version},
            "upstream": exchange.attempts[-1].node if exchange.attempts else "",
            "client_ip": exchange.client_ip,
            "start_time": int(exchange.started_s * 1000),
            "latency": round(latency_ms, 3),
            "apisix_latency": round(max(0.0, latency_ms - (upstream_ms or 0.0)), 3),
        }
        if upstream_ms is not None:
            made["upstream_latency"] = round(upstream_ms, 3)
        if exchange.consumer is not None:
            made["consumer"] = {"username": exchange.consumer.username}
        if moment.request_body is not None:
            made["request"]["body"] = moment.request_body
        if moment.response_body is not None:
            made["response"]["body"] = moment.response_body
        return made


_target = log_reader("request_uri")
_request_length = log_reader("request_length")


def upstream_seconds(exchange: Exchange, mono_s: float) -> float | None:
    """How long upstreams took, all tries and the content of the answer; None if none was tried."""
    if not exchange.attempts:
        return None
    took_s = sum([attempt.seconds for attempt in exchange.attempts])
    if exchange.from_upstream:
        took_s += max(0.0, mono_s - exchange.answered_at)
    return took_s
