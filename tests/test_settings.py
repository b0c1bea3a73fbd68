"""The settings as a whole: defaults, overrides, every problem at once, what is checked across keys."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.certificates import self_signed
from gateway.errors import SettingsErrors
from gateway.settings import ACCESS_FORMAT, KEYS, Settings, load_settings, settings_from, variable
from gateway.settings_fields import Address

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf" / "gw.ini"


class Case(SynchronousTestCase):
    """What the tests below share."""

    def problems(self, values: dict[str, dict[str, str]], environ: dict[str, str] | None = None) -> list[str]:
        error = self.assertRaises(SettingsErrors, settings_from, values, environ)
        return list(error.problems)

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return str(path)


class DefaultTests(Case):
    """Without a word from the user."""

    def test_the_shipped_file_says_the_defaults(self) -> None:
        """conf/gw.ini holds every key with its default: it is its own manual."""
        self.assertEqual(load_settings(CONF, {}), settings_from({}))

    def test_listeners(self) -> None:
        """The usual ports (data-plane contract §1), on loopback only; status off."""
        settings = settings_from({})
        self.assertEqual(settings.admin.listen, (Address("127.0.0.1", 7443),))
        self.assertEqual(settings.proxy.listen, (Address("127.0.0.1", 9080),))
        self.assertEqual(settings.apisix.listen, (Address("127.0.0.1", 9180),))
        self.assertEqual(settings.proxy.tls_listen, (Address("127.0.0.1", 9443),))
        self.assertEqual(settings.status.listen, ())

    def test_timeouts(self) -> None:
        """The client's time limits are those users know (data-plane contract §1)."""
        proxy = settings_from({}).proxy
        self.assertEqual(
            (proxy.idle_timeout_s, proxy.header_timeout_s, proxy.body_timeout_s, proxy.send_timeout_s),
            (60, 60, 60, 10),
        )
        self.assertEqual((proxy.max_body_bytes, proxy.trusted_addresses), (0, None))

    def test_no_warnings(self) -> None:
        """The defaults give no cause for a warning."""
        self.assertEqual(settings_from({}).warnings, ())

    def test_everything_is_in_the_data_directory(self) -> None:
        """Store, key and access log follow the data directory unless they are given themselves."""
        settings = settings_from({"gateway": {"data_dir": "/srv/gw"}})
        self.assertEqual(str(settings.store.url), "sqlite:/srv/gw/gateway.db")
        self.assertEqual(settings.store.key_file, Path("/srv/gw/secret.key"))
        self.assertEqual(settings.log.access, Path("/srv/gw/access.log"))

    def test_braces_in_a_path(self) -> None:
        """A data directory may have any name."""
        settings = settings_from({"gateway": {"data_dir": "/srv/{x}%s$y"}})
        self.assertEqual(settings.store.url.path, Path("/srv/{x}%s$y/gateway.db"))

    def test_relative_paths_start_at_the_working_directory(self) -> None:
        """Paths are fixed when they are read; going elsewhere later changes nothing."""
        settings = settings_from({"store": {"url": "sqlite:db/g.db"}, "log": {"access": "logs/a"}})
        self.assertEqual(settings.gateway.data_dir, Path.cwd() / "var")
        self.assertEqual(settings.store.url.path, Path.cwd() / "db" / "g.db")
        self.assertEqual(settings.log.access, Path.cwd() / "logs" / "a")

    def test_access_log_words(self) -> None:
        """on, off and - mean what they say, and so does nothing at all."""
        for text, value in (("off", None), ("", None), ("-", "-"), ("on", Path.cwd() / "var/access.log")):
            self.assertEqual(settings_from({"log": {"access": text}}).log.access, value, text)

    def test_access_format(self) -> None:
        """The line is the one users know, and what the request ended with."""
        self.assertEqual(settings_from({}).log.access_format, ACCESS_FORMAT)
        self.assertTrue(ACCESS_FORMAT.endswith(' "$apisix_request_id" $outcome_by $reason'))

    def test_limits_for_plugins(self) -> None:
        """Plugins are given the section's limits as texts."""
        settings = settings_from({"plugins": {"jwt_auth_token_cache": "7"}})
        limits = settings.plugins.limits
        self.assertEqual((limits["jwt_auth_token_cache"], limits["counters_keys"]), ("7", "100000"))
        self.assertNotIn("enabled", limits)


