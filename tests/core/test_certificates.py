from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.certificates import EMPTY, CertificateTable, NoTLS, ServedSsl, TLSSession
from gateway.model.ssl import ClientAuth, KeyPair, Ssl
from tests.slow_regex import PATTERN, TEXT, short_limit

PAIR = KeyPair("cert", "key")


def ssl(id: str, *snis: str, **more: Any) -> Ssl:
    return Ssl(id, more.pop("type", "server"), (PAIR,), snis, **more)


def table(*ssls: Ssl) -> CertificateTable:
    return CertificateTable.of(ServedSsl(one, NoTLS().load(one)) for one in ssls)


class FindTests(SynchronousTestCase):
    def found(self, certificates: CertificateTable, name: str) -> str | None:
        served = certificates.find(name)
        return None if served is None else served.ssl.id

    def test_order(self) -> None:
        """Exact before wildcard, the longer wildcard before the shorter, a star alone last."""
        some = table(ssl("all", "*"), ssl("x", "*.x.test"), ssl("part", "*b.x.test"), ssl("a", "a.x.test"))
        for name, id in (
            ("a.x.test", "a"),
            ("c.x.test", "x"),
            ("ab.x.test", "part"),
            ("b.x.test", "x"),
            ("x.test", "all"),
            ("a.b.x.test", "all"),
            ("localhost", "all"),
        ):
            self.assertEqual(self.found(some, name), id, name)

    def test_one_label(self) -> None:
        """A star stands for one label (contract §12)."""
        some = table(ssl("x", "*.x.test"))
        self.assertEqual(self.found(some, "a.x.test"), "x")
        for name in ("x.test", ".x.test", "a.b.x.test", "ax.test", "", "a.x.test.other"):
            self.assertIsNone(self.found(some, name), name)

    def test_none(self) -> None:
        """Where nothing fits there is nothing, and nothing at all in an empty table."""
        self.assertIsNone(self.found(table(ssl("a", "a.test")), "b.test"))
        self.assertIsNone(self.found(EMPTY, "a.test"))

    def test_newer(self) -> None:
        """Of two for one name the newer counts, and the older is known to be overshadowed."""
        some = table(ssl("old", "a.test", "b.test"), ssl("new", "a.test"))
        self.assertEqual((self.found(some, "a.test"), self.found(some, "b.test")), ("new", "old"))
        self.assertEqual(some.shadowed, {"old": "a.test"})

    def test_off(self) -> None:
        """One that is off, or is for upstreams, is for no client."""
        some = table(ssl("off", "a.test", enabled=False), ssl("up", "a.test", type="client"))
        self.assertIsNone(self.found(some, "a.test"))
        self.assertEqual(list(some.clients), ["up"])


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = table(
            ssl("m", "m.test", client=ClientAuth("ca", 1, ("^/open/", r"\.ico$"))), ssl("o", "o.test")
        )

    def test_no_certificate(self) -> None:
        """A host that asks for certificates is served to those that have shown one (contract §12)."""
        without = TLSSession("m.test")
        why = self.table.refusal(without, "m.test", "/")
        self.assertEqual(why, "the client has shown no certificate")
        bad = TLSSession("m.test", fault="it has expired")
        why = self.table.refusal(bad, "M.test.", "/")
        self.assertEqual(why, "the client's certificate is not valid: it has expired")
        self.assertIsNone(self.table.refusal(TLSSession("m.test", verified=True), "m.test", "/"))

    def test_open(self) -> None:
        """Where one of the expressions is found in the path, nobody has to."""
        without = TLSSession("m.test")
        for path, fine in (("/open/x", True), ("/a.ico", True), ("/x/open/", False), ("/a.ico/x", False)):
            self.assertEqual(self.table.refusal(without, "m.test", path) is None, fine, path)

    def test_slow_expressions(self) -> None:
        """Where it takes too long to tell, a certificate is needed."""
        told = short_limit(self)
        some = table(ssl("m", "m.test", client=ClientAuth("ca", 1, (PATTERN,))))
        self.assertIsNone(some.refusal(TLSSession("m.test"), "m.test", "/aa"))
        why = some.refusal(TLSSession("m.test"), "m.test", f"/{TEXT}")
        self.assertEqual(why, "the client has shown no certificate")
        self.assertEqual([one.owner for one in told], ["ssl/m"])

    def test_another_name(self) -> None:
        """A certificate shown to one name is none for another."""
        for name in ("o.test", ""):
            why = self.table.refusal(TLSSession(name, verified=True), "m.test", "/")
            self.assertIn("not to the host of the request", why or "")

    def test_others(self) -> None:
        """Hosts that ask for nothing are served to everybody."""
        for host in ("o.test", "unknown.test", ""):
            self.assertIsNone(self.table.refusal(TLSSession("m.test"), host, "/"))
        self.assertFalse(table(ssl("o", "o.test")).guarded)
        self.assertIsNone(EMPTY.refusal(TLSSession(""), "m.test", "/"))
