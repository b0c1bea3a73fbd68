"""The data plane's limits, by the names they have in ``[proxy]``."""

from __future__ import annotations

from attrs import frozen


@frozen
class ProxyLimits:
    """
    Attributes:
        max_in_flight: Requests served at a time; one more is answered 503.
        max_connections: Client connections per listener; one more is closed. 0 is no limit.
        max_body_bytes: Content of one request; more is answered 413. 0 is no limit.
        max_request_line_bytes: A longer request line is answered 414.
        max_header_bytes, max_headers: A request's head in bytes, and the number of its field
            lines; more is answered 431. Trailers may have as many bytes.
        max_chunk_line_bytes: The line of a chunk's size with its extensions; longer is answered 400.
        max_pipelined_bytes: What a client has sent of its next requests that is kept while one of
            its requests is served; reading stops there.
        idle_timeout_s: A connection between two requests.
        header_timeout_s: A request's head, from its first byte; then 408.
        body_timeout_s: Between two reads of a request's content; then 408.
        send_timeout_s: How long a client may take no bytes of a response; then the connection ends.
        half_closed_s: After a client without TLS has ended what it sends, how long its answer may take to
            begin.
        linger_s, linger_bytes: After an early answer, how long and how much of the request's
            content is still read and dropped, so that the client can read the answer.
        read_ahead_bytes: Content kept in memory while no upstream takes it.
        known_heads: Request heads remembered with what was made of them; 0 is none.
        variables_max_bytes: Content that is gathered for variables which are read from it; in more
            they are absent.
        tunnel_idle_timeout_s: How long nothing may pass through a tunnel where the route says nothing;
            0 is the upstream's ``timeout.read``.
    """

    max_in_flight: int = 6_000
    max_connections: int = 12_000
    max_body_bytes: int = 0
    max_request_line_bytes: int = 8_192
    max_header_bytes: int = 32_768
    max_headers: int = 100
    max_chunk_line_bytes: int = 256
    max_pipelined_bytes: int = 1 << 16
    idle_timeout_s: float = 60.0
    header_timeout_s: float = 60.0
    body_timeout_s: float = 60.0
    send_timeout_s: float = 10.0
    half_closed_s: float = 1.0
    linger_s: float = 5.0
    linger_bytes: int = 1 << 20
    read_ahead_bytes: int = 1 << 16
    known_heads: int = 24576
    variables_max_bytes: int = 1 << 26
    tunnel_idle_timeout_s: float = 0.0
