"""Tests for gateway.core.real_ip."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import gateway
from gateway.core.addresses import AddressSet
from gateway.core.real_ip import RealIp, parse_address, told_in_list

PROXIES = AddressSet.parse(["127.0.0.1", "10.0.0.0/8"])


class ParseTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """An address is read with and without a port, IPv6 with and without brackets."""
        for text, read in (
            ("192.0.2.7", ("192.0.2.7", 0)),
            (" 192.0.2.7:4711 ", ("192.0.2.7", 4711)),
            ("2001:db8::1", ("2001:db8::1", 0)),
            ("[2001:db8::1]", ("2001:db8::1", 0)),
            ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
            ("2001:DB8:0:0::0001", ("2001:db8::1", 0)),
            ("::FFFF:192.0.2.7", ("::ffff:192.0.2.7", 0)),
        ):
            self.assertEqual(parse_address(text), read, text)

    def test_others(self) -> None:
        """Whatever else stands there is no address."""
        for text in (
            "",
            "example.com",
            "192.0.2",
            "192.0.2.7:",
            "192.0.2.7:0",
            "192.0.2.7:65536",
            "192.0.2.7:1a",
            "192.0.2.7:²",
            "[192.0.2.7]:80",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "[2001:db8::1]:",
            "fe80::1%eth0",
            "unknown",
            "1" * 100,
        ):
            self.assertIsNone(parse_address(text), text)

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=70))
    def test_arbitrary(self, text: str) -> None:
        """Arbitrary text is read or not, but never an error."""
        found = parse_address(text)
        self.assertTrue(found is None or 0 <= found[1] <= 65535)


class ListTests(SynchronousTestCase):
    def test_last(self) -> None:
        """Without proxies to pass over the last entry of all lines counts."""
        self.assertEqual(told_in_list([b"1.1.1.1, 2.2.2.2", b"3.3.3.3 ,4.4.4.4"], None), "4.4.4.4")

    def test_recursive(self) -> None:
        """Proxies are passed over from the end; the first entry counts if all are proxies."""
        for value, wanted in (
            (b"1.1.1.1, 2.2.2.2, 10.0.0.1", "2.2.2.2"),
            (b"1.1.1.1, 2.2.2.2, 10.0.0.1:80, 10.0.0.2", "2.2.2.2"),
            (b"10.0.0.3, 10.0.0.1", "10.0.0.3"),
            (b"1.1.1.1, junk, 10.0.0.1", "junk"),
            (b"10.0.0.1", "10.0.0.1"),
            (b"", ""),
        ):
            self.assertEqual(told_in_list([value], PROXIES), wanted, value)


class ClientAddressTests(SynchronousTestCase):
    """Who asks for the client's address asks the exchange; who asks for the peer's has a reason."""

    PEER = frozenset(
        {
            "core/exchange.py",  # where the client's comes from
            "core/opening.py",
            "core/variables.py",  # realip_remote_addr
            "plugins/redirect.py",  # whether a forwarding field is believed
            "proxy/dispatch.py",
        }
    )

    def test_nobody_asks_for_the_peer(self) -> None:
        """Limits, logs and plugins go by the client, also behind a proxy."""
        package = Path(gateway.__file__).parent
        found = {
            file.relative_to(package).as_posix()
            for file in package.rglob("*.py")
            if re.search(r"connection\.client_(ip|port)", file.read_text())
        }
        self.assertEqual(found - self.PEER, set(), "use exchange.client_ip")


class RuleTests(SynchronousTestCase):
    def test_trusted_peer(self) -> None:
        """A trusted peer's word counts, nobody else's."""
        rule = RealIp(b"x-real-ip", PROXIES)
        fields = [(b"host", b"a"), (b"x-real-ip", b"192.0.2.7")]
        self.assertEqual(rule.client("127.0.0.1", fields), ("192.0.2.7", 0))
        self.assertIsNone(rule.client("192.0.2.1", fields))
        self.assertIsNone(rule.client("127.0.0.1", [(b"x_real_ip", b"192.0.2.7")]))
        self.assertIsNone(rule.client("127.0.0.1", [(b"x-real-ip", b"nobody")]))

    def test_repeated(self) -> None:
        """Of several lines the last counts: the one before it may be the client's own."""
        fields = [(b"x-real-ip", b"6.6.6.6"), (b"x-real-ip", b"192.0.2.7")]
        self.assertEqual(RealIp(b"x-real-ip", PROXIES).client("10.1.1.1", fields), ("192.0.2.7", 0))

    def test_list(self) -> None:
        """An X-Forwarded-For is read as the list it is."""
        fields = [(b"x-forwarded-for", b"6.6.6.6, 192.0.2.7:99, 10.0.0.9")]
        self.assertEqual(RealIp(b"x-forwarded-for", PROXIES).client("127.0.0.1", fields), ("10.0.0.9", 0))
        self.assertEqual(
            RealIp(b"x-forwarded-for", PROXIES, True).client("127.0.0.1", fields), ("192.0.2.7", 99)
        )
