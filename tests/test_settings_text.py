"""Settings on their way to another process."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from gateway.settings import Settings, settings_from
from gateway.settings_text import from_text, to_text

EVERYTHING = {
    "gateway": {"data_dir": "some where/%d $x", "group": "g.1", "shutdown_grace_s": "0.125"},
    "admin": {"listen": "127.0.0.1:0, [::1]:7443", "tls": "off", "max_body_bytes": "2048"},
    "proxy": {
        "listen": "0.0.0.0:80, [::]:80",
        "tls_listen": "127.0.0.1:0",
        "workers": "auto",
        "worker_timeout_s": "0.5",
        "idle_timeout_s": "86400",
        "trusted_addresses": "10.0.0.0/8, ::1",
        "server_tokens": "off",
        "show_upstream_status": "on",
    },
    "plugins": {"enabled": "key-auth, jwt-auth", "jwt_auth_token_cache": "0"},
    "log": {"level": "debug", "access": "logs/a.log", "access_format": "$a; #  ü %s", "access_flush_s": "0"},
}


def travelled(settings: Settings) -> Settings:
    return from_text(json.loads(json.dumps(to_text(settings))))


class RoundTripTests(SynchronousTestCase):
    def same(self, values: dict[str, dict[str, str]]) -> None:
        settings = settings_from(values)
        self.assertEqual(travelled(settings), attrs.evolve(settings, warnings=()))

    def test_defaults(self) -> None:
        """The defaults arrive as they are."""
        self.same({})

    def test_everything(self) -> None:
        """So do settings of every kind."""
        self.same(EVERYTHING)

    def test_access_log(self) -> None:
        """No access log, and standard output, are kept apart."""
        for text in ("off", "-", "on"):
            self.same({"log": {"access": text}})

    def test_another_directory(self) -> None:
        """Relative paths are those of the process that read them."""
        texts = to_text(settings_from({"gateway": {"data_dir": "here"}}))
        self.assertEqual(texts["gateway"]["data_dir"], str(Path("here").absolute()))

    def test_no_secrets(self) -> None:
        """Tokens and keys stay where they are."""
        values = {
            "admin": {"token": "hidden-token-0123456789"},
            "apisix": {"admin_key": "hidden-key", "viewer_key": "hidden-viewer"},
        }
        settings = settings_from(values)
        self.assertNotIn("hidden", json.dumps(to_text(settings)))
        self.assertIsNone(travelled(settings).admin.token)

    def test_another_version(self) -> None:
        """A key that is missing has its default, one that nobody knows is passed over."""
        texts = {"gateway": {"data_dir": "/d", "new": "x"}, "newer": {"a": "b"}}
        settings = from_text(texts)
        self.assertEqual(settings.gateway.group, "default")
        self.assertEqual(settings.log.access, Path("/d/access.log"))
