from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.certificate_care import LOOK_S, CertificateCare
from gateway.certificates import LOCAL_NAMES, self_signed
from gateway.control.state import State
from gateway.core.secrets import no_manager
from gateway.model.record import StoreView
from gateway.settings import Settings, settings_from
from gateway.telemetry.facts import expiry_of
from tests.certs import Pair, pair, shake_hands


class CertificateCareTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp()).absolute()
        self.data_dir.mkdir()

    def settings(self, **admin: str) -> Settings:
        return settings_from({"gateway": {"data_dir": str(self.data_dir)}, "admin": admin})

    def care(self, settings: Settings) -> CertificateCare:
        return CertificateCare(settings, lambda: State.of(StoreView(0, [])), time.time, {}, no_manager)

    def files(self, name: str, made: Pair) -> dict[str, str]:
        certificate, key = self.data_dir / f"{name}.crt", self.data_dir / f"{name}.key"
        certificate.write_text(made.cert)
        key.write_text(made.key)
        return {"certificate": str(certificate), "private_key": str(key)}

    def age(self, left: timedelta) -> int:
        """Put a self-signed pair in place that has so much to live; returns its serial number."""
        now = datetime.now(UTC)
        certificate, key = self_signed(LOCAL_NAMES, now, left)
        (self.data_dir / "admin.crt").write_bytes(certificate)
        (self.data_dir / "admin.key").write_bytes(key)
        return hash(certificate)

    def kept(self) -> int:
        return hash((self.data_dir / "admin.crt").read_bytes())

    def served(self, care: CertificateCare) -> int:
        """The serial number that a client is shown."""
        assert care.admin is not None
        protocol: Any = None
        server = care.admin.serverConnectionForTLS(protocol)
        server.set_accept_state()
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        shake_hands(client, server)
        shown = client.get_peer_certificate()
        assert shown is not None
        return shown.get_serial_number()

    def test_renewed(self) -> None:
        """The gateway's own certificate is made anew, and served, while it runs; nobody is warned of it."""
        young = self.age(timedelta(days=30))
        care = self.care(self.settings())
        clock = Clock()
        care.start(clock)
        before = self.served(care)
        self.assertEqual(self.kept(), young)
        old = self.age(timedelta(days=6))
        self.assertEqual(care.expiry.notices(), [])
        clock.advance(LOOK_S)
        self.assertNotEqual(self.kept(), old)
        self.assertNotEqual(self.served(care), before)
        ends = expiry_of((self.data_dir / "admin.crt").read_text())
        assert ends is not None
        self.assertGreater(ends, time.time() + 800 * 86400)
        care.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_given(self) -> None:
        """A certificate of the user's is served, read anew when told, and told of before its end."""
        one, two = pair("one.test"), pair("two.test")
        settings = self.settings(**self.files("own", one))
        care = self.care(settings)
        self.assertEqual(self.served(care), one.serial)
        self.assertEqual([key for key, _ in care.expiry.notices()], [("", "listener", "admin")])
        self.files("own", two)
        care.look()
        self.assertEqual(self.served(care), one.serial)
        care.reload(settings)
        self.assertEqual(self.served(care), two.serial)
        self.assertFalse((self.data_dir / "admin.crt").exists())

    def test_bad_files(self) -> None:
        """What cannot be used leaves the old one in place."""
        one = pair("one.test")
        settings = self.settings(**self.files("own", one))
        care = self.care(settings)
        (self.data_dir / "own.crt").write_text("nothing")
        self.assertRaises(ValueError, care.reload, settings)
        self.assertEqual(self.served(care), one.serial)

    def test_trouble(self) -> None:
        """When looking fails that is logged, and it is looked again."""
        care = self.care(self.settings())
        clock = Clock()
        self.patch(care.expiry, "tell", lambda: 1 / 0)
        care.start(clock)
        clock.advance(LOOK_S)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        care.stop()

    def test_without_tls(self) -> None:
        """Without TLS there is nothing to serve, and nothing is made."""
        care = self.care(self.settings(tls="off"))
        self.assertIsNone(care.admin)
        care.look()
        self.assertEqual((care.expiry.all(), list(self.data_dir.iterdir())), ([], []))
