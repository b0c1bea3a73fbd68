from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.certificates import authority, issued
from gateway.model import pem


class AuthorityTests(SynchronousTestCase):
    def test_issued(self) -> None:
        """What an authority signs is its own, is no authority, and fits its key."""
        mine, other = authority("a"), authority("a")
        pair = issued(mine, "data plane", 30)
        certificate = x509.load_pem_x509_certificate(pair.cert.encode())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(mine.cert.encode()))
        with self.assertRaises(InvalidSignature):
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(other.cert.encode()))
        self.assertFalse(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        self.assertTrue(pem.belong_together(certificate, pem.private_key(pair.key)))
        self.assertNotIn(pair.key, repr(pair))
