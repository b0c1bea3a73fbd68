r"""The access log's line: a template of ``$variables``, compiled once into one function.

Whatever is in a request, its line stays one line and the quoted parts of it stay quoted: control
characters, ``"``, ``\`` and every byte past ASCII are written ``\xHH``. What the client says and
stands outside quotes has its spaces written so too, so that nobody can shift the columns.
Credentials are not written: see ``gateway.core.log_variables``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from json.encoder import encode_basestring_ascii

from gateway.core.exchange import Exchange
from gateway.core.log_variables import (
    BARE_QUERIES,
    DEFAULT_REDACTED_ARGS,
    OWN,
    REQUEST_LINES,
    TARGETS,
    text_bytes,
)
from gateway.core.variables import getter
from gateway.telemetry.known_line import KnownLine
from gateway.telemetry.log_values import MAX_VALUE_CHARS, Values

LineFormat = Callable[[Exchange, float], str]
"""Makes the line, without a line end, of an exchange that ended at a Unix time in seconds."""

JSON_VARIABLES = (
    "time_iso8601",
    "remote_addr",
    "remote_user",
    "http_host",
    "request_method",
    "real_request_uri",
    "server_protocol",
    "status",
    "body_bytes_sent",
    "request_time",
    "http_referer",
    "http_user_agent",
    "upstream_addr",
    "upstream_status",
    "upstream_response_time",
    "upstream_scheme",
    "upstream_host",
    "upstream_uri",
    "route_id",
    "service_id",
    "consumer_name",
    "apisix_request_id",
    "outcome_by",
    "reason",
    "reason_detail",
)
"""The members of the objects that the format ``json`` writes, in order."""

_VARIABLE = re.compile(r"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_.\-]+)\})")
_NUMBERS = frozenset({"status", "body_bytes_sent", "bytes_sent", "request_length", "request_time", "msec"})
_CLIENTS_OWN = (
    BARE_QUERIES
    | REQUEST_LINES
    | TARGETS
    | {"remote_user", "uri", "document_uri", "host", "upstream_host", "content_type", "content_length"}
    | {"method", "request_method", "detail", "reason_detail"}
)
_CLIENTS_OWN_FAMILIES = ("http_", "arg_", "cookie_", "uri_param_", "uri_arg_")


def compile_format(
    template: str, *, escape: str = "default", redacted: Collection[str] = DEFAULT_REDACTED_ARGS
) -> LineFormat:
    """
    Compile the format of a line.

    Args:
        template: Text in which ``$name`` and ``${name}`` stand for variables; or the one word
            ``json``, which gives a JSON object with the members ``JSON_VARIABLES``, null where one is absent.
        escape: ``default``: as the module says, and ``-`` for an absent or empty value. ``json``, for
            templates that spell out a JSON object: values are written so that they can stand
            between the quotes of a JSON string, and absent ones are empty.
        redacted: Names of query arguments to hide besides those in the exchange's context.
    Raises:
        ValueError: there is no such *escape*.
    Source:
        Data-plane contract §11.
    """
    if escape not in ("default", "json"):
        raise ValueError(f"escape must be default or json, not {escape!r}")
    hidden = frozenset(redacted)
    if template.strip() == "json":
        frame = "{" + ",".join([f'"{name}":%s' for name in JSON_VARIABLES]) + "}"
        return _json_line(frame, JSON_VARIABLES, hidden)
    literals, names, quoted = _split(template)
    frame = "%s".join([literal.replace("%", "%%") for literal in literals])
    if escape == "json":
        return _json_template_line(frame, names, hidden)
    bare = [not inside and _is_clients_own(name) for name, inside in zip(names, quoted, strict=True)]
    return _plain_line(frame, names, hidden, "".join(literals), bare)


def check_format(template: str) -> list[str]:
    """
    What is wrong with a template, one line each; empty if nothing is.

    ``compile_format`` takes such a template all the same: unknown variables are absent, and a ``$`` that
    begins none stands for itself.
    """
    found = [f"${name} is no variable" for name in dict.fromkeys(unknown_variables(template))]
    if any("$" in literal for literal in _split(template)[0]):
        found.append("a $ is not followed by the name of a variable")
    return found


def unknown_variables(template: str) -> list[str]:
    """The names in *template* that mean nothing: they are always written as absent."""
    if template.strip() == "json":
        return []
    nothing = getter("")
    return [name for name in _split(template)[1] if name not in OWN and getter(name) is nothing]


def _split(template: str) -> tuple[list[str], list[str], list[bool]]:
    """The texts around variables (one more than those), the variables, and whether each is in quotes."""
    literals, names, quoted = [], [], []
    end = quotes = 0
    for found in _VARIABLE.finditer(template):
        literals.append(template[end : found.start()])
        quotes += literals[-1].count('"')
        names.append(found[1] or found[2])
        quoted.append(quotes % 2 == 1)
        end = found.end()
    literals.append(template[end:])
    return literals, names, quoted


def _is_clients_own(name: str) -> bool:
    return name in _CLIENTS_OWN or name.startswith(_CLIENTS_OWN_FAMILIES)


# -- lines


def _plain_line(
    frame: str, names: list[str], hidden: frozenset[str], literal: str, bare: list[bool]
) -> LineFormat:
    read = Values(names, hidden, "-")
    quickly, values_of = read.quickly, read.of
    bare_at = [index for index, outside in enumerate(bare) if outside]
    marks = literal.encode("utf-8", "replace").translate(None, _PLAIN)
    known = KnownLine.of(frame, names)

    def line(exchange: Exchange, now_s: float) -> str:
        sent = exchange.sent
        if sent is not None and known is not None:
            same = known.write(sent, exchange, now_s)
            if same is not None:
                return same
        values: Sequence[str] | None = quickly(exchange, now_s)
        # Nearly every line needs no escapes at all. One look at the whole tells.
        if (
            values is not None
            and len(text := frame % values) <= MAX_VALUE_CHARS
            and text.isascii()
            and text.encode().translate(None, _PLAIN) == marks
        ):
            for index in bare_at:
                if " " in values[index]:
                    break
            else:
                if sent is not None and known is not None:
                    known.learn(sent, exchange, values, text)
                return text
        values = values_of(exchange, now_s)
        return frame % tuple([escaped(value, spaces) for value, spaces in zip(values, bare, strict=True)])

    return line


def _json_template_line(frame: str, names: list[str], hidden: frozenset[str]) -> LineFormat:
    values_of = Values(names, hidden, "").of

    def line(exchange: Exchange, now_s: float) -> str:
        values = values_of(exchange, now_s)
        return frame % tuple([json_string(value)[1:-1] for value in values])

    return line


def _json_line(frame: str, names: tuple[str, ...], hidden: frozenset[str]) -> LineFormat:
    values_of = Values(names, hidden, "").of
    plain = [name in _NUMBERS for name in names]

    def line(exchange: Exchange, now_s: float) -> str:
        values = values_of(exchange, now_s)
        return frame % tuple(
            [
                (value if number else json_string(value)) if value else "null"
                for value, number in zip(values, plain, strict=True)
            ]
        )

    return line


# -- escapes

_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_ESCAPES = [chr(byte) if byte in _PLAIN else f"\\x{byte:02X}" for byte in range(256)]


def escaped(value: str, spaces: bool = False) -> str:
    r"""
    *value* as it stands in a line: ``"``, ``\``, control characters and all past ASCII as ``\xHH``.

    Args:
        spaces: Whether spaces are written ``\x20``.
    """
    text = "".join([_ESCAPES[byte] for byte in text_bytes(value)])
    return text.replace(" ", "\\x20") if spaces else text


def json_string(value: str) -> str:
    """*value* as an ASCII-only JSON string, quotes included; bytes that are no UTF-8 as U+FFFD."""
    if not value.isascii():
        value = text_bytes(value).decode("utf-8", "replace")
    return encode_basestring_ascii(value)
