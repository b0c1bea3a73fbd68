"""Tests for gateway.plugins.real_ip."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.plugins.real_ip import plugin
from gateway.testing.exchanges import exchange
from gateway.testing.plugins import bind, problems
from gateway.testing.services import FakeLog, services

PEER = ("10.0.0.1", 50000)


class RewriteTests(SynchronousTestCase):
    def client(
        self, target: str, *headers: tuple[str, str], peer: str = "10.0.0.1", **config: Any
    ) -> tuple[str, int]:
        self.log = FakeLog()
        hook = bind(plugin, config, services(log=self.log)).rewrite
        assert hook is not None
        sent = exchange(target=target, headers=headers, client_ip=peer)
        self.assertIsNone(hook(sent))
        self.assertEqual(sent.connection.client_ip, peer)
        return sent.client_ip, sent.client_port

    def test_variable(self) -> None:
        """The address comes from a variable, with or without a port."""
        for text, client in (
            ("192.0.2.7", ("192.0.2.7", 0)),
            ("192.0.2.7:1080", ("192.0.2.7", 1080)),
            ("%5B2001:db8::1%5D:1080", ("2001:db8::1", 1080)),
            ("2001:db8::1", ("2001:db8::1", 0)),
        ):
            self.assertEqual(self.client(f"/?realip={text}", source="arg_realip"), client)
        self.assertEqual(
            self.client("/", ("X-Client", "192.0.2.7"), source="http_x_client"), ("192.0.2.7", 0)
        )

    def test_bad(self) -> None:
        """What is no address changes nothing, and is told in the log; what is missing is not."""
        for text in ("", "foo", "192.0.2.7:0", "192.0.2.7:65536", "192.0.2.7:x"):
            self.assertEqual(self.client(f"/?realip={text}", source="arg_realip"), PEER)
            self.assertEqual(self.log.events, [("warn", f"bad address in arg_realip: {text!r}")])
        self.assertEqual(self.client("/", source="arg_realip"), PEER)
        self.assertEqual(self.log.events, [])

    def test_trusted(self) -> None:
        """Only trusted peers are believed, if any are named."""
        sent = ("X-Client", "192.0.2.7")
        for trusted, client in ((["10.0.0.0/8"], ("192.0.2.7", 0)), (["10.0.0.2", "127.0.0.1"], PEER)):
            self.assertEqual(
                self.client("/", sent, source="http_x_client", trusted_addresses=trusted), client
            )

    def test_forwarded_for(self) -> None:
        """Of X-Forwarded-For the last entry counts, or the last that is not trusted."""
        more: dict[str, Any] = {"source": "http_x_forwarded_for", "trusted_addresses": ["10.0.0.0/8"]}
        lines = (("X-Forwarded-For", "6.6.6.6, 192.0.2.7"), ("X-Forwarded-For", "10.0.0.3, 10.0.0.2"))
        self.assertEqual(self.client("/", *lines, **more), ("10.0.0.2", 0))
        self.assertEqual(self.client("/", *lines, recursive=True, **more), ("192.0.2.7", 0))
        inside = ("X-Forwarded-For", "10.0.0.9, 10.0.0.3")
        self.assertEqual(self.client("/", inside, recursive=True, **more), ("10.0.0.9", 0))
        del more["trusted_addresses"]
        self.assertEqual(self.client("/", lines[0], recursive=True, **more), ("192.0.2.7", 0))
        self.assertEqual(self.client("/", **more), PEER)


class FactoryTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """A source is needed; trusted addresses are addresses."""
        self.assertEqual(problems(plugin, {}), [("/source", "required")])
        self.assertEqual(problems(plugin, {"source": ""}), [("/source", "minLength")])
        self.assertEqual(
            problems(plugin, {"source": "arg_a", "trusted_addresses": []}),
            [("/trusted_addresses", "minItems")],
        )
        told = problems(plugin, {"source": "arg_a", "trusted_addresses": ["10.0.0.0/33"]})
        self.assertEqual(told, [("", "invalid ip address: 10.0.0.0/33")])
        self.assertEqual(plugin.priority, 23000)
