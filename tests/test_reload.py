from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import SettingsErrors
from gateway.reload import APPLIED, Source, merge
from gateway.settings import KEYS, settings_from


class MergeTests(SynchronousTestCase):
    def test_keys(self) -> None:
        """Whatever is not said to take effect waits for a restart; and nothing is said that is not there."""
        for section, keys in APPLIED.items():
            self.assertLessEqual(keys, set(KEYS[section]), section)
        for key in ("listen", "tls_listen", "engine", "workers", "tls_ciphers"):
            self.assertNotIn(key, APPLIED["proxy"])

    def test_merge(self) -> None:
        """What can change takes effect, what cannot stays as it is; both are named."""
        running = settings_from({"proxy": {"listen": "127.0.0.1:1", "max_headers": "5"}})
        fresh = settings_from(
            {"proxy": {"listen": "127.0.0.1:2", "max_headers": "6"}, "log": {"level": "debug"}}
        )
        change = merge(running, fresh)
        self.assertEqual(change.applied, ("[proxy] max_headers", "[log] level"))
        self.assertEqual(change.waiting, ("[proxy] listen",))
        proxy = change.settings.proxy
        self.assertEqual(
            (proxy.listen[0].port, proxy.max_headers, change.settings.log.level), (1, 6, "debug")
        )

    def test_nothing(self) -> None:
        """The same settings change nothing."""
        change = merge(settings_from({}), settings_from({}))
        self.assertEqual((change.applied, change.waiting), ((), ()))


class SourceTests(SynchronousTestCase):
    def test_load(self) -> None:
        """The file is read again, and the environment wins as it did at the start."""
        path = Path(self.mktemp())
        source = Source(str(path), {"GATEWAY_PROXY_MAX_HEADERS": "9"})
        path.write_text("[proxy]\nmax_headers = 5\nmax_in_flight = 7\n")
        proxy = source.load().proxy
        self.assertEqual((proxy.max_headers, proxy.max_in_flight), (9, 7))
        path.write_text("[proxy]\nmax_in_flight = many\n[nonsense]\n")
        error = self.assertRaises(SettingsErrors, source.load)
        self.assertEqual(len(error.problems), 2)
