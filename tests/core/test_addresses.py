"""Tests for gateway.core.addresses."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.addresses import AddressSet


class AddressSetTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Addresses and networks of both families are found; an IPv4 address may come dressed as IPv6."""
        for texts, inside, outside in [
            (["10.0.0.1"], ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2", "::10.0.0.1"]),
            (
                ["10.1.2.3/8"],
                ["10.0.0.0", "10.255.255.255", "::ffff:10.9.9.9"],
                ["11.0.0.0", "9.255.255.255"],
            ),
            (["0.0.0.0/0"], ["1.2.3.4", "::ffff:1.2.3.4"], ["::1"]),
            (["::/0"], ["::1", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
            (["2001:db8::/32"], ["2001:db8:1::", "2001:DB8::0:1"], ["2001:db9::"]),
            (["::ffff:10.0.0.0/104"], ["10.1.1.1"], ["11.1.1.1"]),
            (["::ffff:10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"]),
            (["10.0.0.1/32", "10.0.0.5", "192.168.0.0/16"], ["10.0.0.1", "192.168.7.7"], ["10.0.0.4"]),
            ([], [], ["10.0.0.1", "::1"]),
        ]:
            found = AddressSet.parse(texts)
            for text in inside:
                self.assertIn(text, found, texts)
            for text in outside:
                self.assertNotIn(text, found, texts)

    def test_not_an_address(self) -> None:
        """What is no address is in no set."""
        everything = AddressSet.parse(["0.0.0.0/0", "::/0"])
        for text in ["", "x", "10.0.0", "10.0.0.1/8", "010.0.0.1", " 10.0.0.1", "unix:", None, 5]:
            self.assertNotIn(text, everything)

    def test_refused(self) -> None:
        """A bad entry is named."""
        for text in [
            "",
            "x",
            "10.0.0.256",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/255.0.0.0",
            "::/129",
        ]:
            with self.assertRaises(ValueError) as caught:
                AddressSet.parse(["10.0.0.1", text])
            self.assertEqual(str(caught.exception), f"invalid ip address: {text}")
        with self.assertRaises(ValueError):
            AddressSet.parse([5])  # type: ignore[list-item]

    def test_values(self) -> None:
        """Sets of the same networks are equal, in any order; an empty one is false."""
        self.assertEqual(AddressSet.parse(["10.0.0.1", "::1"]), AddressSet.parse(["::1", "10.0.0.1/32"]))
        self.assertEqual(hash(AddressSet.parse(["::1"])), hash(AddressSet.parse(["::1/128"])))
        self.assertNotEqual(AddressSet.parse(["10.0.0.1"]), AddressSet.parse(["10.0.0.2"]))
        self.assertFalse(AddressSet.parse([]))
        self.assertEqual(repr(AddressSet.parse(["::1"])), "AddressSet(['::1'])")

    def test_agrees_with_the_standard_library(self) -> None:
        """Membership is what a look through all networks would say."""
        numbers = st.integers(0, 2**32 - 1) | st.integers(0, 300)

        @settings(deadline=None, max_examples=150)
        @given(st.lists(st.tuples(numbers, st.integers(0, 32)), max_size=6), numbers)
        def check(networks: list[tuple[int, int]], number: int) -> None:
            texts = [f"{ip_address(base)}/{length}" for base, length in networks]
            address = ip_address(number)
            want = any(address in ip_network(text, strict=False) for text in texts)
            self.assertEqual(str(address) in AddressSet.parse(texts), want)

        check()
