from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core import schema_words
from gateway.model.schema import Checker, fill_scalars
from gateway.model.ssl import APISIX_SCHEMA, DEFAULT_PROTOCOLS, SCHEMA, ClientAuth, KeyPair, Ssl, problems
from tests import certs
from tests.model.shapes import announced, faults, refused

CA = certs.authority()
EC = certs.pair("a.test")
RSA = certs.pair("a.test", kind="rsa")
PLAIN = {"cert": EC.cert, "key": EC.key, "snis": ["a.test"]}
FULL: dict[str, Any] = {
    **PLAIN,
    "id": "s",
    "type": "server",
    "certs": [RSA.cert],
    "keys": [RSA.key],
    "client": {"ca": CA.cert, "depth": 2, "skip_mtls_uri_regex": ["^/open/"]},
    "status": 1,
    "ssl_protocols": ["TLSv1.2", "TLSv1.3"],
    "labels": {"a": "b"},
    "desc": "x",
}


def said(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(JSON pointer, words) of every problem no schema can find."""
    return [(problem.pointer, problem.message) for problem in problems(document)]


class SchemaTests(SynchronousTestCase):
    def test_members(self) -> None:
        """Both dialects know the same members (contract §3.5, §5.5)."""
        for schema in (SCHEMA, APISIX_SCHEMA):
            self.assertEqual(faults(schema, FULL), [])
            self.assertEqual(faults(schema, {**FULL, "colour": 1}), [("/colour", "additionalProperties")])

    def test_needed(self) -> None:
        """A server needs sni or snis, but not both, with cert and key; a client only those."""
        pair = {"cert": EC.cert, "key": EC.key}
        for schema in (SCHEMA, APISIX_SCHEMA):
            self.assertEqual(faults(schema, {**pair, "sni": "a.test"}), [])
            self.assertEqual(faults(schema, {**pair, "type": "client"}), [])
            both, typed = {**PLAIN, "sni": "a.test"}, {**pair, "type": "server"}
            for wrong in (pair, {"snis": ["a.test"]}, both, typed):
                self.assertEqual([rule for _, rule in faults(schema, wrong)], ["oneOf"])
            self.assertEqual(
                faults(schema, {"type": "client"}), [("/key", "required"), ("/cert", "required")]
            )

    def test_words(self) -> None:
        """The apisix dialect says which clause did not match."""
        (problem,) = Checker(APISIX_SCHEMA).problems({"cert": EC.cert, "key": EC.key})
        self.assertEqual(schema_words.text(problem), "then clause did not match")

    def test_limits(self) -> None:
        """What is out of range is refused."""
        for member, values in (
            ("cert", ["x" * 127, "x" * 65537, 7, "$file://x"]),
            ("key", ["x" * 63, "x" * 65537, None]),
            ("snis", [[], ["a b"], ["a.*.test"], [""], ["a/b"]]),
            ("type", ["peer"]),
            ("status", [2, True, "1"]),
            ("ssl_protocols", [["SSLv3"], ["TLSv1.2", "TLSv1.2"], ["TLSv1"]]),
            ("client", [{}, {"ca": "x"}, {"ca": CA.cert, "depth": -1}, {"ca": CA.cert, "x": 1}]),
        ):
            for schema in (SCHEMA, APISIX_SCHEMA):
                self.assertEqual(refused(schema, PLAIN, member, values), values)

    def test_patterns(self) -> None:
        """Names may begin with a star, and a star alone is every name."""
        for schema in (SCHEMA, APISIX_SCHEMA):
            self.assertEqual(refused(schema, PLAIN, "snis", [["*"], ["*.a.test", "A.test."]]), [])

    def test_references(self) -> None:
        """Secrets may be kept elsewhere."""
        document = {"cert": "$env://CERT", "key": "$secret://vault/1/a/key", "sni": "a.test"}
        for schema in (SCHEMA, APISIX_SCHEMA):
            self.assertEqual(faults(schema, document), [])
        self.assertEqual(said(document), [])

    def test_defaults(self) -> None:
        """The enterprise dialect adds nothing (contract §6.4), the apisix one stores its defaults."""
        self.assertIsNone(announced(SCHEMA))
        self.assertEqual(fill_scalars(SCHEMA, PLAIN), PLAIN)
        filled = fill_scalars(APISIX_SCHEMA, {**PLAIN, "client": {"ca": CA.cert}})
        self.assertEqual((filled["type"], filled["status"], filled["client"]["depth"]), ("server", 1, 1))


class ProblemTests(SynchronousTestCase):
    def test_fine(self) -> None:
        """Pairs that fit, of two kinds, and an authority."""
        self.assertEqual(said(FULL), [])

    def test_first_pair(self) -> None:
        """What is wrong with cert and key is said in the contract's words, both at once."""
        self.assertEqual(
            said({**PLAIN, "cert": "x" * 128, "key": "y" * 128}),
            [
                ("/cert", "failed to parse cert: no PEM certificate that can be read"),
                ("/key", "failed to parse key: no PEM private key"),
            ],
        )
        mismatch = ("/key", "failed to parse key: cert and key do not match")
        self.assertEqual(said({**PLAIN, "key": RSA.key}), [mismatch])

    def test_more_pairs(self) -> None:
        """Further pairs are counted from one, and there are as many keys as certificates."""
        self.assertEqual(
            said({**PLAIN, "certs": [RSA.cert, RSA.cert], "keys": [RSA.key, EC.key]}),
            [
                (
                    "/keys/1",
                    "failed to handle cert-key pair[2]: failed to parse key: cert and key do not match",
                )
            ],
        )
        uneven = "mismatched number of certs and keys"
        self.assertEqual(said({**PLAIN, "certs": [RSA.cert]}), [("/certs", uneven)])
        self.assertEqual(said({**PLAIN, "keys": [RSA.key]}), [("/keys", uneven)])

    def test_client(self) -> None:
        """The authority can be read, and the expressions too."""
        client = {"ca": "x" * 128, "skip_mtls_uri_regex": ["^/a", "("]}
        (ca, pattern) = said({**PLAIN, "client": client})
        text = "failed to validate client_cert: failed to parse cert: no PEM certificate that can be read"
        self.assertEqual(ca, ("/client/ca", text))
        self.assertEqual(pattern[0], "/client/skip_mtls_uri_regex/1")
        self.assertIn("not a regular expression", pattern[1])


class ParseTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """Every member becomes what it says."""
        parsed = Ssl.parse("s", FULL)
        self.assertEqual(parsed.pairs, (KeyPair(EC.cert, EC.key), KeyPair(RSA.cert, RSA.key)))
        self.assertEqual(parsed.client, ClientAuth(CA.cert, 2, ("^/open/",)))
        self.assertEqual((parsed.type, parsed.enabled, parsed.protocols), ("server", True, DEFAULT_PROTOCOLS))

    def test_defaults(self) -> None:
        """A short document: a server's, on, TLS 1.2 and 1.3, and one intermediate authority."""
        parsed = Ssl.parse("s", {**PLAIN, "client": {"ca": CA.cert}})
        self.assertEqual((parsed.type, parsed.enabled, parsed.protocols), ("server", True, DEFAULT_PROTOCOLS))
        self.assertEqual(parsed.client, ClientAuth(CA.cert, 1, ()))
        off = Ssl.parse("s", {**PLAIN, "status": 0, "ssl_protocols": ["TLSv1.1"]})
        self.assertEqual((off.enabled, off.protocols), (False, {"TLSv1.1"}))

    def test_names(self) -> None:
        """Names are compared in lower case and without a dot at their end; one alone is a list of one."""
        names = Ssl.parse("s", {**PLAIN, "snis": ["A.Test.", "a.test", "*.B.test"]}).snis
        self.assertEqual(names, ("a.test", "*.b.test"))
        one = Ssl.parse("s", {"cert": EC.cert, "key": EC.key, "sni": "A.test"})
        self.assertEqual(one.snis, ("a.test",))

    def test_no_secrets_in_repr(self) -> None:
        """Neither keys nor certificates are in the repr."""
        self.assertNotIn("BEGIN", repr(Ssl.parse("s", FULL)))
