"""Variables: what expressions, keys and log formats may ask of a request, by name.

A name is looked up once, when configuration is compiled; what comes back reads the value from
an exchange. Values are text (bytes that are not UTF-8 as lone surrogates) or lists; None says
that the variable is absent. ``compile_template`` puts them into text.
"""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Callable
from functools import lru_cache

from attrs import frozen

from gateway.core.auth import parse_basic
from gateway.core.content_variables import content_path, form_field, graphql
from gateway.core.exchange import Exchange

Getter = Callable[[Exchange], object]
"""Reads one variable: a str, a list, or None where there is no such value."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def getter(name: str) -> Getter:
    """
    Find what reads the variable *name*.

    Args:
        name: Without the ``$``, such as ``arg_page`` or ``http_x_tenant``.
    Returns:
        A function that never raises and never waits. For a name that means nothing it always
        returns None.
    Source:
        Data-plane contract §4 and §11.
    """
    known = _VARIABLES.get(name)
    if known is not None:
        return known
    for start, make in _FAMILIES:
        if name.startswith(start) and len(name) > len(start):
            return make(name[len(start) :])
    return _absent


def _absent(exchange: Exchange) -> object:
    return None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


# -- families: a prefix and a name of the user's choice


def _argument(name: str) -> Getter:
    def read(exchange: Exchange) -> object:
        for have, value in exchange.args():
            if have == name:
                return value
        return None

    return read


def _field(name: str) -> Getter:
    """
    All lines of a request field, joined.

    ``http_x_y`` is the field X-Y; X_Y only counts where there is no X-Y, so that nobody can
    slip a second value in beside one that a plugin or a trusted proxy has set.
    """
    dashed = name.lower().replace("_", "-").encode("utf-8", "surrogateescape")
    spelt = b"-" in dashed
    glue = b"; " if dashed == b"cookie" else b", "

    def read(exchange: Exchange) -> object:
        pairs = exchange.fields.pairs
        lines = [value for have, value in pairs if have == dashed]
        if not lines:
            if not spelt:
                return None
            lines = [value for have, value in pairs if have.replace(b"_", b"-") == dashed]
            if not lines:
                return None
        return _text(glue.join(lines) if len(lines) > 1 else lines[0])

    return read


def _response_field(name: str) -> Getter:
    """All lines of a field of the answer, joined: as ``header_filter`` finds it, or as it was sent."""
    dashed = name.lower().replace("_", "-").encode("utf-8", "surrogateescape")

    def read(exchange: Exchange) -> object:
        lines = exchange.response_fields.get_all(dashed)
        return _text(b", ".join(lines)) if lines else None

    def length(exchange: Exchange) -> object:
        return None if exchange.response_length is None else str(exchange.response_length)

    return length if dashed == b"content-length" else read


def _cookie(name: str) -> Getter:
    return lambda exchange: exchange.cookies().get(name)


def _path_param(name: str) -> Getter:
    return lambda exchange: exchange.path_params.get(name)


_FAMILIES: tuple[tuple[str, Callable[[str], Getter]], ...] = (
    ("arg_", _argument),
    ("http_", _field),
    ("sent_http_", _response_field),
    ("cookie_", _cookie),
    ("uri_param_", _path_param),
    ("uri_arg_", _path_param),
    ("post_arg_", form_field),
    ("post_arg.", content_path),
    ("graphql_", graphql),
)

# -- single variables


def _query(exchange: Exchange) -> object:
    return _text(exchange.query)


def _is_args(exchange: Exchange) -> object:
    return "?" if exchange.query else ""


def _request_uri(exchange: Exchange) -> object:
    _, mark, query = exchange.request.target.partition(b"?")
    return exchange.path + _text(mark + query)


def _original_forwarded_for(exchange: Exchange) -> object:
    """X-Forwarded-For as the client sent it, whatever is sent upstream (data-plane contract §9.1)."""
    lines = [value for name, value in exchange.request.fields if name == b"x-forwarded-for"]
    return _text(b", ".join(lines)) if lines else None


def _request_line(exchange: Exchange) -> object:
    head = exchange.request
    return f"{_text(head.method)} {_text(head.target)} {_protocol(exchange)}"


def _protocol(exchange: Exchange) -> str:
    version = exchange.request.version
    return _PROTOCOLS.get(version) or "HTTP/{}.{}".format(*version)


_PROTOCOLS = {(1, minor): f"HTTP/1.{minor}" for minor in (0, 1)}


def _request_length(exchange: Exchange) -> object:
    """The request line and the fields as HTTP/1.1 writes them, plus the content so far: bytes."""
    head = exchange.request
    size = len(head.method) + len(head.target) + 12
    size += sum([len(name) + len(value) + 4 for name, value in head.fields]) + 2
    return str(size + exchange.bytes_received)


def _remote_user(exchange: Exchange) -> object:
    """The user of Basic credentials (RFC 7617 section 2)."""
    value = exchange.fields.get(b"authorization")
    read = None if value is None else parse_basic(value)
    return None if read is None else read[0]


def _status(exchange: Exchange) -> object:
    status = exchange.status if exchange.outcome is None else exchange.outcome.status
    return str(status) if status else None


@lru_cache(maxsize=8)
def _moment(second: int) -> time.struct_time:
    return time.localtime(second)


def _zone(moment: time.struct_time, colon: str) -> str:
    minutes = abs(moment.tm_gmtoff) // 60
    return f"{'-' if moment.tm_gmtoff < 0 else '+'}{minutes // 60:02}{colon}{minutes % 60:02}"


def _time_local(exchange: Exchange) -> object:
    """As in ``28/Sep/2025:10:00:00 +0000``; English months whatever the locale."""
    at = _moment(int(exchange.started_s))
    day = f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}"
    return f"{day}:{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {_zone(at, '')}"


def _time_iso8601(exchange: Exchange) -> object:
    at = _moment(int(exchange.started_s))
    return time.strftime("%Y-%m-%dT%H:%M:%S", at) + _zone(at, ":")


def _consumer_name(exchange: Exchange) -> object:
    return None if exchange.consumer is None else exchange.consumer.username


def _consumer_group(exchange: Exchange) -> object:
    return None if exchange.consumer is None else exchange.consumer.group_id


def _route(member: str) -> Getter:
    def read(exchange: Exchange) -> object:
        return None if exchange.route is None else getattr(exchange.route, member)

    return read


def _balancer(part: int) -> Getter:
    def read(exchange: Exchange) -> object:
        if not exchange.attempts:
            return None
        host, _, port = exchange.attempts[-1].node.rpartition(":")
        return (host.strip("[]"), port)[part]

    return read


def _upstream_addr(exchange: Exchange) -> object:
    attempts = exchange.attempts
    if len(attempts) == 1:
        return attempts[0].node
    return ", ".join([attempt.node for attempt in attempts]) or None


def _upstream_status(exchange: Exchange) -> object:
    attempts = exchange.attempts
    if len(attempts) == 1:
        return str(attempts[0].status)
    return ", ".join([str(attempt.status) for attempt in attempts]) or None


def _upstream_time(exchange: Exchange) -> object:
    attempts = exchange.attempts
    if len(attempts) == 1:
        return f"{attempts[0].seconds:.3f}"
    return ", ".join([f"{attempt.seconds:.3f}" for attempt in attempts]) or None


def _upstream_scheme(exchange: Exchange) -> object:
    compiled = exchange.target_upstream
    return None if compiled is None else compiled.upstream.scheme


def _upstream_host(exchange: Exchange) -> object:
    """The Host sent upstream (data-plane contract §7); if it is the node's own, known once there is one."""
    if exchange.upstream_host is not None:
        return _text(exchange.upstream_host)
    compiled = exchange.target_upstream
    if compiled is None:
        return None
    upstream = compiled.upstream
    match upstream.pass_host:
        case "rewrite":
            return upstream.upstream_host
        case "node":
            return exchange.attempts[-1].node if exchange.attempts else None
        case _:
            return _host_field(exchange)