class OverrideTests(Case):
    """The environment wins."""

    def test_everything_by_environment(self) -> None:
        """With a file that says nothing, the environment can say it all."""
        environ = {
            "GATEWAY_ADMIN_TOKEN": "a7ee-0123456789abcdef",
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
            "GATEWAY_PROXY_LISTEN": "[::1]:0",
            "GATEWAY_PROXY_WORKERS": "0",
            "GATEWAY_STORE_URL": "sqlite:/srv/other.db",
            "GATEWAY_GATEWAY_DATA_DIR": "/srv/gw",
        }
        settings = load_settings(self.file(b""), environ)
        assert settings.admin.token is not None
        self.assertEqual(settings.admin.token.text, "a7ee-0123456789abcdef")
        self.assertEqual(settings.admin.listen, (Address("127.0.0.1", 0),))
        self.assertEqual(settings.proxy.listen, (Address("::1", 0),))
        self.assertEqual(settings.store.url.path, Path("/srv/other.db"))
        self.assertEqual(settings.store.key_file, Path("/srv/gw/secret.key"))

    def test_every_key_has_a_variable(self) -> None:
        """Each key can be overridden, and a wrong value names its variable."""
        defaults = settings_from({})
        for section, keys in KEYS.items():
            for key, default in keys.items():
                self.assertEqual(settings_from({}, {variable(section, key): default}), defaults)

    def test_it_wins(self) -> None:
        """A variable overrides the file, whether it is more or nothing."""
        values = {"proxy": {"tls_listen": "127.0.0.1:9444", "max_headers": "50"}}
        environ = {"GATEWAY_PROXY_TLS_LISTEN": "", "GATEWAY_PROXY_MAX_HEADERS": "60"}
        proxy = settings_from(values, environ).proxy
        self.assertEqual((proxy.tls_listen, proxy.max_headers), ((), 60))


class ProblemTests(Case):
    """All of them, together."""

    def test_all_together(self) -> None:
        """Every problem of the file and of the environment is told at once, each with its place."""
        problems = self.problems(
            {
                "gateway": {"data_dir": "", "group": "a b"},
                "proxy": {"workers": "x", "nope": "1"},
                "log": {"level": "loud"},
            },
            {"GATEWAY_PROXY_IDLE_TIMEOUT_S": "60s", "GATEWAY_PROXY_WORKRS": "1"},
        )
        self.assertEqual(
            problems,
            [
                "[proxy] nope: no such key",
                "[proxy] workrs: no such key; did you mean GATEWAY_PROXY_WORKERS?"
                " (from the environment variable GATEWAY_PROXY_WORKRS)",
                "[gateway] data_dir: must be a path",
                "[gateway] group: must be 1–256 letters, digits, '-', '_' or '.', not 'a b'",
                "[proxy] workers: must be a whole number or auto, not 'x'",
                "[proxy] idle_timeout_s: must be a number of seconds, such as 60 or 0.5, not '60s'"
                " (from the environment variable GATEWAY_PROXY_IDLE_TIMEOUT_S)",
                "[log] level: must be one of debug, info, warn, error, critical, not 'loud'",
            ],
        )

    def test_missing_file(self) -> None:
        """A file that is not there is a problem, beside those of the environment."""
        error = self.assertRaises(SettingsErrors, load_settings, "gone.ini", {"GATEWAY_PROXY_WORKERS": "x"})
        self.assertEqual(len(error.problems), 2)
        self.assertIn("gone.ini: no such file", error.problems[0])

    def test_accidental_indentation(self) -> None:
        """A key that was indented by accident does not become part of the value above it."""
        error = self.assertRaises(
            SettingsErrors, load_settings, self.file(b"[proxy]\nworkers = 0\n  max_headers = 5\n"), {}
        )
        self.assertIn("[proxy] workers: must stand on one line", error.problems[0])

    def test_secrets_are_never_repeated(self) -> None:
        """No problem, no repr shows a token or a key."""
        values = {
            "admin": {"token": "hunter2 hunter2"},
            "apisix": {"admin_key": "hunter2é", "viewer_key": "hunter2 x"},
        }
        self.assertEqual(len(self.problems(values)), 3)
        self.assertNotIn("hunter2", str(self.problems(values)))
        settings = settings_from(
            {
                "admin": {"token": "hunter2" * 3},
                "apisix": {"admin_key": "hunter2", "viewer_key": "hunter2-b"},
            }
        )
        self.assertNotIn("hunter2", f"{settings!r} {settings} {settings.warnings}")

    def test_bounds(self) -> None:
        """Every number has bounds: far too large is a problem, and below zero too."""
        for section, keys in KEYS.items():
            for key, default in keys.items():
                if default.isdigit():
                    for text in ("-1", "9" * 17):
                        self.assertEqual(len(self.problems({section: {key: text}})), 1, f"{key} {text}")


