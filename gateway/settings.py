"""The settings of one gateway process: typed, checked once at the start, all problems told together.

They come from an ini file (``conf/gw.ini`` is its own manual) and from environment variables
``GATEWAY_<SECTION>_<KEY>``, which win. What can change while the gateway runs is not here: that
is configuration, and goes through the Admin API.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

from gateway import certificates
from gateway import settings_fields as fields
from gateway.errors import SettingsErrors
from gateway.model.fields import ID_PATTERN
from gateway.settings_fields import Address, Network, Secret, StoreUrl, setting
from gateway.settings_source import Sources, read_environment, read_file, read_mapping, variable_of

ACCESS_FORMAT = (
    '$remote_addr - $remote_user [$time_local] $http_host "$request" $status $body_bytes_sent $request_time '
    '"$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time '
    '"$upstream_scheme://$upstream_host$upstream_uri" "$apisix_request_id" $outcome_by $reason'
)
"""The access log's line: the default of data-plane contract §11, and what the request ended with."""

FIELD_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""A field's name (RFC 9110 section 5.1)."""

TLS_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has its own, all good."""

WEAK_TOKEN_LENGTH = 16
"""Secrets from the settings that are shorter than this are warned about."""
WEAK_PASSWORD_LENGTH = 8
"""The same for a password, which is not checked without a limit of attempts."""


@frozen
class GatewaySection:
    """
    ``[gateway]``.

    Attributes:
        data_dir: Where everything the gateway writes goes; absolute.
        group: Id of the gateway group whose configuration is served.
        shutdown_grace_s: How long requests in flight may take to end when the gateway stops.
        certificate_notice_days: How long before its end a certificate in use is told of; 0: never.
    """

    data_dir: Path = setting(fields.path, "var")
    group: str = setting(
        fields.matching(ID_PATTERN.strip("^$"), 256, "1–256 letters, digits, '-', '_' or '.'"), "default"
    )
    shutdown_grace_s: float = setting(fields.seconds(0), "240")
    certificate_notice_days: int = setting(fields.whole(0, 3650), "14")


@frozen
class AdminSection:
    """
    ``[admin]``: the listener of the Admin API.

    Attributes:
        listen: Where it listens; at least one.
        token: The first access token; None: ``<data_dir>/admin-token``, made if it is not there.
        tls: Whether it speaks HTTPS.
        certificate, private_key: PEM files; None: a self-signed pair in the data directory.
        password: Of the user ``admin``; None: as the user changed it, at first
            ``<data_dir>/admin-password``.
        allow: Addresses that may connect; None for all.
        login_attempts: Failed log-ins of a name from an address in ``login_window_s``.
        session_ttl_s: How long somebody who logged in stays so.
        max_body_bytes: Content of one request; more is refused.
    """

    listen: tuple[Address, ...] = setting(fields.addresses(needed=True), "127.0.0.1:7443", many=True)
    token: Secret | None = setting(fields.secret, "")
    password: Secret | None = setting(fields.secret, "")
    allow: tuple[Network, ...] | None = setting(fields.networks, "", many=True)
    login_attempts: int = setting(fields.whole(1, 1_000_000), "10")
    login_window_s: float = setting(fields.seconds(1, 86_400), "60")
    session_ttl_s: float = setting(fields.seconds(60, 31_536_000), "28800")
    tls: bool = setting(fields.switch, "on")
    certificate: Path | None = setting(fields.path_or_none, "")
    private_key: Path | None = setting(fields.path_or_none, "")
    max_body_bytes: int = setting(fields.whole(1024, 2**30), "1572864")


@frozen
class ApisixSection:
    """
    ``[apisix]``: the APISIX dialect of the Admin API, and a listener without TLS for its clients.

    Attributes:
        listen: Where that listener is; may be empty. Both dialects are served on every listener.
        admin_key: Opens everything; None: ``<data_dir>/apisix-admin-key``, made if it is not there.
        viewer_key: Opens reading; None: nobody has one.
        admin_key_required: Whether a key is needed at all.
        allow_admin: Whose requests that listener answers; None for everybody's.
        enable_admin_cors: Whether web pages of any origin may read answers.
        stream_routes: Whether stream routes can be written.
    """

    listen: tuple[Address, ...] = setting(fields.addresses(needed=False), "127.0.0.1:9180", many=True)
    admin_key: Secret | None = setting(fields.secret, "")
    viewer_key: Secret | None = setting(fields.secret, "")
    admin_key_required: bool = setting(fields.switch, "on")
    allow_admin: tuple[Network, ...] | None = setting(fields.networks, "127.0.0.0/8, ::1", many=True)
    enable_admin_cors: bool = setting(fields.switch, "on")
    stream_routes: bool = setting(fields.switch, "on")


@frozen
class ProxySection:
    """
    ``[proxy]``: the data plane.

    Attributes:
        listen, tls_listen: Where it listens for HTTP and for HTTPS; each may be empty.
        tls_certificate, tls_private_key: PEM files: what names are served with that no ssl is for, and
            clients that send none. None refuses them in the handshake.
        tls_fallback_sni: The name taken for clients that send none; empty for none.
        tls_ciphers: Cipher suites for TLS 1.2, in OpenSSL's form.
        tls_session_timeout_s: How long clients may resume a session of TLS 1.3; 0: never.
        engine: What speaks HTTP/1.1 with clients: ``lean``, our own, or ``twisted``, twisted.web.
        workers: Processes that serve besides the first, which administers; 0: all in one. Limits of
            numbers (requests, connections) hold for each.
        worker_timeout_s: How long one may take to acknowledge a change; then it is replaced.
        max_in_flight: Requests served at a time; one more is answered 503.
        max_connections: Client connections at a time on one listener; 0 is no limit.
        max_body_bytes: Content of one request; more is answered 413; 0 is no limit.
        max_request_line_bytes: A request's first line; a longer one is answered 414.
        max_header_bytes, max_headers: A request's head in all, and its number of field lines; more
            is answered 431.
        max_chunk_line_bytes: The line of a chunk's size and its extensions.
        max_pipelined_bytes: What is kept of a client's next requests while one is served.
        idle_timeout_s: A connection between two requests. header_timeout_s: a request's head,
            from its first byte. body_timeout_s: between two reads of its content.
        send_timeout_s: How long a client may take no bytes of a response.
        half_closed_s: How long an answer may take to begin once a client without TLS has ended what it sends.
        linger_s, linger_bytes: After an answer that came before the request's end, how much of
            the rest is still read and dropped.
        read_ahead_bytes: Content kept in memory while the upstream takes none.
        known_heads: Heads of requests that are remembered with what was made of them.
        upstream_known_heads: Likewise, heads of responses.
        variables_max_bytes: Content that is gathered for variables which are read from it.
        tunnel_idle_timeout_s: How long nothing may pass through a tunnel (WebSocket) where the route has
            no ``timeout``; 0: the upstream's ``timeout.read``.
        upstream_max_header_bytes, upstream_max_headers: The same limits for a response's head.
        upstream_max_interim: Most 1xx answers before the final one.
        upstream_max_idle: Idle connections that are kept, all upstreams together.
        dns_ttl_s: How long the addresses of a node's name are used before they are asked for again.
        health_checks: Whether upstreams' ``checks`` are carried out.
        trusted_addresses: Peers whose ``X-Forwarded-*`` are believed; None if nobody said.
        real_ip_header: The request field that tells the client's address. real_ip_from: peers that are
            believed; None: nobody. real_ip_recursive: whether they are passed over in a list, from its end.
        server_tokens: Whether ``Server`` carries the version.
        show_upstream_status: Whether ``X-APISIX-Upstream-Status`` is sent on every proxied answer.
    """

    listen: tuple[Address, ...] = setting(fields.addresses(needed=False), "127.0.0.1:9080", many=True)
    tls_listen: tuple[Address, ...] = setting(fields.addresses(needed=False), "127.0.0.1:9443", many=True)
    tls_certificate: Path | None = setting(fields.path_or_none, "")
    tls_private_key: Path | None = setting(fields.path_or_none, "")
    tls_fallback_sni: str = setting(fields.host_or_empty, "")
    tls_ciphers: str = setting(fields.line, TLS_CIPHERS)
    tls_session_timeout_s: int = setting(fields.whole(0, 604_800), "0")
    engine: str = setting(fields.one_of(("lean", "twisted")), "lean")
    workers: int | Literal["auto"] = setting(fields.workers, "0")
    worker_timeout_s: float = setting(fields.seconds(0.1, 3600), "10")
    max_in_flight: int = setting(fields.whole(1), "6000")
    max_connections: int = setting(fields.whole(0), "12000")
    max_body_bytes: int = setting(fields.whole(0), "0")
    max_request_line_bytes: int = setting(fields.whole(256, 2**20), "8192")
    max_header_bytes: int = setting(fields.whole(1024, 2**20), "32768")
    max_headers: int = setting(fields.whole(1, 10_000), "100")
    max_chunk_line_bytes: int = setting(fields.whole(20, 65536), "256")
    max_pipelined_bytes: int = setting(fields.whole(1024, 2**30), "65536")
    idle_timeout_s: float = setting(fields.seconds(), "60")
    header_timeout_s: float = setting(fields.seconds(), "60")
    body_timeout_s: float = setting(fields.seconds(), "60")
    send_timeout_s: float = setting(fields.seconds(), "10")
    half_closed_s: float = setting(fields.seconds(0, 3600), "1")
    linger_s: float = setting(fields.seconds(0, 600), "5")
    linger_bytes: int = setting(fields.whole(0), "1048576")
    read_ahead_bytes: int = setting(fields.whole(4096, 2**30), "65536")
    known_heads: int = setting(fields.whole(0, 65536), "24576")
    variables_max_bytes: int = setting(fields.whole(0, 2**30), "67108864")
    tunnel_idle_timeout_s: float = setting(fields.seconds(0), "0")
    upstream_max_header_bytes: int = setting(fields.whole(1024, 2**20), "65536")
    upstream_max_headers: int = setting(fields.whole(1, 10_000), "200")
    upstream_known_heads: int = setting(fields.whole(0, 65536), "1024")
    upstream_max_interim: int = setting(fields.whole(0, 10_000), "32")
    upstream_max_idle: int = setting(fields.whole(0), "4096")
    dns_ttl_s: float = setting(fields.seconds(0, 3600), "10")
    health_checks: bool = setting(fields.switch, "on")
    trusted_addresses: tuple[Network, ...] | None = setting(fields.networks, "", many=True)
    real_ip_header: str = setting(fields.matching(FIELD_NAME, 64, "a request field's name"), "X-Real-IP")
    real_ip_from: tuple[Network, ...] | None = setting(fields.networks, "127.0.0.1", many=True)
    real_ip_recursive: bool = setting(fields.switch, "off")
    server_tokens: bool = setting(fields.switch, "on")
    show_upstream_status: bool = setting(fields.switch, "off")


@frozen
class StatusSection:
    """``[status]``: the health listener; empty is off."""

    listen: tuple[Address, ...] = setting(fields.addresses(needed=False), "", many=True)


@frozen
class ControlSection:
    """``[control]``: the listener of the control API, which asks for no token; empty is off."""

    listen: tuple[Address, ...] = setting(fields.addresses(needed=False), "127.0.0.1:9090", many=True)


@frozen
class MetricsSection:
    """
    ``[metrics]``: where Prometheus scrapes.

    Attributes:
        listen: Where it listens; empty is off. path: Of the metrics.
        max_series: Sets of label values of one metric; what comes after them is counted together.
    """

    listen: tuple[Address, ...] = setting(fields.addresses(needed=False), "127.0.0.1:9091", many=True)
    path: str = setting(
        fields.matching("/[!-~]*", 1024, "a path that starts with /"), "/apisix/prometheus/metrics"
    )
    max_series: int = setting(fields.whole(1, 10_000_000), "10000")


@frozen
class StoreSection:
    """
    ``[store]``.

    Attributes:
        url: Where the configuration is kept. key_file: The key that encrypts secrets in it.
    """

    url: StoreUrl = setting(
        fields.store_url,
        "",
        stands_for={"": "sqlite:{data_dir}/gateway.db", "sqlite:": "sqlite:{data_dir}/gateway.db"},
    )
    key_file: Path = setting(fields.path, "", stands_for={"": "{data_dir}/secret.key"})


@frozen
class PluginsSection:
    """
    ``[plugins]``.

    Attributes:
        enabled: Names; None enables every plugin installed.
        jwt_auth_token_cache: Verified tokens remembered; 0 verifies each request anew.
        redirect_https_port: The port that ``http_to_https`` of redirect names.
        counters_keys: Counters of each sort that there is room for on this machine.
        mirror_in_flight, mirror_body_bytes, mirror_timeout_s: Of one proxy-mirror in one process: copies at a
            time, content of a copy, and how long one may take.
        logger_pending_entries, logger_pending_bytes, logger_batches_in_flight: Of one logger that sends
            entries, in one process: what may wait, and batches on their way at a time.
        file_logger_waiting_bytes: Of one file in one process: what may wait for the disk.
        logger_close_timeout_s: How long the last entries may take when the gateway stops.
        forward_auth_answer_bytes: Content of an authorisation service's answer.
        request_validation_thread_bytes: Content larger than this is checked in a thread.
        request_validation_form_fields: Fields of a form that is checked.
        redis_retry_s: The longest pause between two tries to reach a Redis that is down.
        regex_timeout_ms: How long one search for a regular expression may take.
    """

    enabled: tuple[str, ...] | None = setting(fields.names_or_all, "", many=True)
    jwt_auth_token_cache: int = setting(fields.whole(0, 10_000_000), "20000")
    redirect_https_port: int = setting(fields.whole(0, 65535), "0")
    counters_keys: int = setting(fields.whole(16, 10_000_000), "100000")
    redis_retry_s: float = setting(fields.seconds(0.1, 600), "2")
    mirror_in_flight: int = setting(fields.whole(1, 100_000), "100")
    mirror_body_bytes: int = setting(fields.whole(0, 2**30), "1048576")
    mirror_timeout_s: float = setting(fields.seconds(0.001, 3600), "60")
    logger_pending_entries: int = setting(fields.whole(1, 10_000_000), "8192")
    logger_pending_bytes: int = setting(fields.whole(1024, 2**34), "67108864")
    logger_batches_in_flight: int = setting(fields.whole(1, 1000), "8")
    file_logger_waiting_bytes: int = setting(fields.whole(1024, 2**34), "4194304")
    logger_close_timeout_s: float = setting(fields.seconds(0.001, 3600), "5")
    forward_auth_answer_bytes: int = setting(fields.whole(1, 2**30), "1048576")
    request_validation_thread_bytes: int = setting(fields.whole(0, 2**30), "65536")
    request_validation_form_fields: int = setting(fields.whole(1, 10_000_000), "10000")
    regex_timeout_ms: int = setting(fields.whole(10, 60_000), "50")

    @property
    def limits(self) -> Mapping[str, str]:
        """What plugins are given of this section (``PluginServices.settings``)."""
        return {
            name: str(value) for name, value in attrs.asdict(self, recurse=False).items() if name != "enabled"
        }


@frozen
class SecretsSection:
    """
    ``[secrets]``: what ``$secret://`` references stand for.

    Attributes:
        ttl_s: How long a value is used before its manager is asked again.
        failure_ttl_s: How long a failure is believed.
        timeout_s: How long one call to a manager may take; writes of what has a new reference wait for it.
    """

    ttl_s: float = setting(fields.seconds(1, 86400), "300")
    failure_ttl_s: float = setting(fields.seconds(1, 86400), "60")
    timeout_s: float = setting(fields.seconds(0.1, 60), "3")


@frozen
class LogSection:
    """
    ``[log]``.

    Attributes:
        level: The least level that is logged: debug, info, warn, error or critical.
        access: The access log's file, ``-`` for standard output, None for none.
        access_format: Its line; ``$name`` is a variable.
        access_sample: The share of requests that is written, 0 to 1; those answered with 5xx all are.
        access_flush_s, access_buffer_bytes: Lines are written when this long has passed or this
            much has gathered, whichever comes first.
    """

    level: str = setting(fields.one_of(("debug", "info", "warn", "error", "critical")), "info")
    access: Path | Literal["-"] | None = setting(
        fields.log_target, "on", stands_for={"on": "{data_dir}/access.log"}
    )
    access_format: str = setting(fields.line, ACCESS_FORMAT)
    access_sample: float = setting(fields.share, "1")
    access_flush_s: float = setting(fields.seconds(0, 3600), "3")
    access_buffer_bytes: int = setting(fields.whole(0, 2**26), "16384")


@frozen
class Settings:
    """
    Everything gw.ini and the environment say. Made by ``load_settings`` or ``settings_from``.

    Attributes:
        warnings: What works and is probably not what was meant; one line each.
    """

    gateway: GatewaySection
    admin: AdminSection
    apisix: ApisixSection
    proxy: ProxySection
    status: StatusSection
    control: ControlSection
    metrics: MetricsSection
    store: StoreSection
    plugins: PluginsSection
    secrets: SecretsSection
    log: LogSection
    warnings: tuple[str, ...] = ()


SECTIONS: Mapping[str, type[Any]] = {
    "gateway": GatewaySection,
    "admin": AdminSection,
    "apisix": ApisixSection,
    "proxy": ProxySection,
    "status": StatusSection,
    "control": ControlSection,
    "metrics": MetricsSection,
    "store": StoreSection,
    "plugins": PluginsSection,
    "secrets": SecretsSection,
    "log": LogSection,
}
"""Section name → its class."""

KEYS: Mapping[str, Mapping[str, str]] = {
    section: {one.name: one.metadata["default"] for one in attrs.fields(kind)}
    for section, kind in SECTIONS.items()
}
"""Section → key → the default's text."""


