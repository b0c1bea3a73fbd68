"""The certificates of the gateway's own listeners: served, replaced, renewed, told of before they expire."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.certificates import CertificateFiles, ReplaceableOptions, ensure_self_signed
from gateway.control.certificate_expiry import CertificateExpiry
from gateway.control.state import State
from gateway.core.secrets import Secrets
from gateway.settings import Settings

LOOK_S = 60.0
"""How often it is looked whether there is something to renew, or to tell."""

_log = Logger()


class CertificateCare:
    """
    Looks after certificates in the process that administers.

    Attributes:
        admin: What the listener of the Admin API is served with; None without TLS.
        expiry: When certificates expire, those of the configuration included.
    """

    def __init__(
        self,
        settings: Settings,
        state: Callable[[], State],
        now: Callable[[], float],
        environ: Mapping[str, str],
        secrets: Secrets,
    ) -> None:
        """
        Args:
            now: Tells the time, in Unix seconds. environ: Where ``$env://`` references are looked up.
            secrets: Knows what secret managers keep.
        Raises:
            OSError, ValueError: a file cannot be read, written or used.
        """
        self._settings = settings
        pair = _pair_of(settings)
        self.admin = None if pair is None else ReplaceableOptions(pair)
        self.expiry = CertificateExpiry(
            state,
            settings.gateway.group,
            now,
            files={},
            environ=environ,
            secrets=secrets,
            notice_days=settings.gateway.certificate_notice_days,
        )
        self._name_files(pair)
        self._looks = LoopingCall(self.look)

    def start(self, clock: Any) -> None:
        """Look now, and every ``LOOK_S``."""
        self._looks.clock = clock
        self._looks.start(LOOK_S)

    def stop(self) -> None:
        """Look no longer."""
        if self._looks.running:
            self._looks.stop()

    def reload(self, settings: Settings) -> None:
        """Go on with other settings; files are read anew. Raises as the constructor; nothing changes then."""
        pair = _pair_of(settings)
        if self.admin is not None and pair is not None:
            self.admin.replace(pair)
        self._settings = settings
        self._name_files(pair)
        self.expiry.set_notice(settings.gateway.certificate_notice_days)

    def look(self) -> None:
        """Make the gateway's own certificate anew if its time has come, and log those that expire soon."""
        try:
            if self.admin is not None and self._settings.admin.certificate is None:
                pair = _pair_of(self._settings)
                assert pair is not None
                self.admin.replace(pair)
            self.expiry.tell()
        except Exception:
            # It is looked again in a minute.
            _log.failure("looking after certificates failed")

    def _name_files(self, pair: CertificateFiles | None) -> None:
        settings = self._settings
        files = {} if pair is None else {"admin": pair.certificate}
        if settings.proxy.tls_certificate is not None:
            files["proxy"] = settings.proxy.tls_certificate
        self.expiry.files = files
        self.expiry.renewed = frozenset(("admin",) if settings.admin.certificate is None else ())


def _pair_of(settings: Settings) -> CertificateFiles | None:
    """The files for the Admin API, made if they are the gateway's own; None without TLS."""
    admin = settings.admin
    if not admin.tls:
        return None
    if admin.certificate is not None and admin.private_key is not None:
        return CertificateFiles(admin.certificate, admin.private_key)
    return ensure_self_signed(settings.gateway.data_dir, socket.gethostname())
