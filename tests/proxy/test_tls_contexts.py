from __future__ import annotations

import gc
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.secrets import UnresolvedReference
from gateway.model import pem
from gateway.model.ssl import Ssl
from gateway.proxy.tls_contexts import ContextLoader
from gateway.settings import TLS_CIPHERS
from gateway.upstream.identity import ClientIdentity
from tests import certs

A = certs.pair("a.test")
RSA = certs.pair("a.test", kind="rsa")
SMALL = certs.pair("small.test", kind="small")


def parsed(**members: Any) -> Ssl:
    return Ssl.parse("x", {"cert": A.cert, "key": A.key, "snis": ["a.test"], **members})


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loader = ContextLoader({"CERT": A.cert, "KEY": A.key}, TLS_CIPHERS)

    def test_by_content(self) -> None:
        """The same content gives the same context, whoever it belongs to; other content another."""
        first: Any = self.loader.load(parsed())
        self.assertIs(self.loader.load(parsed(snis=["b.test"], labels={"a": "b"})), first)
        for other in ({"ssl_protocols": ["TLSv1.3"]}, {"client": {"ca": A.cert}}, {"certs": [RSA.cert]}):
            more = {"keys": [RSA.key]} if "certs" in other else {}
            self.assertIsNot(self.loader.load(parsed(**other, **more)), first)

    def test_forgotten(self) -> None:
        """A context that nobody uses any more is not kept."""
        context = self.loader.load(parsed())
        del context
        gc.collect()
        self.assertEqual(len(self.loader._contexts), 0)

    def test_references(self) -> None:
        """Certificate and key may stand in the environment; what is not there is said to be missing."""
        plain = self.loader.load(parsed())
        self.assertIs(self.loader.load(parsed(cert="$env://CERT", key="$ENV://KEY")), plain)
        for reference in ("$env://NONE", "$secret://vault/1/a/key"):
            self.assertRaises(UnresolvedReference, self.loader.load, parsed(key=reference))

    def test_refused(self) -> None:
        """What OpenSSL will not serve is refused in its words, without a word of the key."""
        error = self.assertRaises(ValueError, self.loader.load, parsed(cert=SMALL.cert, key=SMALL.key))
        self.assertIn("ee key too small", str(error))
        pair = {"certs": [SMALL.cert], "keys": [SMALL.key]}
        error = self.assertRaises(ValueError, self.loader.load, parsed(**pair))
        self.assertIn("cert-key pair[1]", str(error))
        for wrong in ({"key": RSA.key}, {"cert": "x"}, {"key": "x"}):
            self.assertRaises(ValueError, self.loader.load, parsed(**wrong))

    def test_client(self) -> None:
        """One for upstreams is a chain and its key."""
        ca = certs.authority()
        leaf = certs.pair("gateway.test", issuer=ca)
        identity: Any = self.loader.load(parsed(type="client", cert=leaf.cert + ca.cert, key=leaf.key))
        self.assertEqual([one.serial_number for one in identity.chain], [leaf.serial, ca.serial])
        self.assertNotIn("BEGIN", repr(identity))
        self.assertEqual(identity, ClientIdentity.load(leaf.cert + ca.cert, leaf.key))
        self.assertNotEqual(identity, ClientIdentity.load(A.cert, A.key))
        self.assertRaises(ValueError, ClientIdentity.load, A.cert, RSA.key)


class ContextTests(SynchronousTestCase):
    def shown(self, pairs: list[tuple[str, str]], ciphers: bytes) -> list[int]:
        """The serial numbers of the chain shown to a client of TLS 1.2 with only these cipher suites."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(ciphers)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        server = SSL.Connection(ContextLoader({}, TLS_CIPHERS).context(pairs), None)
        server.set_accept_state()
        certs.shake_hands(client, server)
        chain: Any = client.get_peer_cert_chain()
        return [one.get_serial_number() for one in chain]

    def test_chains(self) -> None:
        """Each kind of key is shown with a chain of its own."""
        ca, other = certs.authority("one.test"), certs.authority("two.test")
        ec = certs.pair("a.test", issuer=ca)
        rsa = certs.pair("a.test", kind="rsa", issuer=other)
        pairs = [(ec.cert + ca.cert, ec.key), (rsa.cert + other.cert, rsa.key)]
        self.assertEqual(self.shown(pairs, b"ECDHE-ECDSA-AES128-GCM-SHA256"), [ec.serial, ca.serial])
        self.assertEqual(self.shown(pairs, b"ECDHE-RSA-AES128-GCM-SHA256"), [rsa.serial, other.serial])
        self.assertEqual(self.shown(pairs[:1], b"ECDHE-ECDSA-AES128-GCM-SHA256"), [ec.serial, ca.serial])

    def test_long_chain(self) -> None:
        """A chain of any length is read as it stands."""
        self.assertEqual(len(pem.certificates(A.cert * 20)), 20)
