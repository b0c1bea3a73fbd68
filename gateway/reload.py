"""Changed settings while the gateway runs (SIGHUP): which take effect, and which wait for a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import field, frozen

from gateway.settings import KEYS, Settings, load_settings

APPLIED: Mapping[str, frozenset[str]] = {
    "gateway": frozenset({"shutdown_grace_s", "certificate_notice_days"}),
    "admin": frozenset({"certificate", "private_key"}),
    "proxy": frozenset(
        {
            "tls_certificate",
            "tls_private_key",
            "tls_fallback_sni",
            "worker_timeout_s",
            "max_in_flight",
            "max_connections",
            "max_body_bytes",
            "max_header_bytes",
            "max_headers",
            "idle_timeout_s",
            "header_timeout_s",
            "body_timeout_s",
            "send_timeout_s",
            "half_closed_s",
            "linger_s",
            "linger_bytes",
            "read_ahead_bytes",
            "tunnel_idle_timeout_s",
            "upstream_max_header_bytes",
            "upstream_max_headers",
            "upstream_max_interim",
            "dns_ttl_s",
            "max_request_line_bytes",
            "max_chunk_line_bytes",
            "max_pipelined_bytes",
            "real_ip_from",
            "real_ip_header",
            "real_ip_recursive",
            "server_tokens",
            "show_upstream_status",
        }
    ),
    "plugins": frozenset({"regex_timeout_ms"}),
    "log": frozenset({"level", "access", "access_format", "access_flush_s", "access_buffer_bytes"}),
}
"""Section → keys that take effect while the gateway runs. The files of certificates are read anew, too."""


@frozen
class Source:
    """
    Where the settings came from, so that they can be read again.

    Attributes:
        path: The ini file. environ: What overrides it.
        set_log_level: Changes the least level that is logged.
    """

    path: str
    environ: Mapping[str, str] = field(repr=False)
    set_log_level: Callable[[str], None] = lambda level: None

    def load(self) -> Settings:
        """Read them. Raises SettingsErrors with everything that is wrong."""
        return load_settings(self.path, self.environ)


@frozen
class Reload:
    """
    What comes of settings that were read again.

    Attributes:
        settings: Those to run with: what takes effect is new, everything else as it was.
        applied, waiting: ``[section] key`` of what has changed, by whether it takes effect now.
    """

    settings: Settings
    applied: tuple[str, ...]
    waiting: tuple[str, ...]


def merge(running: Settings, fresh: Settings) -> Reload:
    """Compare the settings of a running gateway with those that were read again."""
    applied: list[str] = []
    waiting: list[str] = []
    sections: dict[str, Any] = {}
    for section, keys in KEYS.items():
        old, new = getattr(running, section), getattr(fresh, section)
        changed = {key: getattr(new, key) for key in keys if getattr(old, key) != getattr(new, key)}
        effective = {key: value for key, value in changed.items() if key in APPLIED.get(section, ())}
        applied += [f"[{section}] {key}" for key in effective]
        waiting += [f"[{section}] {key}" for key in changed if key not in effective]
        sections[section] = attrs.evolve(old, **effective)
    return Reload(attrs.evolve(running, **sections), tuple(applied), tuple(waiting))
