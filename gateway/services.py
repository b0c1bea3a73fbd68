"""What plugins are given: time, a log, HTTP calls, counters, batches, files; each a ``typing.Protocol``.

Who has none of a service gets a stand-in that says so when it is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from attrs import field, frozen

from gateway.core.batching import BatchOptions
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import Pair
from gateway.core.metric_options import CountOptions

if TYPE_CHECKING:
    from gateway.core.chain import BoundPlugin
    from gateway.core.snapshot import CompiledUpstream


class Clock(Protocol):
    """Time for plugins."""

    def time(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""


class PluginLog(Protocol):
    """Log events for plugins: a format with named fields. Never pass a secret."""

    def warn(self, format: str, **fields: object) -> None:
        """Something an operator should know."""

    def error(self, format: str, **fields: object) -> None:
        """Something an operator must act on."""


@frozen
class HttpAnswer:
    """What another service answered to a call of the gateway's own."""

    status: int
    fields: Sequence[Pair] = field(repr=False)
    content: bytes = field(repr=False)

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        return next((value for held, value in self.fields if held == name), None)


class HttpCallFailed(Exception):
    """
    A call got no answer. The text says why; it is for the log.

    Attributes:
        timed_out: Whether it took too long.
    """

    def __init__(self, why: str, timed_out: bool = False) -> None:
        super().__init__(why)
        self.timed_out = timed_out


class KeepAlive(NamedTuple):
    """
    How a call's connection is kept for the next one.

    Attributes:
        connections: Idle ones kept for each host and port; 0 keeps none. idle_s: For how long each.
    """

    connections: int = 32
    idle_s: float = 60.0


USUAL_KEEP = KeepAlive()


class HttpCalls(Protocol):
    """Calls of the gateway's own to other services: an authorisation service, a log collector."""

    def request(
        self,
        method: str,
        url: str,
        *,
        fields: Sequence[Pair] = (),
        content: bytes | None = None,
        timeout_s: float = 3.0,
        verify: bool = True,
        max_bytes: int = 1 << 20,
        keep: KeepAlive = USUAL_KEEP,
    ) -> Awaitable[HttpAnswer]:
        """
        Make one call. Redirects are not followed, no cookie is kept. Content in gzip comes decoded; it is not
        asked for.

        Args:
            url: Absolute, ``http`` or ``https``.
            fields: Request fields; ``content-length`` and ``host`` are computed where absent.
            timeout_s: For the whole of it, connecting included.
            verify: Whether an ``https`` server's certificate must be valid for its name.
            max_bytes: An answer with more content is a failure.
            keep: Calls that say the same share their connections.
        Raises:
            HttpCallFailed: no answer, or not in time, or too large.
        """


class UpstreamMaker(Protocol):
    """Where plugins that choose an upstream get one: called when a plugin is made, not per request."""

    def __call__(self, document: Mapping[str, Any]) -> CompiledUpstream:
        """
        Compile an upstream that stands in a plugin's settings. The same document gives the same object.

        Raises:
            ConfigErrors: it is not one.
        """


class CountersFailed(Exception):
    """The counters cannot be had: their server is down or too slow. The text says why; it is for the log."""


class Quota(NamedTuple):
    """
    What is left of a quota after somebody took from it.

    Attributes:
        admitted: Whether there was enough.
        remaining: What is left, at least 0.
        reset_s: Seconds until the window ends.
    """

    admitted: bool
    remaining: int
    reset_s: float


class Window(NamedTuple):
    """
    A quota over time, of one key.

    Attributes:
        key: Whose. Any text; keys of different configurations must differ.
        limit: How much fits into a window. window_s: How long that is, in seconds.
        cost: What is taken. sliding: Which way windows follow each other: see ``Counters``.
    """

    key: str
    limit: int
    window_s: float
    cost: int = 1
    sliding: bool = False


class Running:
    """
    A fixed window that has begun, and in which one process alone counts: it takes by adding to *count*.

    Attributes:
        key: Whose. count: What was taken. ends_s: When it ends, by the counters' clock; 0 once nobody may
            take from it this way any more.
    """

    __slots__ = ("count", "ends_s", "key")

    def __init__(self, key: str, count: int = 0, ends_s: float = 0.0) -> None:
        self.key = key
        self.count = count
        self.ends_s = ends_s


