from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import pem
from tests import certs

CA = certs.authority()
LEAF = certs.pair("a.test", issuer=CA)
RSA = certs.pair("a.test", kind="rsa")


class CertificateTests(SynchronousTestCase):
    def test_chain(self) -> None:
        """A chain is read in order, the certificate that is meant first; text around it does no harm."""
        found = pem.certificates("a note\n" + LEAF.cert + "\n" + CA.cert)
        self.assertEqual([one.serial_number for one in found], [LEAF.serial, CA.serial])

    def test_refused(self) -> None:
        """What is no certificate is refused in words that do not quote it."""
        damaged = LEAF.cert.replace("MII", "NII", 1)
        for text in ("", "hunter2", LEAF.key, damaged, LEAF.cert[:200], "-----BEGIN CERTIFICATE-----\né"):
            error = self.assertRaises(pem.PemError, pem.certificates, text)
            self.assertEqual(str(error), "no PEM certificate that can be read")


class PrivateKeyTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """RSA and elliptic curve keys are read, also with parameters or a certificate beside them."""
        for one in (LEAF, RSA):
            key = pem.private_key(
                "-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n" + one.key
            )
            self.assertTrue(pem.belong_together(pem.certificates(one.cert)[0], key))
            self.assertTrue(pem.private_key(one.cert + one.key))

    def test_refused(self) -> None:
        """No key, several, a damaged one, one with a passphrase, one that TLS has no use for."""
        other = dsa.generate_private_key(1024).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        for text, words in (
            ("", "no PEM private key"),
            (LEAF.cert, "no PEM private key"),
            (LEAF.key + RSA.key, "more than one private key"),
            (LEAF.key.replace("MIG", "NIG", 1), "no PEM private key that can be read"),
            (LEAF.encrypted_key(), "the key is encrypted; give it without a passphrase"),
            (other.decode(), "a key of this kind cannot be used with TLS"),
        ):
            self.assertEqual(str(self.assertRaises(pem.PemError, pem.private_key, text)), words)

    def test_another(self) -> None:
        """Another key, of the same kind or not, is told from the right one."""
        certificate = pem.certificates(LEAF.cert)[0]
        for other in (CA, RSA):
            self.assertFalse(pem.belong_together(certificate, pem.private_key(other.key)))
