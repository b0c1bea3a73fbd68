"""Tests for gateway.core.jws."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import sys

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core import jws
from gateway.testing import tokens

JOE = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
MESSAGE = b"header.payload"


def plain(text: str) -> bytes:
    """Decode unpadded base64url, leniently: independent of the code under test."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text: str) -> int:
    return int.from_bytes(plain(text), "big")


def pem(key: object) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[attr-defined]


def bound(algorithm: str) -> jws.Verifier:
    """The verifier for the signatures of ``tokens.sign(algorithm, tokens.signing_key(algorithm), ...)``."""
    if algorithm.startswith("HS"):
        return jws.verifier(algorithm, jws.import_secret(algorithm, tokens.SECRET.encode()))
    text = tokens.public_pem(tokens.private_key(algorithm))
    return jws.verifier(algorithm, jws.import_public_key(algorithm, text))


class PublishedExampleTests(SynchronousTestCase):
    """The examples of the standards verify, and stop to verify when one byte changes."""

    def check(self, verify: jws.Verifier, token: str) -> None:
        signing_input, _, signature = token.rpartition(".")
        raw = plain(signature)
        self.assertTrue(verify(signing_input.encode(), raw))
        self.assertFalse(verify(signing_input.encode() + b"A", raw))
        for index in (0, len(raw) // 2, len(raw) - 1):
            changed = bytearray(raw)
            changed[index] ^= 1
            self.assertFalse(verify(signing_input.encode(), bytes(changed)))

    def test_hs256(self) -> None:
        """RFC 7515 appendix A.1 verifies."""
        key = plain("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        verify = jws.verifier("HS256", jws.import_secret("HS256", key))
        self.check(
            verify,
            f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        )

    def test_rs256(self) -> None:
        """RFC 7515 appendix A.2 verifies."""
        modulus = number(
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Q"
            "lL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBY"
            "UsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNm"
            "oudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
        )
        key = rsa.RSAPublicNumbers(65537, modulus).public_key()
        self.check(
            jws.verifier("RS256", jws.import_public_key("RS256", pem(key))),
            f"eyJhbGciOiJSUzI1NiJ9.{JOE}."
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5juj"
            "Gbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe"
            "7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8"
            "np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        )

    def test_es256(self) -> None:
        """RFC 7515 appendix A.3 verifies."""
        x = number("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
        y = number("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        self.check(
            jws.verifier("ES256", jws.import_public_key("ES256", pem(key))),
            f"eyJhbGciOiJFUzI1NiJ9.{JOE}."
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        )

    def test_es512(self) -> None:
        """RFC 7515 appendix A.4 verifies."""
        x = number("AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk")
        y = number("ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2")
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP521R1()).public_key()
        r = [
            *(
                1,
                220,
                12,
                129,
                231,
                171,
                194,
                209,
                232,
                135,
                233,
                117,
                247,
                105,
                122,
                210,
                26,
                125,
                192,
                1,
                217,
            ),
            *(
                21,
                82,
                91,
                45,
                240,
                255,
                83,
                19,
                34,
                239,
                71,
                48,
                157,
                147,
                152,
                105,
                18,
                53,
                108,
                163,
                214,
                68,
            ),
            *(
                231,
                62,
                153,
                150,
                106,
                194,
                164,
                246,
                72,
                143,
                138,
                24,
                50,
                129,
                223,
                133,
                206,
                209,
                172,
                63,
                237,
            ),
            *(119, 109),
        ]
        s = [
            *(
                0,
                111,
                6,
                105,
                44,
                5,
                41,
                208,
                128,
                61,
                152,
                40,
                92,
                61,
                152,
                4,
                150,
                66,
                60,
                69,
                247,
                196,
                170,
            ),
            *(
                81,
                193,
                199,
                78,
                59,
                194,
                169,
                16,
                124,
                9,
                143,
                42,
                142,
                131,
                48,
                206,
                238,
                34,
                175,
                83,
                203,
                220,
            ),
            *(159, 3, 107, 155, 22, 27, 73, 111, 68, 68, 21, 238, 144, 229, 232, 148, 188, 222, 59, 242, 103),
        ]
        signature = tokens.b64url(bytes(r) + bytes(s))
        self.check(
            jws.verifier("ES512", jws.import_public_key("ES512", pem(key))),
            f"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.{signature}",
        )

    def test_eddsa(self) -> None:
        """RFC 8037 appendix A.4 verifies."""
        key = ed25519.Ed25519PublicKey.from_public_bytes(plain("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
        self.check(
            jws.verifier("EdDSA", jws.import_public_key("EdDSA", pem(key))),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        )


class VerifierTests(SynchronousTestCase):
    def test_every_algorithm_round_trips(self) -> None:
        """What an independent signer signs verifies, for all 13 algorithms, and for no other text."""
        self.assertEqual(len(jws.ALGORITHMS), 13)
        for algorithm in jws.ALGORITHMS:
            signature = tokens.sign(algorithm, tokens.signing_key(algorithm), MESSAGE)
            verify = bound(algorithm)
            self.assertTrue(verify(MESSAGE, signature), algorithm)
            self.assertFalse(verify(MESSAGE + b"x", signature), algorithm)

    def test_no_none(self) -> None:
        """``none`` is no algorithm."""
        self.assertNotIn("none", jws.ALGORITHMS)
        self.assertRaises(ValueError, jws.verifier, "none", jws.import_secret("HS256", b"x"))

    def test_ed448(self) -> None:
        """EdDSA takes Ed448 keys too."""
        key = ed448.Ed448PrivateKey.generate()
        verify = jws.verifier("EdDSA", jws.import_public_key("EdDSA", tokens.public_pem(key)))
        self.assertTrue(verify(MESSAGE, key.sign(MESSAGE)))
        self.assertFalse(verify(MESSAGE, key.sign(MESSAGE)[:-1]))

    def test_larger_rsa_keys(self) -> None:
        """A PSS or PKCS #1 signature may be as long as the key's modulus, not only 256 bytes."""
        key = tokens.rsa_key(3072)
        for algorithm in ("PS256", "RS512"):
            verify = jws.verifier(algorithm, jws.import_public_key(algorithm, tokens.public_pem(key)))
            signature = tokens.sign(algorithm, key, MESSAGE)
            self.assertEqual(len(signature), 384)
            self.assertTrue(verify(MESSAGE, signature))

    def test_pkcs1_pem(self) -> None:
        """An ``RSA PUBLIC KEY`` block is as good as a ``PUBLIC KEY`` block."""
        key = tokens.rsa_key()
        text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
        verify = jws.verifier("RS256", jws.import_public_key("RS256", text))
        self.assertTrue(verify(MESSAGE, tokens.sign("RS256", key, MESSAGE)))

    def test_short_secrets(self) -> None:
        """Secrets shorter than the hash work, down to one byte."""
        for secret in (b"my-shared-secret", b"x", b"\x00\xff"):
            for algorithm in jws.HMAC_ALGORITHMS:
                verify = jws.verifier(algorithm, jws.import_secret(algorithm, secret))
                mac = hmac.new(secret, MESSAGE, getattr(hashlib, f"sha{algorithm[2:]}")).digest()
                self.assertTrue(verify(MESSAGE, mac))

    def test_other_lengths(self) -> None:
        """A signature that is cut, extended or empty is bad, and nothing breaks."""
        for algorithm in jws.ALGORITHMS:
            verify = bound(algorithm)
            signature = tokens.sign(algorithm, tokens.signing_key(algorithm), MESSAGE)
            for bad in (b"", b"abc", signature[:-1], signature + b"\0", b"\0" + signature, signature * 2):
                self.assertFalse(verify(MESSAGE, bad), (algorithm, len(bad)))

    def test_no_der(self) -> None:
        """An ECDSA signature in DER form is bad: JWS wants the two numbers side by side."""
        key = tokens.private_key("ES256")
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.assertFalse(bound("ES256")(MESSAGE, key.sign(MESSAGE, ec.ECDSA(SHA256()))))

    def test_ecdsa_numbers_out_of_range(self) -> None:
        """Zero, the group's order and numbers above it are bad: the "psychic signature" class of bugs."""
        orders = {
            "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
            "ES512": int(
                "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa"
                "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
                16,
            ),
        }
        for algorithm, order in orders.items():
            verify = bound(algorithm)
            good = tokens.sign(algorithm, tokens.signing_key(algorithm), MESSAGE)
            size = len(good) // 2
            r, s = int.from_bytes(good[:size], "big"), int.from_bytes(good[size:], "big")
            top = 256**size - 1
            for pair in (
                *((0, 0), (0, 1), (1, 0), (r, 0), (0, s), (order, order), (r, order), (order, s)),
                *((r, min(top, s + order)), (min(top, r + order), s), (top, top), (1, 1)),
            ):
                raw = b"".join(n.to_bytes(size, "big") for n in pair)
                self.assertFalse(verify(MESSAGE, raw), algorithm)

    def test_rsa_paddings_are_apart(self) -> None:
        """A PKCS #1 v1.5 signature does not pass for PSS, nor the other way, nor with another hash."""
        key = tokens.rsa_key()
        for made, wanted in (("RS256", "PS256"), ("PS256", "RS256"), ("RS384", "RS256"), ("PS512", "PS256")):
            self.assertFalse(bound(wanted)(MESSAGE, tokens.sign(made, key, MESSAGE)), (made, wanted))

    def test_pss_salt(self) -> None:
        """The PSS salt is as long as the hash (RFC 7518 section 3.5)."""
        unsalted = tokens.rsa_key().sign(MESSAGE, padding.PSS(padding.MGF1(SHA256()), 0), SHA256())
        self.assertFalse(bound("PS256")(MESSAGE, unsalted))

    def test_a_key_serves_one_algorithm(self) -> None:
        """A key imported for one algorithm is not usable for another."""
        key = jws.import_public_key("RS256", tokens.public_pem(tokens.rsa_key()))
        for algorithm in ("RS512", "PS256", "HS256"):
            self.assertRaises(ValueError, jws.verifier, algorithm, key)

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from(jws.ALGORITHMS), st.binary(max_size=80), st.data())
    def test_random_signatures(self, algorithm: str, message: bytes, data: st.DataObject) -> None:
        """Random bytes of the right length are never a signature, and never an error."""
        good = tokens.sign(algorithm, tokens.signing_key(algorithm), b"something else entirely")
        signature = data.draw(st.binary(min_size=len(good), max_size=len(good)))
        self.assertIs(bound(algorithm)(message, signature), False)


class ImportTests(SynchronousTestCase):
    def refused(self, algorithm: str, text: str) -> str:
        return str(self.assertRaises(ValueError, jws.import_public_key, algorithm, text))

    def test_weak_rsa(self) -> None:
        """RSA keys under 2048 bits are refused, and the text names public_key."""
        text = tokens.public_pem(tokens.rsa_key(1024))
        for algorithm in ("RS256", "PS512"):
            self.assertEqual(
                self.refused(algorithm, text), "public_key is an RSA key of 1024 bits; needed: 2048 to 16384"
            )

    def test_curve_and_type(self) -> None:
        """A key of another type or curve than the algorithm's is refused."""
        texts = {
            "RS256": tokens.public_pem(tokens.private_key("RS256")),
            "ES256": tokens.public_pem(tokens.private_key("ES256")),
            "ES384": tokens.public_pem(tokens.private_key("ES384")),
            "ES512": tokens.public_pem(tokens.private_key("ES512")),
            "EdDSA": tokens.public_pem(tokens.private_key("EdDSA")),
            "X25519": pem(x25519.X25519PrivateKey.generate().public_key()),
            "secp256k1": tokens.public_pem(ec.generate_private_key(ec.SECP256K1())),
            "brainpool": tokens.public_pem(ec.generate_private_key(ec.BrainpoolP256R1())),
        }
        for algorithm in ("RS256", "ES256", "ES384", "ES512", "EdDSA"):
            for kind, text in texts.items():
                if kind != algorithm:
                    self.assertIn("public_key is not an", self.refused(algorithm, text))

    def test_private_key(self) -> None:
        """A private key is refused with words that say so, and is not repeated."""
        for algorithm in ("RS256", "ES256", "EdDSA"):
            text = tokens.private_pem(tokens.private_key(algorithm))
            message = self.refused(algorithm, text)
            self.assertIn("public_key holds a private key", message)
            self.assertNotIn(text.splitlines()[1], message)

    def test_no_key(self) -> None:
        """What is no public key is refused: nonsense, cut PEM, a certificate, text beyond ASCII."""
        good = tokens.public_pem(tokens.rsa_key())
        for text in ("", "nonsense", good[:100], good.replace("PUBLIC", "PUBLISHED"), "\ud800", "ключ", "\0"):
            self.assertIn("missing valid public key", self.refused("RS256", text))
        self.assertIn("certificate", self.refused("RS256", "-----BEGIN CERTIFICATE-----\n"))

    def test_secrets_that_are_keys(self) -> None:
        """The text of a public key cannot become a MAC key; neither can nothing."""
        ssh = tokens.private_key("EdDSA").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        for secret in (tokens.public_pem(tokens.rsa_key()).encode(), ssh):
            error = self.assertRaises(ValueError, jws.import_secret, "HS256", secret)
            self.assertIn("is the text of a PEM or SSH key", str(error))
        self.assertRaises(ValueError, jws.import_secret, "HS256", b"")

    def test_no_key_in_repr(self) -> None:
        """Neither a secret nor a key object shows in a repr."""
        self.assertNotIn("shared", repr(jws.import_secret("HS256", b"my-shared-secret")))

    def test_quiet(self) -> None:
        """Importing the module shows no deprecation warning, even where warnings are errors."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", "import gateway.core.jws"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
