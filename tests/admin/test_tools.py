from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests import certs
from tests.admin.kit import Gateway


class ToolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def test_certificates(self) -> None:
        """A certificate is taken apart; a pair is told to belong together or not."""
        pair, other = certs.pair("a.test", "b.test"), certs.pair("c.test")
        reply = self.gateway.call("PUT", "/api/parse_certificate", {"cert": pair.cert})
        self.assertEqual((reply.status, reply.value["snis"]), (200, ["a.test", "b.test"]))
        self.assertGreater(reply.value["not_after"], reply.value["not_before"])
        body = {"cert": pair.cert, "key": pair.key}
        self.assertEqual(self.gateway.call("PUT", "/api/validate_cert_key", body).status, 200)
        reply = self.gateway.call("PUT", "/api/validate_cert_key", {**body, "key": other.key})
        self.assertEqual((reply.status, reply.error), (400, "failed to parse key: cert and key do not match"))
        reply = self.gateway.call("PUT", "/api/validate_cert_key", {"cert": "x", "key": "y"})
        self.assertEqual([e["pointer"] for e in reply.json["errors"]], ["/cert", "/key"])
        self.assertEqual(self.gateway.call("PUT", "/api/parse_certificate", {"cert": "x"}).status, 400)

    def test_settings(self) -> None:
        """System settings come back as they were put."""
        self.assertEqual(self.gateway.call("GET", "/api/system_settings").value, {"dp_manager_address": []})
        body = {"dp_manager_address": ["https://127.0.0.1:7943"]}
        self.assertEqual(self.gateway.call("PUT", "/api/system_settings", body).value, body)
        self.assertEqual(self.gateway.call("GET", "/api/system_settings").value, body)
        self.assertEqual(
            self.gateway.call("PUT", "/api/system_settings", {"dp_manager_address": 1}).status, 400
        )

    def test_licence(self) -> None:
        """A licence is taken, and needed for nothing."""
        self.assertEqual(self.gateway.call("PUT", "/api/license", {"data": "x"}).status, 200)
        self.assertEqual(self.gateway.call("GET", "/api/license").status, 405)
