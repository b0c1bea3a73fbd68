from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.certificate import CA_CERTIFICATE, CERTIFICATE, SNI, expires_at, problems
from tests import certs
from tests.model.shapes import faults


class CertificateTests(SynchronousTestCase):
    def test_shapes(self) -> None:
        """A certificate has its key, a CA certificate has none, a name says which it is served with."""
        self.assertEqual(faults(CERTIFICATE, {"cert": "c", "key": "k", "name": "n"}), [])
        self.assertEqual(faults(CERTIFICATE, {"cert": "c"}), [("/key", "required")])
        self.assertEqual(faults(CA_CERTIFICATE, {"cert": "c"}), [])
        self.assertEqual(
            faults(CA_CERTIFICATE, {"cert": "c", "key": "k"}), [("/key", "additionalProperties")]
        )
        self.assertEqual(faults(SNI, {"domain": "*.a.test", "certificate_id": "c"}), [])
        self.assertEqual(faults(SNI, {"domain": "a"}), [("/certificate_id", "required")])

    def test_problems(self) -> None:
        """A certificate can be read, and its key is its own."""
        pair, other = certs.pair("a.test"), certs.pair("b.test")
        self.assertEqual(problems({"cert": pair.cert, "key": pair.key}), [])
        self.assertEqual(problems({"cert": pair.cert}), [])
        found = problems({"cert": pair.cert, "key": other.key})
        self.assertEqual([p.message for p in found], ["failed to parse key: cert and key do not match"])
        self.assertEqual([p.pointer for p in problems({"cert": "x", "key": "y"})], ["/cert", "/key"])
        self.assertIsNotNone(expires_at({"cert": pair.cert}))
        self.assertIsNone(expires_at({"cert": "x"}))