class AcrossTests(Case):
    """What no key can say alone."""

    def warnings(self, values: dict[str, dict[str, str]]) -> list[str]:
        return list(settings_from(values).warnings)

    def test_one_address_for_two_listeners(self) -> None:
        """Two listeners on one address are refused; port 0 is never the same."""
        self.assertEqual(
            self.problems(
                {"status": {"listen": "127.0.0.1:9080"}, "proxy": {"tls_listen": "127.0.0.1:7443"}}
            ),
            [
                "[proxy] tls_listen: 127.0.0.1:7443 is taken by [admin] listen",
                "[status] listen: 127.0.0.1:9080 is taken by [proxy] listen",
            ],
        )
        zero = {"listen": "127.0.0.1:0"}
        settings_from({"admin": zero, "proxy": zero, "status": zero})

    def test_nothing_to_serve(self) -> None:
        """A gateway with no data-plane listener is refused; one with HTTPS alone is fine."""
        self.assertIn(
            "nothing would be served", self.problems({"proxy": {"listen": "", "tls_listen": ""}})[0]
        )
        settings_from({"proxy": {"listen": "", "tls_listen": "127.0.0.1:0"}})

    def test_workers(self) -> None:
        """Asking for workers works, and is nothing to warn about."""
        for text in ("0", "4", "auto"):
            self.assertEqual(self.warnings({"proxy": {"workers": text}}), [])

    def test_apisix_keys(self) -> None:
        """A key that can be guessed is warned about, and so is a listener that others can reach."""
        (warning,) = self.warnings({"apisix": {"admin_key": "k1"}})
        self.assertIn("can be guessed", warning)
        self.assertEqual(self.warnings({"apisix": {"admin_key": "k" * 16}}), [])
        (warning,) = self.warnings({"apisix": {"admin_key_required": "off"}})
        self.assertIn("can change everything", warning)
        (warning,) = self.warnings({"apisix": {"listen": "0.0.0.0:9180"}})
        self.assertIn("in the clear", warning)
        self.assertIn("must differ", self.problems({"apisix": {"admin_key": "k", "viewer_key": "k"}})[0])

    def test_clear_tokens_are_warned_about(self) -> None:
        """HTTP administration that others can reach is warned about, on loopback it is not."""
        self.assertEqual(self.warnings({"admin": {"tls": "off"}}), [])
        (warning,) = self.warnings({"admin": {"tls": "off", "listen": "0.0.0.0:7443"}})
        self.assertIn("in the clear", warning)

    def test_weak_tokens_are_warned_about(self) -> None:
        """A short token works and is warned about, without repeating it."""
        (warning,) = self.warnings({"admin": {"token": "hunter2"}})
        self.assertIn("can be guessed", warning)
        self.assertNotIn("hunter2", warning)


