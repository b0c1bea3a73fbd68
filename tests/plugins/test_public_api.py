"""Tests for gateway.plugins.public_api."""

from __future__ import annotations

from typing import Any

from gateway.core.exchange import Exchange, Reply
from gateway.plugins import public_api
from gateway.testing.exchanges import exchange
from tests.plugins.kit import PluginTestCase
from tests.plugins.limits_kit import explained


async def told(exchange: Exchange) -> Reply:
    return Reply(200, b"told")


class PublicApiTests(PluginTestCase):
    factory = public_api.plugin

    def reply(self, config: dict[str, Any], sent: Exchange) -> tuple[int, bytes | None]:
        reply = self.run_hook(self.make(config, public_apis={"/apisix/x": told}).access(sent))
        assert reply is not None
        return reply.status, reply.body

    def test_interfaces(self) -> None:
        """It answers in access, after those who guard it."""
        self.provides("public-api", 501)

    def test_answers(self) -> None:
        """The API is found by the settings' path, or by the request's; there is no other."""
        self.assertEqual(self.reply({}, exchange("GET", "/apisix/x")), (200, b"told"))
        self.assertEqual(self.reply({"uri": "/apisix/x"}, exchange("HEAD", "/mine")), (200, b"told"))
        self.assertEqual(self.reply({}, exchange("GET", "/mine")), (404, None))
        self.assertEqual(self.reply({"uri": "/apisix/x"}, exchange("POST", "/mine")), (404, None))
        self.assertTrue(self.problems({"uri": 5}))

    def test_explained(self) -> None:
        """Whether there is such an API; it is not asked."""
        for target, method, status, reason in (
            ("/apisix/x", "GET", 200, "public_api"),
            ("/apisix/x", "POST", 404, "public_api_unknown"),
            ("/apisix/y", "GET", 404, "public_api_unknown"),
        ):
            plugin = self.make({}, public_apis={"/apisix/x": None})
            reply = explained(plugin, exchange(method, target)).reply
            assert reply is not None
            self.assertEqual((reply.status, reply.reason), (status, reason))