def load_settings(path: str | Path, environ: Mapping[str, str]) -> Settings:
    """
    Read the file at *path* and the overrides in *environ*, and check everything.

    Raises:
        SettingsErrors: with every problem found, in the order of the file's sections.
    """
    return _settings(read_file(Path(path), KEYS), read_environment(environ, KEYS))


def settings_from(
    values: Mapping[str, Mapping[str, str]], environ: Mapping[str, str] | None = None
) -> Settings:
    """As ``load_settings``, with section → key → text instead of a file."""
    return _settings(read_mapping(values, KEYS), read_environment(environ or {}, KEYS))


def _settings(file: Sources, environment: Sources) -> Settings:
    given = {**file.given, **environment.given}
    problems = [*file.problems, *environment.problems]

    def origin(section: str, key: str) -> str:
        one = given.get((section, key))
        return one.origin if one else ""

    def section(name: str, data_dir: str) -> Any:
        values = {}
        for one in attrs.fields(SECTIONS[name]):
            found = given.get((name, one.name))
            default: str = one.metadata["default"]
            try:
                values[one.name] = _value(one, default if found is None else found.text, data_dir)
            except ValueError as error:
                problems.append(f"[{name}] {one.name}: {error}{origin(name, one.name)}")
                # Something of the right type, so that the checks across keys can go on.
                values[one.name] = _value(one, default, data_dir)
        return SECTIONS[name](**values)

    gateway = section("gateway", "")
    others = {name: section(name, str(gateway.data_dir)) for name in SECTIONS if name != "gateway"}
    settings = Settings(gateway=gateway, **others)
    faults, warnings = _across(settings)
    problems.extend(f"[{name}] {key}: {text}{origin(name, key)}" for name, key, text in faults)
    if problems:
        raise SettingsErrors(problems)
    return attrs.evolve(settings, warnings=tuple(warnings))


