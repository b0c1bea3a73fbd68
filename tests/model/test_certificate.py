from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.certificate import CA_CERTIFICATE, CERTIFICATE, SNI
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
