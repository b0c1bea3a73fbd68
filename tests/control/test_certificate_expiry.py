from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.control.certificate_expiry import CertificateExpiry
from gateway.control.state import State
from gateway.core.secrets import UnresolvedReference
from gateway.model.record import Record, StoreView
from gateway.telemetry.facts import expiry_of
from tests.certs import pair

DAY_S = 86400.0
A, B = pair("a.test"), pair("b.test")


class CertificateExpiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        at = expiry_of(A.cert)
        assert at is not None
        self.ends = at
        self.now = at - 30 * DAY_S
        self.records: list[Record] = []
        self.expiry = CertificateExpiry(
            lambda: State.of(StoreView(1, self.records)),
            "default",
            lambda: self.now,
            files={},
            environ={"CERT": A.cert},
            secrets=self.secret,
            notice_days=14,
        )
        self.logged: list[Any] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def secret(self, reference: str) -> str:
        if reference != "$secret://vault/v/shop/cert":
            raise UnresolvedReference(reference)
        return B.cert

    def put(self, id: str, kind: str = "ssl", group: str = "default", **value: Any) -> None:
        self.records.append(Record(group, kind, id, value, "apisix", 0, 0, 5, 5))

    def told(self) -> list[tuple[Any, str]]:
        self.logged.clear()
        self.expiry.tell()
        return [(event["log_level"], f"{event['name']}: {event['words']}") for event in self.logged]

    def file(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    def test_all(self) -> None:
        """Resources of the group and files are read; what is off, elsewhere or unreadable is left out."""
        self.put("one", cert=A.cert, certs=[B.cert])
        self.put("off", cert=A.cert, status=0)
        self.put("ref", cert="$env://CERT")
        self.put("lost", cert="$env://NONE")
        self.put("kept", cert="$secret://vault/v/shop/cert")
        self.put("gone", cert="$secret://vault/v/shop/none")
        self.put("other", group="g", cert=A.cert)
        self.put("c", "certificate", cert=A.cert)
        self.put("ca", "ca_certificate", cert=A.cert)
        self.expiry.files = {"proxy": self.file(A.cert), "admin": Path("nowhere"), "odd": self.file("no PEM")}
        for _ in range(2):
            found = sorted(one.name for one in self.expiry.all())
            wanted = [
                "ca_certificate/ca",
                "certificate/c",
                "proxy",
                "ssl/kept",
                "ssl/one",
                "ssl/one",
                "ssl/ref",
            ]
            self.assertEqual(found, wanted)
        self.assertEqual({round(one.at - self.ends) // 60 for one in self.expiry.all()}, {0})

    def test_notices(self) -> None:
        """What has less than the days that were set is among the notices, in words."""
        self.put("one", cert=A.cert)
        self.assertEqual(self.expiry.notices(), [])
        day = datetime.fromtimestamp(self.ends, UTC).strftime("%Y-%m-%d")
        for left_s, words in (
            (14 * DAY_S, f"expires on {day}, in 14 days"),
            (DAY_S, f"expires on {day}, in a day"),
            (DAY_S - 1, f"expires on {day}, within a day"),
            (0, f"expired on {day}"),
            (-40 * DAY_S, f"expired on {day}"),
        ):
            self.now = self.ends - left_s
            notices = self.expiry.notices()
            self.assertEqual(notices, [(("default", "ssl", "one"), f"its certificate {words}")])
        self.expiry.set_notice(0)
        self.assertEqual((self.expiry.notices(), self.told()), ([], []))

    def test_logged_once_a_day(self) -> None:
        """Each is logged when its time comes, once a day, and at once when it has expired, or is another."""
        self.put("one", cert=A.cert)
        self.assertEqual(self.told(), [])
        self.now = self.ends - 3.5 * DAY_S
        ((level, text),) = self.told()
        self.assertEqual(level, LogLevel.warn)
        self.assertTrue(text.startswith("ssl/one: its certificate expires on "), text)
        self.now += 0.9 * DAY_S
        self.assertEqual(self.told(), [])
        self.now += 0.2 * DAY_S
        self.assertEqual(len(self.told()), 1)
        self.now = self.ends - 60
        self.assertEqual(len(self.told()), 1)
        self.now = self.ends + 60
        ((level, text),) = self.told()
        self.assertEqual((level, "expired on" in text), (LogLevel.error, True))
        self.assertEqual(self.told(), [])
        self.records.clear()
        self.assertEqual(self.told(), [])
        self.put("one", cert=A.cert)
        self.assertEqual(len(self.told()), 1)

    def test_own(self) -> None:
        """Nobody is told of a file that the gateway makes anew by itself."""
        self.now = self.ends - DAY_S
        self.expiry.files = {"admin": self.file(A.cert), "proxy": self.file(A.cert)}
        self.expiry.renewed = frozenset({"admin"})
        self.assertEqual([key for key, _ in self.expiry.notices()], [("", "listener", "proxy")])