def _value(one: attrs.Attribute[Any], text: str, data_dir: str) -> Any:
    long: str | None = one.metadata["stands_for"].get(text.lower())
    if long is not None:
        text = long.replace("{data_dir}", data_dir)
    if "\n" in text and not one.metadata["many"]:
        raise ValueError("must stand on one line; an indented line goes on with the one above")
    return one.metadata["read"](text)


def _across(settings: Settings) -> tuple[list[tuple[str, str, str]], list[str]]:
    # What no key can say alone: (section, key, problem) and warnings.
    faults: list[tuple[str, str, str]] = []
    warnings: list[str] = []
    admin, proxy, apisix = settings.admin, settings.proxy, settings.apisix
    faults.extend(_pair("admin", "", admin.certificate, admin.private_key, admin.tls))
    faults.extend(_pair("proxy", "tls_", proxy.tls_certificate, proxy.tls_private_key, True))
    wrong = certificates.cipher_fault(proxy.tls_ciphers)
    if wrong:
        faults.append(("proxy", "tls_ciphers", wrong))
    taken: dict[Address, str] = {}
    for where, listen in (
        ("[admin] listen", admin.listen),
        ("[apisix] listen", apisix.listen),
        ("[proxy] listen", proxy.listen),
        ("[proxy] tls_listen", proxy.tls_listen),
        ("[status] listen", settings.status.listen),
        ("[control] listen", settings.control.listen),
        ("[metrics] listen", settings.metrics.listen),
    ):
        section, key = where[1:].split("] ")
        for address in listen:
            other = taken.setdefault(address, where)
            if address.port and other != where:
                faults.append((section, key, f"{address} is taken by {other}"))
    if not proxy.listen and not proxy.tls_listen:
        faults.append(("proxy", "listen", "is empty, and so is tls_listen: nothing would be served"))
    if apisix.admin_key is not None and apisix.admin_key == apisix.viewer_key:
        faults.append(("apisix", "viewer_key", "must differ from admin_key"))
    for key, secret in (("admin_key", apisix.admin_key), ("viewer_key", apisix.viewer_key)):
        if secret is not None and len(secret.text) < WEAK_TOKEN_LENGTH:
            warnings.append(
                f"[apisix] {key}: is shorter than {WEAK_TOKEN_LENGTH} characters; it can be guessed"
            )
    if not apisix.admin_key_required:
        warnings.append("[apisix] admin_key_required: is off: whoever can connect can change everything")
    if not all(address.is_loopback for address in apisix.listen):
        warnings.append("[apisix] listen: is not on loopback: keys and secrets travel in the clear")
    if not admin.tls and not all(address.is_loopback for address in admin.listen):
        warnings.append(
            "[admin] tls: is off, and the listener is not on loopback: tokens travel in the clear"
        )
    if admin.token is not None and len(admin.token.text) < WEAK_TOKEN_LENGTH:
        warnings.append(f"[admin] token: is shorter than {WEAK_TOKEN_LENGTH} characters; it can be guessed")
    if admin.password is not None and len(admin.password.text) < WEAK_PASSWORD_LENGTH:
        warnings.append(
            f"[admin] password: is shorter than {WEAK_PASSWORD_LENGTH} characters; it can be guessed"
        )
    return faults, warnings


def _pair(
    section: str, prefix: str, certificate: Path | None, private_key: Path | None, used: bool
) -> list[tuple[str, str, str]]:
    if certificate is None and private_key is None:
        return []
    if certificate is None or private_key is None:
        given, missing = ("certificate", "private_key") if certificate else ("private_key", "certificate")
        return [(section, prefix + missing, f"is needed beside {prefix}{given}")]
    wrong = certificates.fault(certificate, private_key) if used else None
    return [] if wrong is None else [(section, prefix + wrong[0], wrong[1])]


def variable(section: str, key: str) -> str:
    """The environment variable that overrides ``[section] key``."""
    return variable_of(section, key)