class Counters(Protocol):
    """
    Counters that all workers share; with Redis, all gateways that use the same one.

    What a method returns is the value itself where the counters are at hand, and an awaitable of it where
    a server is asked: ask ``isinstance``. Either way one call is one atomic step, and at most one round trip.
    Calls and awaitables raise ``CountersFailed``, within the time their settings give.

    A **fixed** window starts at the key's first request and is followed by nothing: the next one starts at
    the next request. What is asked for is counted whether it was admitted or not. In a **sliding** window
    what was admitted in the last one still counts, by the share of it that the sliding window covers.
    """

    def take(
        self, key: str, limit: int, window_s: float, cost: int = 1, sliding: bool = False
    ) -> Quota | Awaitable[Quota]:
        """Take from one quota. For the arguments see ``Window``."""

    def take_all(self, windows: Sequence[Window]) -> Sequence[Quota] | Awaitable[Sequence[Quota]]:
        """
        Take from several, in their order, up to and including the first that does not admit.

        Over a Redis cluster this is one round trip for each.
        """

    def leak(self, key: str, rate_per_s: float, burst: float) -> float | Awaitable[float]:
        """
        Pour one request into a leaky bucket.

        Args:
            rate_per_s: What leaks in a second. burst: What may be in it beyond the one that leaks now.
        Returns:
            Seconds until this request's turn, 0 or more; -1 if the bucket is full and it was not poured in.
        """

    def enter(self, key: str, limit: int, token: str, ttl_s: float) -> int | Awaitable[int]:
        """
        Be one of at most *limit* at the same time.

        Args:
            token: Unique among those who are in.
            ttl_s: For how long at most; whoever has not left by then is forgotten. Not for counters of this
                machine, which know when a worker is dead.
        Returns:
            How many are in now, this one included; 0 if it is not, because there are *limit*.
        """

    def leave(self, key: str, token: str) -> None:
        """Be in no more. Nothing waits for it; it never raises. Harmless for one who is not in."""

    def would_take(self, windows: Sequence[Window]) -> Sequence[Quota] | Awaitable[Sequence[Quota]]:
        """What ``take_all`` would return now. Nothing is taken."""

    def would_leak(self, key: str, rate_per_s: float, burst: float) -> float | Awaitable[float]:
        """What ``leak`` would return now. Nothing is poured in."""

    def would_enter(self, key: str, limit: int) -> int | Awaitable[int]:
        """What ``enter`` would return now to one who is not in. Nobody enters."""


class CountersAtHand(Counters, Protocol):
    """
    Counters that may be counted in without asking them.

    Attributes:
        now: Their clock, in seconds.
    """

    @property
    def now(self) -> Callable[[], float]:
        """See above."""

    def at_hand(self, key: str) -> Running | None:
        """
        The window of *key*, if one has begun and this process alone counts in it. It stays the same object
        until it ends for good; the next one begins with ``take``.
        """


class CounterSource(Protocol):
    """Where plugins get counters from: called when a plugin is made, not per request."""

    def __call__(self, settings: Mapping[str, Any]) -> Counters:
        """
        The counters that a plugin's settings name.

        Args:
            settings: ``policy`` and what belongs to it (``gateway.core.limiting``), defaults filled in.
        """


class Breakers(Protocol):
    """
    Circuit breakers that all workers share: what failed lately, by key. Nothing here waits or raises; where
    the memory cannot be had, all is well.
    """

    def opened(self, key: str) -> tuple[int, float] | None:
        """
        Ask for a breaker that has opened.

        Returns:
            How many failures there were since all was well, and how many seconds ago it opened last; None if
            it has not opened since then.
        """

    def failed(self, key: str, every: int) -> None:
        """One more failure; each *every*-th opens the breaker."""

    def succeeded(self, key: str, enough: int) -> None:
        """A success; *enough* of them in a row, and all is well."""


def _nothing(name: str) -> Callable[..., Any]:
    def absent(*args: object, **named: object) -> Any:
        raise RuntimeError(f"there is no service {name} here")

    return absent


class _NoHttp:
    request = staticmethod(_nothing("http"))


class _NoBreakers:
    opened = staticmethod(_nothing("breakers"))
    failed = succeeded = opened


class RequestMetrics(Protocol):
    """Counting for Prometheus."""

    def request(self, exchange: Exchange, options: CountOptions) -> None:
        """Count a request that has ended, once."""


class _NoSockets:
    send = staticmethod(_nothing("sockets"))


class _Nowhere:
    """Takes everything and keeps nothing: for configuration that is compiled only to be looked at."""

    def open(self, *args: Any) -> _Nowhere:
        return self

    def add(self, entry: Any, server_addr: str = "") -> None:
        """Forget it."""

    def write(self, line: bytes) -> None:
        """Forget it."""


class _NoMetrics:
    def request(self, exchange: Exchange, options: CountOptions) -> None:
        """Count nothing."""


class Batch(Protocol):
    """Entries that gather until there are enough of them, or they have waited long enough."""

    def add(self, entry: Any, server_addr: str = "") -> None:
        """
        Take one more; when too many wait it is dropped and counted. Never waits, never raises.

        Args:
            server_addr: The address of ours that its request came to; that of the first is for the metrics.
        """


Deliver = Callable[[Sequence[Any]], Awaitable[None]]
"""Sends entries; any exception means that they did not arrive, its text is for the log."""


