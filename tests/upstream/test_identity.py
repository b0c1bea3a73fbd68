from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.upstream.identity import Authority, ClientIdentity
from tests import certs

CA = certs.authority()
LEAF = certs.pair("gateway.test", issuer=CA)
OTHER = certs.pair("other.test")


class IdentityTests(SynchronousTestCase):
    def test_load(self) -> None:
        """A chain with its key; equal if the texts are, and silent about the key."""
        one = ClientIdentity.load(LEAF.cert + CA.cert, LEAF.key)
        self.assertEqual([c.serial_number for c in one.chain], [LEAF.serial, CA.serial])
        self.assertEqual(one, ClientIdentity.load(LEAF.cert + CA.cert, LEAF.key))
        self.assertNotEqual(one, ClientIdentity.load(LEAF.cert, LEAF.key))
        self.assertNotIn("key", repr(one).lower())

    def test_refused(self) -> None:
        """What cannot be used is refused."""
        for cert, key in ((LEAF.cert, OTHER.key), ("x", LEAF.key), (LEAF.cert, "x")):
            self.assertRaises(ValueError, ClientIdentity.load, cert, key)


class AuthorityTests(SynchronousTestCase):
    def test_load(self) -> None:
        """One authority or several in one text."""
        both = Authority.load(CA.cert + OTHER.cert)
        self.assertEqual([c.serial_number for c in both.certificates], [CA.serial, OTHER.serial])
        self.assertNotEqual(both, Authority.load(CA.cert))
        self.assertRaises(ValueError, Authority.load, "x")
