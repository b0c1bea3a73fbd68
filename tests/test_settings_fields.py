"""Each kind of value: what it takes, what it refuses, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway import settings_fields as fields
from gateway.settings_fields import Address, Secret, StoreUrl


class ReaderTests(SynchronousTestCase):
    def test_share(self) -> None:
        """A share is a number from 0 to 1."""
        self.assertEqual([fields.share(text) for text in ("0", "0.25", "1")], [0.0, 0.25, 1.0])
        for text in ("", "x", "-0.1", "1.01", "nan", "50%"):
            self.assertRaises(ValueError, fields.share, text)

    """Tables: text → value, text → part of the words of the refusal."""

    def takes(self, read: Callable[[str], Any], table: dict[str, Any]) -> None:
        for text, value in table.items():
            self.assertEqual(read(text), value, text)

    def refuses(self, read: Callable[[str], Any], table: dict[str, str]) -> None:
        for text, words in table.items():
            error = self.assertRaises(ValueError, read, text)
            self.assertIn(words, str(error), text)

    def test_whole_numbers(self) -> None:
        """A whole number within its range is taken, anything else is refused with the range."""
        read = fields.whole(1, 10)
        self.takes(read, {"1": 1, "10": 10, "+3": 3, "007": 7})
        self.refuses(
            read,
            {
                "": "whole number",
                "1.5": "whole number",
                "1k": "whole number",
                "0": "at least 1",
                "-4": "at least 1, not -4",
                "11": "at most 10",
                "9" * 5000: "whole number",
                "٣": "whole number",
            },
        )

    def test_seconds(self) -> None:
        """A time is a plain number of seconds; units and infinities are refused."""
        read = fields.seconds()
        self.takes(read, {"60": 60.0, "0.5": 0.5, "86400": 86400.0})
        self.refuses(
            read,
            {
                "60s": "seconds, such as 60",
                "inf": "seconds",
                "nan": "seconds",
                "1e3": "seconds",
                "0": "at least",
                "86401": "at most",
                "": "seconds",
            },
        )

    def test_switches(self) -> None:
        """A switch is on or off in any of the usual words."""
        self.takes(fields.switch, {"on": True, "Off": False, "YES": True, "0": False, "true": True})
        self.refuses(fields.switch, {"": "on or off", "maybe": "on or off, not 'maybe'"})

    def test_workers(self) -> None:
        """The number of workers is a number or auto."""
        self.takes(fields.workers, {"0": 0, "8": 8, "AUTO": "auto"})
        self.refuses(fields.workers, {"many": "or auto", "-1": "at least 0", "": "or auto"})

    def test_choices(self) -> None:
        """One of some words, in any letter case."""
        read = fields.one_of(("debug", "info"))
        self.takes(read, {"debug": "debug", "INFO": "info"})
        self.refuses(read, {"chatty": "one of debug, info, not 'chatty'"})

    def test_addresses(self) -> None:
        """IPv4, bracketed IPv6 and localhost with a port, one or several."""
        read = fields.addresses(needed=True)
        self.takes(
            read,
            {
                "127.0.0.1:9080": (Address("127.0.0.1", 9080),),
                "localhost:0": (Address("127.0.0.1", 0),),
                "[::1]:7443, 0.0.0.0:7443": (Address("::1", 7443), Address("0.0.0.0", 7443)),
                "[0:0:0:0:0:0:0:0]:80": (Address("::", 80),),
                "127.0.0.1:0\n127.0.0.1:0": (Address("127.0.0.1", 0),) * 2,
            },
        )
        self.refuses(
            read,
            {
                "": "it is empty",
                " , ": "it is empty",
                "9080": "host:port",
                ":9080": "IP address of this machine",
                "127.0.0.1": "host:port",
                "127.0.0.1:65536": "0–65535",
                "127.0.0.1:-1": "0–65535",
                "::1:9080": "in brackets",
                "[127.0.0.1]:80": "[IPv6]:port",
                "[::1%lo]:80": "[IPv6]:port",
                "example.com:80": "IP address of this machine or localhost, not 'example.com'",
                "http://127.0.0.1:80": "in brackets",
                "127.0.0.1:80, 127.0.0.1:80": "more than once",
            },
        )
        self.assertEqual(fields.addresses(needed=False)(""), ())

    def test_addresses_are_written_as_they_are_read(self) -> None:
        """An address in a log line can be copied into the settings."""
        for text in ("127.0.0.1:9080", "[::1]:0"):
            (address,) = fields.addresses(needed=True)(text)
            self.assertEqual(str(address), text)

    def test_loopback(self) -> None:
        """It is known which listeners others can reach."""
        self.assertTrue(Address("127.0.0.2", 1).is_loopback)
        self.assertTrue(Address("::1", 1).is_loopback)
        self.assertFalse(Address("0.0.0.0", 1).is_loopback)

    def test_networks(self) -> None:
        """Trusted proxies are addresses and blocks; every wrong one is named."""
        self.takes(
            fields.networks,
            {
                "": None,
                "10.0.0.1": (ip_network("10.0.0.1/32"),),
                "10.1.2.3/8, ::1": (ip_network("10.0.0.0/8"), ip_network("::1/128")),
            },
        )
        self.refuses(fields.networks, {"10.0.0.0/33, 1.1.1.1, x": "not '10.0.0.0/33', 'x'"})

    def test_names(self) -> None:
        """A list of plugins; an empty one means all of them."""
        self.takes(fields.names_or_all, {"": None, " a,b ,,c\nd": ("a", "b", "c", "d")})
        self.refuses(fields.names_or_all, {"a, b, a": "names a more than once"})

    def test_paths(self) -> None:
        """Relative paths start at the working directory, ~ at the user's home."""
        self.takes(
            fields.path,
            {"var": Path.cwd() / "var", "/srv/gw": Path("/srv/gw"), "~/gw": Path("~").expanduser() / "gw"},
        )
        self.refuses(fields.path, {"": "path", "a\0b": "NUL", "~nobody-of-that-name/x": "path"})
        self.assertIsNone(fields.path_or_none(""))

    def test_store_urls(self) -> None:
        """The store is a SQLite file; other stores are refused without repeating a password."""
        self.takes(
            fields.store_url,
            {
                "sqlite:var/gateway.db": StoreUrl("sqlite", Path.cwd() / "var/gateway.db"),
                "SQLite:/srv/gateway.db": StoreUrl("sqlite", Path("/srv/gateway.db")),
                "sqlite:///srv/gateway.db": StoreUrl("sqlite", Path("/srv/gateway.db")),
            },
        )
        self.refuses(
            fields.store_url,
            {
                "var/gateway.db": "sqlite:<path>",
                "etcd://127.0.0.1:2379": "one store of this version",
                "sqlite:": "path",
                "sqlite://host/gateway.db": "another host",
                "sqlite::memory:": "lost when the gateway stops",
            },
        )
        error = self.assertRaises(ValueError, fields.store_url, "etcd://root:hunter2@127.0.0.1:2379")
        self.assertNotIn("hunter2", str(error))
        self.assertEqual(str(fields.store_url("sqlite:///srv/gateway.db")), "sqlite:/srv/gateway.db")

    def test_access_log(self) -> None:
        """The access log is a file, standard output, or off."""
        self.takes(
            fields.log_target, {"": None, "OFF": None, "-": "-", "/var/log/gw.log": Path("/var/log/gw.log")}
        )

    def test_lines(self) -> None:
        """A format is one line that can be printed."""
        self.takes(fields.line, {"$status 100%": "$status 100%"})
        self.refuses(fields.line, {"": "empty", "a\tb": "control", "a\x1b[0m": "control"})

    def test_secrets(self) -> None:
        """A secret is never in a repr, a str or a refusal."""
        read = fields.secret("hunter2-hunter2")
        assert read is not None
        self.assertEqual(read.text, "hunter2-hunter2")
        self.assertNotIn("hunter2", f"{read} {read!r} {[read]}")
        self.assertIsNone(fields.secret(""))
        for text in ("hunter2 x", "hunter2é", "hunter2" * 100):
            error = self.assertRaises(ValueError, fields.secret, text)
            self.assertNotIn("hunter2", str(error))

    def test_secrets_compare(self) -> None:
        """Two secrets with one text are equal."""
        self.assertEqual(Secret("a"), Secret("a"))
        self.assertNotEqual(Secret("a"), Secret("b"))

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=40))
    def test_nothing_but_value_errors(self, text: str) -> None:
        """Whatever a file holds, a reader answers with a value or with words."""
        for read in (
            fields.whole(0),
            fields.seconds(),
            fields.switch,
            fields.workers,
            fields.secret,
            fields.path,
            fields.log_target,
            fields.store_url,
            fields.names_or_all,
            fields.networks,
            fields.addresses(needed=True),
            fields.line,
        ):
            try:
                read(text)
            except ValueError as error:
                self.assertNotEqual(str(error), "")