def _upstream_uri(exchange: Exchange) -> object:
    return None if exchange.route is None else _text(exchange.target)


def _limits(exchange: Exchange) -> object:
    """What limits said of the request, as a JSON array; the first one first."""
    told = exchange.limits
    rows: list[dict[str, object]] = []
    while told is not None:
        policy, key, limit, (admitted, remaining, reset_s), told = told
        row = {
            "policy": policy,
            "key": key,
            "limit": limit,
            "remaining": remaining,
            "reset": round(reset_s, 2),
            "rejected": not admitted,
        }
        rows.insert(0, row)
    return json.dumps(rows, separators=(",", ":")) if rows else None


_host_field = _field("host")
_HOSTNAME = platform.node()

_VARIABLES: dict[str, Getter] = {
    "uri": lambda exchange: exchange.path,
    "document_uri": lambda exchange: exchange.path,
    "request_uri": _request_uri,
    "real_request_uri": lambda exchange: _text(exchange.request.target),
    "args": _query,
    "query_string": _query,
    "is_args": _is_args,
    "host": lambda exchange: exchange.host,
    "hostname": lambda exchange: _HOSTNAME,
    "scheme": lambda exchange: "https" if exchange.connection.tls else "http",
    "https": lambda exchange: "on" if exchange.connection.tls else None,
    "method": lambda exchange: _text(exchange.method),
    "request_method": lambda exchange: _text(exchange.method),
    "server_protocol": _protocol,
    "request": _request_line,
    "request_line": _request_line,
    "request_length": _request_length,
    "content_type": _field("content-type"),
    "content_length": _field("content-length"),
    "remote_addr": lambda exchange: exchange.client_ip,
    "remote_port": lambda exchange: str(exchange.client_port) if exchange.client_port else None,
    "original_x_forwarded_for": _original_forwarded_for,
    "realip_remote_addr": lambda exchange: exchange.connection.client_ip,
    "realip_remote_port": lambda exchange: str(exchange.connection.client_port),
    "remote_user": _remote_user,
    "server_addr": lambda exchange: exchange.connection.server_ip,
    "server_port": lambda exchange: str(exchange.connection.server_port),
    "status": _status,
    "bytes_sent": lambda exchange: str(exchange.answer_bytes),
    "body_bytes_sent": lambda exchange: str(exchange.bytes_sent),
    "msec": lambda exchange: f"{exchange.started_s:.3f}",
    "time_local": _time_local,
    "time_iso8601": _time_iso8601,
    "consumer_name": _consumer_name,
    "consumer_group_id": _consumer_group,
    "credential_id": lambda exchange: exchange.credential_id,
    "route_id": _route("id"),
    "route_name": _route("name"),
    "service_id": _route("service_id"),
    "service_name": _route("service_name"),
    "balancer_ip": _balancer(0),
    "balancer_port": _balancer(1),
    "upstream_unresolved_host": _balancer(0),
    "upstream_addr": _upstream_addr,
    "upstream_status": _upstream_status,
    "upstream_response_time": _upstream_time,
    "upstream_scheme": _upstream_scheme,
    "upstream_host": _upstream_host,
    "upstream_uri": _upstream_uri,
    "apisix_request_id": lambda exchange: exchange.id,
    "request_id": lambda exchange: exchange.id,
    "rate_limiting_info": _limits,
    "outcome": lambda exchange: None if exchange.outcome is None else exchange.outcome.decided_by,
    "reason": lambda exchange: None if exchange.outcome is None else exchange.outcome.reason,
}