class CertificateTests(Case):
    """``[admin] certificate`` and ``private_key`` are tried at the start."""

    def pair(self, **more: Any) -> tuple[str, str]:
        certificate, key = self_signed(["localhost"], datetime.now(UTC), **more)
        return self.file(certificate), self.file(key)

    def with_pair(self, certificate: str, key: str, **more: str) -> Settings:
        return settings_from({"admin": {"certificate": certificate, "private_key": key, **more}})

    def test_a_good_pair(self) -> None:
        """A certificate with its key is taken."""
        certificate, key = self.pair()
        self.assertEqual(self.with_pair(certificate, key).admin.certificate, Path(certificate))

    def test_one_without_the_other(self) -> None:
        """A certificate needs its key and the other way round."""
        certificate, key = self.pair()
        self.assertEqual(
            self.problems({"admin": {"certificate": certificate}}),
            ["[admin] private_key: is needed beside certificate"],
        )
        self.assertEqual(
            self.problems({"admin": {"private_key": key}}),
            ["[admin] certificate: is needed beside private_key"],
        )

    def test_bad_pairs(self) -> None:
        """Files that are missing, damaged, expired or strangers to each other are refused by name."""
        certificate, key = self.pair()
        _, other = self.pair()
        old, old_key = self.pair(lifetime=timedelta(minutes=1))
        junk = self.file(b"-----BEGIN nothing-----\n")
        for pair, words in (
            ((certificate, other), f"[admin] private_key: {other} is not the key of {certificate}"),
            ((certificate, "/nowhere/k.pem"), "[admin] private_key: /nowhere/k.pem cannot be read"),
            (("/nowhere/c.pem", key), "[admin] certificate: /nowhere/c.pem cannot be read"),
            ((junk, key), f"[admin] certificate: {junk} holds no PEM certificate"),
            ((certificate, junk), f"[admin] private_key: {junk} holds no PEM private key"),
            ((old, old_key), f"[admin] certificate: {old} expired"),
        ):
            error = self.assertRaises(SettingsErrors, self.with_pair, *pair)
            self.assertEqual(len(error.problems), 1)
            self.assertIn(words, error.problems[0])

    def test_without_tls_they_are_not_read(self) -> None:
        """With TLS off, the files need not be there."""
        self.assertFalse(self.with_pair("/nowhere/c", "/nowhere/k", tls="off").admin.tls)


class ProxyCertificateTests(Case):
    """``[proxy] tls_certificate`` and its neighbours."""

    pair = CertificateTests.pair

    def test_pair(self) -> None:
        """The pair is tried like that of the admin listener."""
        certificate, key = self.pair()
        proxy = settings_from({"proxy": {"tls_certificate": certificate, "tls_private_key": key}}).proxy
        self.assertEqual(proxy.tls_certificate, Path(certificate))
        self.assertEqual(
            self.problems({"proxy": {"tls_private_key": key}}),
            ["[proxy] tls_certificate: is needed beside tls_private_key"],
        )
        (problem,) = self.problems({"proxy": {"tls_certificate": key, "tls_private_key": key}})
        self.assertEqual(problem, f"[proxy] tls_certificate: {key} holds no PEM certificate")

    def test_name_and_ciphers(self) -> None:
        """The fallback is a host name, in lower case; OpenSSL knows the cipher suites."""
        proxy = settings_from({"proxy": {"tls_fallback_sni": "A.Test.", "tls_ciphers": "ECDHE+AESGCM"}}).proxy
        self.assertEqual((proxy.tls_fallback_sni, proxy.tls_ciphers), ("a.test", "ECDHE+AESGCM"))
        self.assertEqual(
            self.problems({"proxy": {"tls_fallback_sni": "a b", "tls_ciphers": "NONE-SUCH"}}),
            [
                "[proxy] tls_fallback_sni: must be a host name, not 'a b'",
                "[proxy] tls_ciphers: OpenSSL knows no cipher suite in it",
            ],
        )


class RealEnvironmentTests(Case):
    """The process's own environment."""

    def test_a_plain_environment_is_fine(self) -> None:
        """Where nobody set a GATEWAY_ variable, the environment changes nothing."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        self.assertEqual(load_settings(CONF, environ), settings_from({}))