class Batches(Protocol):
    """
    Where plugins that send entries elsewhere get a queue. It owns the timers and sends what is left when
    the gateway stops. A plugin that is made anew opens a new one; what waits in the old one is sent all
    the same.
    """

    def open(self, name: str, route: str, options: BatchOptions, deliver: Deliver) -> Batch:
        """
        Args:
            name: The plugin's, or the user's own, for the log and the metrics.
            route: The id of the route, or of the place.
        """


class SendFailed(Exception):
    """Bytes could not be sent. The text says where to and why; it is for the log."""


class SocketCalls(Protocol):
    """Bytes for other services that speak no HTTP: log collectors."""

    def send(
        self,
        kind: str,
        host: str,
        port: int,
        content: Sequence[bytes],
        *,
        timeout_s: float = 3.0,
        server_name: str | None = None,
        verify: bool = False,
    ) -> Awaitable[None]:
        """
        Send, and close.

        Args:
            kind: ``tcp``, ``tls`` or ``udp``.
            content: Over UDP a datagram each, else one after another.
            timeout_s: For the whole of it, connecting included.
            server_name: What to ask for in TLS, if it is not *host*. verify: Whether the certificate must
                be valid for it.
        Raises:
            SendFailed: it was not sent, or not in time. Over UDP nobody knows whether it arrives.
        """


class LineFile(Protocol):
    """A file of lines that a thread writes; renamed files are noticed and made anew."""

    def write(self, line: bytes) -> None:
        """Append a line, without its end; when too much waits it is dropped and counted. Never raises."""


class LineFiles(Protocol):
    """Files that plugins write; each is opened once, and belongs to the gateway."""

    def open(self, name: str, path: str) -> LineFile:
        """
        Args:
            name: The plugin's, for the log and the metrics.
            path: Opened when the first line comes: what is wrong with it is told in the log.
        """


PublicApi = Callable[[Exchange], Awaitable[Reply]]
"""What the gateway can tell about itself through a route: see ``PluginServices.public_apis``."""


@frozen
class PluginServices:
    """
    What a plugin may use of the world outside the exchange.

    Attributes:
        clock: Time. log: The plugin's own log.
        origin: Where the configuration stands, such as ``route/r1``: the identity of any state
            that is kept per configuration.
        settings: The section ``[plugins]`` of gw.ini: limits that plugins have a name for there.
        metadata: The plugin's metadata (Admin API: ``plugin_metadata``), empty if there is none. When it
            changes, the plugin is made anew.
        http: Calls to other services.
        sleep: Waits so many seconds, for hooks that are ``async``; ends early when the client leaves.
        spawn: Runs a coroutine that no request waits for; what it raises is logged.
        in_thread: Runs a function that computes for long in a thread; waits for what it returns or raises.
        counters: Counters for limits, as the settings' ``policy`` says.
        breakers: Circuit breakers.
        random: A number from 0 to 1, 1 excluded: for shares and samples, not for secrets.
        trusted: Whether a peer's forwarding fields are believed, by its address ([proxy] trusted_addresses).
        metrics: Counts requests.
        sockets: Bytes for services that speak no HTTP.
        batches: Queues for entries that are sent elsewhere. files: Files of lines.
        hostname: Of this machine. version: Of the gateway.
        public_apis: What ``public-api`` can serve, by path.
        upstream: Compiles an upstream that stands in the settings.
        nested: Binds another plugin, by name and settings, at the same place; ValueError in words for the
            user if there is none or it refuses the settings.
    """

    clock: Clock
    log: PluginLog
    origin: str = ""
    settings: Mapping[str, str] = {}
    metadata: Mapping[str, Any] = {}
    http: HttpCalls = field(factory=_NoHttp, repr=False)
    sleep: Callable[[float], Awaitable[None]] = field(default=_nothing("sleep"), repr=False)
    spawn: Callable[[Coroutine[Any, Any, Any]], None] = field(default=_nothing("spawn"), repr=False)
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = field(
        default=_nothing("in_thread"), repr=False
    )
    counters: CounterSource = field(default=_nothing("counters"), repr=False)
    breakers: Breakers = field(factory=_NoBreakers, repr=False)
    random: Callable[[], float] = field(default=_nothing("random"), repr=False)
    trusted: Callable[[str], bool] = field(default=lambda address: False, repr=False)
    metrics: RequestMetrics = field(factory=_NoMetrics, repr=False)
    sockets: SocketCalls = field(factory=_NoSockets, repr=False)
    batches: Batches = field(factory=_Nowhere, repr=False)
    files: LineFiles = field(factory=_Nowhere, repr=False)
    hostname: str = ""
    version: str = ""
    public_apis: Mapping[str, PublicApi] = field(factory=dict, repr=False)
    upstream: UpstreamMaker = field(default=_nothing("upstream"), repr=False)
    nested: Callable[[str, Mapping[str, Any]], BoundPlugin] = field(default=_nothing("nested"), repr=False)