# -- templates

_PIECE = re.compile(
    r"\\(?P<escaped>[\\$])"
    # A path follows post_arg alone: elsewhere a dot ends the name, as in $host.example.
    r"|\$(?P<bare>post_arg(?:\.\w+|\[(?:[0-9]+|\*)\])+|[A-Za-z0-9_]+)"
    r"|\$\{\s*(?P<braced>[^\s{}?]+)\s*(?:\?\?(?P<default>[^{}]*))?\}"
)


@frozen
class Template:
    """
    Text with variables in it, compiled. Calling it gives the text for one exchange.

    Attributes:
        text: As configured.
        names: The variables in it, in order, repeats included.
    """

    text: str
    names: tuple[str, ...]
    _pieces: tuple[str | tuple[Getter, str], ...]

    def __call__(self, exchange: Exchange) -> str:
        return self.resolve(exchange)[0]

    def resolve(self, exchange: Exchange) -> tuple[str, int]:
        """The text, and how many of the variables in it had a value (defaults do not count)."""
        found = 0
        parts = []
        for piece in self._pieces:
            if isinstance(piece, str):
                parts.append(piece)
                continue
            read, default = piece
            value = read(exchange)
            if value is None:
                parts.append(default)
            else:
                found += 1
                parts.append(spell(value))
        return "".join(parts), found


def spell(value: object) -> str:
    """A variable's value as text: lists joined with commas, None as nothing, booleans as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join([spell(member) for member in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def compile_template(text: str, find: Callable[[str], Getter] = getter) -> Template:
    r"""
    Compile text with variables.

    ``$name`` and ``${name}`` give the variable's value, nothing if it is absent; so does ``$post_arg.a.b``;
    ``${name ?? default}`` gives the default then. ``\$`` is a dollar sign, ``\\`` a backslash.
    A ``$`` that starts no variable stands for itself.

    Args:
        find: Finds what reads a variable, where there are more than those of ``getter``.
    Source:
        Data-plane contract §4.
    """
    pieces: list[str | tuple[Getter, str]] = []
    names = []
    plain = ""
    end = 0
    for found in _PIECE.finditer(text):
        plain += text[end : found.start()] + (found["escaped"] or "")
        end = found.end()
        name = found["bare"] or found["braced"]
        if name is not None:
            if plain:
                pieces.append(plain)
                plain = ""
            names.append(name)
            pieces.append((find(name), (found["default"] or "").strip()))
    plain += text[end:]
    if plain:
        pieces.append(plain)
    return Template(text, tuple(names), tuple(pieces))
