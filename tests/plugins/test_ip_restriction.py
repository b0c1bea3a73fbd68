"""Tests for gateway.plugins.ip_restriction."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Reply
from gateway.plugins.ip_restriction import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, finish, problems


def access(client_ip: str, **config: Any) -> Reply | None:
    hook = bind(plugin, config).access
    assert hook is not None
    return finish(hook(exchange(client_ip=client_ip)))


class AccessTests(SynchronousTestCase):
    def test_whitelist(self) -> None:
        """Only who is on the whitelist may."""
        listed = ["10.0.0.1", "192.0.2.0/24", "2001:db8::/32"]
        for address in ("10.0.0.1", "192.0.2.77", "2001:db8::1", "::ffff:10.0.0.1"):
            self.assertIsNone(access(address, whitelist=listed))
        for address in ("10.0.0.2", "2001:db9::1"):
            reply = access(address, whitelist=listed)
            assert reply is not None
            self.assertEqual((reply.status, reply.reason), (403, "ip_not_allowed"))
            self.assertEqual(reply.body, b'{"message":"Your IP address is not allowed"}\n')

    def test_blacklist(self) -> None:
        """Everybody may but who is on the blacklist; status and text are the route's."""
        self.assertIsNone(access("10.0.0.2", blacklist=["10.0.0.1"]))
        reply = access("10.0.0.1", blacklist=["10.0.0.1"], message="Go away", response_code=404)
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (404, b'{"message":"Go away"}\n'))

    def test_behind_a_proxy(self) -> None:
        """The address that counts is the client's, not the proxy's."""
        hook = bind(plugin, {"blacklist": ["192.0.2.7"]}).access
        assert hook is not None
        sent = exchange(client_ip="10.0.0.1")
        sent.client_ip = "192.0.2.7"
        self.assertIsNotNone(hook(sent))


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Exactly one list is needed, of addresses and networks."""
        told: Any
        for config, told in (
            ({}, ("", "oneOf")),
            ({"whitelist": ["1.1.1.1"], "blacklist": ["1.1.1.1"]}, ("", "oneOf")),
            ({"whitelist": []}, ("/whitelist", "minItems")),
            ({"whitelist": [1]}, ("/whitelist/0", "type")),
            ({"whitelist": ["1.1.1.1", "1.1.1"]}, ("", "invalid ip address: 1.1.1")),
            ({"blacklist": ["10.0.0.0/33"]}, ("", "invalid ip address: 10.0.0.0/33")),
            ({"whitelist": ["::1"], "response_code": 405}, ("/response_code", "maximum")),
            ({"whitelist": ["::1"], "response_code": 402}, ("/response_code", "minimum")),
            ({"whitelist": ["::1"], "message": ""}, ("/message", "minLength")),
        ):
            self.assertEqual(problems(plugin, config), [told])
        self.assertEqual(problems(plugin, {"whitelist": ["::1", "$env://A"]}), [])
        self.assertRaises(ValueError, bind, plugin, {"whitelist": ["$env://A"]}, environment={"A": "x"})
        self.assertEqual(plugin.priority, 3000)
