"""One request and its answer, as values: what the runner drives and what plugins see."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from attrs import define, field, frozen

from gateway.core.fields import Fields, Pair, read_written, without, written_bytes
from gateway.core.patterns import NO_PARAMS
from gateway.core.recurring import HeadMemory

if TYPE_CHECKING:
    from gateway.core.certificates import TLSSession
    from gateway.core.consumers import ConsumerEntry
    from gateway.core.limiting import Told
    from gateway.core.route_table import Match
    from gateway.core.snapshot import CompiledRoute, CompiledUpstream, Snapshot
    from gateway.model.upstream import Node


NO_NAMES: frozenset[bytes] = frozenset()
MAX_ARGS = 10_000
"""Query arguments that are looked at."""


def _without_query(target: bytes) -> str:
    # Arguments may be credentials, as field values may: neither stands in a repr.
    path, mark, _ = target.partition(b"?")
    return repr(path + mark + b"..." if mark else path)


# Not frozen: one is made for each request, and attrs takes a detour for each attribute of a frozen one.
@define
class RequestHead:
    """
    A request as it arrived, before anything looked at it. Never changed.

    Attributes:
        method: As sent; methods are case-sensitive (RFC 9110 section 9.1).
        target: The request target in origin form (RFC 9112 section 3.2.1), undecoded.
        fields: Field lines in order, names lower-cased; plugins change ``Exchange.fields``.
        version: ``(1, 1)`` and so on.
    """

    method: bytes
    target: bytes = field(repr=_without_query)
    fields: tuple[Pair, ...] = field(repr=False)
    version: tuple[int, int] = (1, 1)


@frozen
class Connection:
    """
    The client's connection.

    Attributes:
        client_ip: Address of the TCP peer as text. client_port: its port.
        server_ip: Address the client connected to. server_port: the listener's port.
        tls: Whether the client speaks TLS to us.
        session: What is known of that; None if it does not, or if somebody else ends its TLS.
        origin: What of it is told to upstreams.
    """

    client_ip: str
    client_port: int
    server_ip: str
    server_port: int
    tls: bool = False
    session: TLSSession | None = None
    origin: tuple[str, int, bool] = field(init=False, eq=False, repr=False)

    @origin.default
    def _origin(self) -> tuple[str, int, bool]:
        return (self.client_ip, self.server_port, self.tls)


@frozen
class Reply:
    """
    An answer the gateway gives by itself.

    Attributes:
        status: The status code.
        body: The content, or None for the standard HTML page of that status; below 300 there is none.
        fields: More response fields, lower-case names. ``content-length`` is computed.
        reason: The reason code (``gateway.core.reasons``, or the plugin's own).
        detail: More words for the log; never sent to the client.
    """

    status: int
    body: bytes | None = field(default=None, repr=False)
    fields: tuple[Pair, ...] = field(default=(), repr=False)
    reason: str = "plugin_replied"
    detail: str = ""

    @classmethod
    def json(
        cls,
        status: int,
        content: Mapping[str, Any],
        *,
        fields: tuple[Pair, ...] = (),
        reason: str,
        detail: str = "",
    ) -> Reply:
        """
        An object as compact JSON plus a newline: the form of every JSON body the gateway makes itself.

        Half a surrogate pair, which has no UTF-8 form, becomes ``?``.
        """
        body = (
            json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        return cls(status, body, ((b"content-type", b"application/json"), *fields), reason, detail)

    @classmethod
    def text(
        cls, status: int, content: str, *, fields: tuple[Pair, ...] = (), reason: str, detail: str = ""
    ) -> Reply:
        """Plain text, verbatim."""
        return cls(
            status,
            content.encode("utf-8", "replace"),
            ((b"content-type", b"text/plain; charset=utf-8"), *fields),
            reason,
            detail,
        )


@frozen
class Outcome:
    """
    How a request ended.

    Attributes:
        status: The status code sent, or 499 if the client left first.
        decided_by: The deciding stage (``router``, ``balancer``, ``upstream``, ``client``,
            ``gateway``) or ``plugin:<name>``.
        reason: The reason code.
        detail: More words for the log.
    """

    status: int
    decided_by: str
    reason: str
    detail: str = ""


class Attempt(NamedTuple):
    """
    One try at an upstream node.

    Attributes:
        node: ``host:port``.
        status: The status it answered, or what the failure counts as (502, 504).
        seconds: From the start of the try to its answer's head or its failure.
        reason: ``ok`` or the reason code of the failure.
    """

    node: str
    status: int
    seconds: float
    reason: str


class ContentTooLarge(Exception):
    """
    The content of a request is larger than somebody is willing to hold. Raised to the hook that wanted it;
    a hook that does not catch it has the request answered 413.
    """

    def __init__(self, limit: int, length: int | None = None) -> None:
        """
        Args:
            limit: Bytes that were allowed. length: Bytes there are, if they were announced.
        """
        super().__init__(f"the content is larger than {limit} bytes")
        self.limit = limit
        self.length = length


class ContentSource(Protocol):
    """
    The content of a request on its way from the client, for hooks that must see it before it is sent.

    Attributes:
        received: Bytes that have arrived.
        recorded: The beginning of it, as far as it has arrived, where ``record`` asked for that.
    """

    @property
    def received(self) -> int:
        """Bytes that have arrived."""

    @property
    def recorded(self) -> bytes:
        """See above."""

    def record(self, max_bytes: int, then: Callable[[bytes | None], None] | None = None) -> None:
        """
        Keep a copy of the first *max_bytes*; of several who ask the largest counts. Delays nothing. To be
        asked for before any of it is passed on.

        Args:
            then: Called with all of it once it has arrived, maybe at once; with None if there is more than
                *max_bytes*; not at all if the client leaves before its end. Must not raise.
        """

    def gather(self, max_bytes: int) -> Awaitable[bytes]:
        """
        Wait for all of it, and keep it to be sent.

        Raises:
            ContentTooLarge: it has more than *max_bytes*.
        """


class WrittenFields(Protocol):
    """
    The fields of an upstream's answer that came before: read, and written, once for all.

    Attributes:
        pairs: Names and values. Nobody may change the list.
        lines: The same as they are written.
        names: Theirs, and those of fields that the server says by itself.
    """

    @property
    def pairs(self) -> list[Pair]:
        """See above."""

    @property
    def lines(self) -> bytes:
        """See above."""

    @property
    def names(self) -> frozenset[bytes]:
        """See above."""


@define(eq=False, slots=True, init=False)
class Exchange:
    """
    One request on its way. Plugins may change ``method``, ``target``, ``fields`` and ``content`` before it is
    sent, and ``status`` and ``response_fields`` in the ``header_filter`` phase.

    Attributes:
        request: The request as it arrived.
        connection: Where it came from.
        path: The decoded, normalised path that routes are matched against (``$uri``).
        host: The Host without its port, in lower case; ``""`` if there was none.
        started_s: Wall-clock time of its arrival, in Unix seconds.
        client_ip, client_port: Whom it is from: the peer, or what a trusted proxy or a plugin told of the
            client. The port is 0 where nobody told it.
        max_body_bytes: A plugin's limit of the client's content, 0 for none: more ends the request with 413.
        id: An id that is unique in this gateway's logs.
        method, target, fields: What will be sent upstream; *target* in origin form.
        upstream_host: If a plugin sets it, the Host to send where ``pass_host`` is ``pass``.
        upstream: If a plugin sets it, where to send it instead of the route's own upstream.
        node: In the ``before_proxy`` phase, the node that it is about to be sent to.
        content: If a plugin sets it, what to send in place of the client's content; see ``read_content``.
        source: The client's content; None if the request has none.
        held: All of the client's content, where it was gathered for variables that are read from it.
        snapshot: The configuration that serves it, to its end.
        route: The matched route, or None before matching and if there is none.
        match: How the route was found: the pattern of its path and of its host; None as ``route`` is.
        path_params: Values of ``:name`` and ``*name`` in the matched pattern.
        consumer, credential_id: Who sent it, once an auth plugin knows.
        context: For plugins: values that later plugins may read, such as ``jwt_auth_payload``.
        limits: For the variable ``rate_limiting_info``, what limits said: ``gateway.core.limiting.Told``.
        status, response_fields: The answer's head; valid from ``header_filter`` on.
        written, added: What the answer's fields are while nobody has asked for ``response_fields``: those of
            an answer that came before, and lines behind them; None and empty otherwise. Lines may be there
            before the answer is.
        added_names: The names of those lines.
        response_length: Bytes of its content, if that is known; as ``status`` it is there for
            ``header_filter``, and is the length before any body filter.
        from_upstream: Whether that head came from an upstream.
        attempts: Every try at a node so far.
        answered_at: When the upstream's head arrived, by the monotonic clock; valid if ``from_upstream``.
        bytes_received, bytes_sent: Content bytes of the request and of the response so far.
        outcome: Set when it has ended.
        memory: Of a head that came before: what was made of it then.
        sent: The request that was sent for it last, if that is the same as for an earlier request with the
            same head: an object with places ``line`` and ``line_of`` for what the access log makes of that.
    """

    request: RequestHead
    connection: Connection
    path: str
    host: str
    started_s: float
    id: str
    method: bytes
    target: bytes = field(repr=_without_query)
    fields: Fields
    snapshot: Snapshot = field(repr=False)
    client_ip: str
    client_port: int
    max_body_bytes: int
    upstream_host: bytes | None
    upstream: CompiledUpstream | None
    node: Node | None
    content: bytes | None = field(repr=False)
    source: ContentSource | None = field(repr=False)
    held: bytes | None = field(repr=False)
    route: CompiledRoute | None = field(repr=False)
    match: Match[CompiledRoute] | None = field(repr=False)
    path_params: Mapping[str, str] = field(repr=False)
    consumer: ConsumerEntry | None = field(repr=False)
    credential_id: str | None
    context: dict[str, Any] = field(repr=False)
    limits: Told | None = field(repr=False)
    status: int
    written: WrittenFields | None = field(repr=False)
    added: bytes = field(repr=False)
    added_names: frozenset[bytes] = field(repr=False)
    asked_fields: Fields | None
    response_length: int | None
    from_upstream: bool
    attempts: list[Attempt]
    answered_at: float
    bytes_received: int
    bytes_sent: int
    outcome: Outcome | None
    memory: HeadMemory | None = field(repr=False)
    sent: Any = field(repr=False)
    _args: list[tuple[str, str]] | None = field(repr=False)
    _args_of: bytes = field(repr=False)
    _cookies: dict[str, str] | None = field(repr=False)

    def __init__(
        self,
        request: RequestHead,
        connection: Connection,
        path: str,
        host: str,
        started_s: float,
        id: str,
        fields: Fields,
        snapshot: Snapshot,
        memory: HeadMemory | None = None,
    ) -> None:
        """
        Args:
            fields: Those to be sent, so far.
        """
        # By hand: attrs would make each attribute an argument, which costs more than setting it.
        self.request = request
        self.connection = connection
        self.path = path
        self.host = host
        self.started_s = started_s
        self.id = id
        self.method = request.method
        self.target = request.target
        self.fields = fields
        self.snapshot = snapshot
        self.client_ip = connection.client_ip
        self.client_port = connection.client_port
        self.upstream_host = self.upstream = self.node = self.content = self.source = self.held = None
        self.route = self.match = self.consumer = self.credential_id = self.outcome = None
        self.path_params = NO_PARAMS
        self.context = {}
        self.response_length = self.written = self.asked_fields = self.limits = None
        self.added = b""
        self.added_names = NO_NAMES
        self.from_upstream = False
        self.attempts = []
        self.max_body_bytes = self.status = self.bytes_received = self.bytes_sent = 0
        self.answered_at = 0.0
        self.memory = memory
        self.sent = self._args = self._cookies = None
        self._args_of = b""

    @property
    def response_fields(self) -> Fields:
        """The fields of the answer, to be looked at and changed."""
        fields = self.asked_fields
        if fields is None:
            written = self.written
            fields = Fields(() if written is None else written.pairs)
            self.answer_with(fields)
        return fields

    @response_fields.setter
    def response_fields(self, fields: Fields) -> None:
        self.added = b""
        self.answer_with(fields)

    def answer_with(self, fields: Fields) -> None:
        """The answer has these fields, and those that were added by now."""
        self.asked_fields = fields
        self.written = None
        if self.added:
            fields.replace(self.added_names, read_written(self.added))
            if self.status:
                self.added = b""

    def add_response_lines(self, names: frozenset[bytes], lines: bytes) -> None:
        """
        Add fields to the answer, in place of those that have the same names. For what every request meets:
        mostly the lines are sent as they are, and nobody reads them.

        Before there is an answer they wait for it, whoever gives it; any ``header_filter`` finds them there.

        Args:
            names: Theirs, in lower case. lines: ``Name: value``, each with its line end. The caller answers
                for the grammar: nothing that a client had a say in.
        """
        fields, written = self.asked_fields, self.written
        if fields is not None:
            fields.replace(names, read_written(lines))
            if self.status:
                return
        if not self.added:
            self.added, self.added_names = lines, names
        else:
            kept = self.added if self.added_names.isdisjoint(names) else without(self.added, names)
            self.added, self.added_names = kept + lines, self.added_names | names
        if written is not None and not written.names.isdisjoint(names):
            self.answer_with(Fields(written.pairs))

    @property
    def response_fields_bytes(self) -> int:
        """How many bytes those are as HTTP/1.1 writes them."""
        written = self.written
        if written is not None:
            return len(written.lines) + len(self.added)
        return written_bytes(self.response_fields.pairs)

    @property
    def answer_bytes(self) -> int:
        """
        The status line and the fields as HTTP/1.1 writes them, plus the content so far: bytes; 0 without an
        answer. Every status counts as ``200 OK`` does.
        """
        if not self.status:
            return 0
        return len("HTTP/1.1 200 OK\r\n\r\n") + self.response_fields_bytes + self.bytes_sent

    async def read_content(self, max_bytes: int) -> bytes:
        """
        Wait for the whole content, as it would be sent now. It is kept, so several hooks may ask.

        Args:
            max_bytes: What the caller is willing to hold; the contract has its plugins say 64 MiB.
        Returns:
            The content; empty if the request has none.
        Raises:
            ContentTooLarge: there is more.
        """
        if self.content is not None:
            if len(self.content) > max_bytes:
                raise ContentTooLarge(max_bytes, len(self.content))
            return self.content
        return b"" if self.source is None else await self.source.gather(max_bytes)

    @property
    def target_upstream(self) -> CompiledUpstream | None:
        """Where it goes: what a plugin chose, else the route's own."""
        if self.upstream is not None or self.route is None:
            return self.upstream
        return self.route.upstream

    @property
    def query(self) -> bytes:
        """The query of the target to be sent, without ``?``; empty if there is none."""
        return self.target.partition(b"?")[2]

    def args(self) -> list[tuple[str, str]]:
        """
        The query's first ``MAX_ARGS`` arguments in order, percent-decoded, ``+`` as a space.

        ``a`` without ``=`` has the value ``""``. Bytes that are not UTF-8 come as lone surrogates.
        """
        query = self.query
        if self._args is None or self._args_of != query:
            # Arguments past the limit do not exist for plugins and variables; the upstream gets them all.
            counted = b"&".join(query.split(b"&", MAX_ARGS)[:MAX_ARGS])
            text = counted.decode("utf-8", "surrogateescape")
            self._args = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
            self._args_of = query
        return self._args

    def cookies(self) -> dict[str, str]:
        """The cookies sent, by name; of a repeated name the first counts."""
        if self._cookies is None:
            found: dict[str, str] = {}
            for line in self.fields.get_all(b"cookie"):
                for part in line.decode("latin-1").split(";"):
                    name, equals, value = part.strip().partition("=")
                    if equals:
                        found.setdefault(name, value)
            self._cookies = found
        return self._cookies

    def forget_cookies(self) -> None:
        """To be called after changing the ``cookie`` field."""
        self._cookies = None
