"""The first start and the next: data directory, token, ports, the words of the log."""

from __future__ import annotations

import json
import os
import resource
import stat
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway import bootstrap
from gateway.bootstrap import AdminToken
from gateway.errors import SettingsErrors
from gateway.settings import Settings, settings_from
from gateway.settings_fields import Address


class Case(SynchronousTestCase):
    """What the tests below share."""

    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp()).absolute() / "deep" / "var"

    def settings(self, **sections: dict[str, str]) -> Settings:
        return settings_from({"gateway": {"data_dir": str(self.data_dir)}, **sections})


class DataDirTests(Case):
    """``ensure_data_dir``."""

    def test_made_for_the_owner_alone(self) -> None:
        """A data directory that is not there is made; nobody else may look into it."""
        self.assertEqual(bootstrap.ensure_data_dir(self.settings()), self.data_dir)
        self.assertEqual(stat.S_IMODE(self.data_dir.stat().st_mode), 0o700)

    def test_kept_as_it_is(self) -> None:
        """A directory that was there keeps its mode: whoever made it had reasons."""
        self.data_dir.mkdir(parents=True)
        os.chmod(self.data_dir, 0o750)
        bootstrap.ensure_data_dir(self.settings())
        self.assertEqual(stat.S_IMODE(self.data_dir.stat().st_mode), 0o750)

    def test_no_directory(self) -> None:
        """A file in its place, or on the way there, is told in the settings' words."""
        self.data_dir.parent.mkdir(parents=True)
        self.data_dir.write_bytes(b"")
        error = self.assertRaises(SettingsErrors, bootstrap.ensure_data_dir, self.settings())
        self.assertEqual(error.problems, (f"[gateway] data_dir: {self.data_dir} is not a directory",))
        self.data_dir = self.data_dir / "below"
        error = self.assertRaises(SettingsErrors, bootstrap.ensure_data_dir, self.settings())
        self.assertIn("cannot be made: Not a directory", error.problems[0])

    def test_not_ours(self) -> None:
        """A directory this user cannot write is told."""
        self.patch(os, "access", lambda path, mode: False)  # root is let in everywhere
        error = self.assertRaises(SettingsErrors, bootstrap.ensure_data_dir, self.settings())
        self.assertIn("cannot be read and written", error.problems[0])


class FirstPasswordTests(Case):
    """``first_password``."""

    def test_made_once(self) -> None:
        """The first password is random, kept for the owner alone, and the same until it was used."""
        text, path = bootstrap.first_password(self.settings())
        self.assertGreaterEqual(len(text), 20)
        self.assertEqual((path, path.read_text().strip()), (self.data_dir / "admin-password", text))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(bootstrap.first_password(self.settings())[0], text)
        path.write_text("")
        self.assertNotIn(bootstrap.first_password(self.settings())[0], ("", text))

    def test_unusable(self) -> None:
        """A file that cannot be read is told in the settings' words."""
        (self.data_dir / "admin-password").mkdir(parents=True)
        error = self.assertRaises(SettingsErrors, bootstrap.first_password, self.settings())
        self.assertIn("[admin] password: ", error.problems[0])


class TokenTests(Case):
    """``admin_token``."""

    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        self.path = self.data_dir / "admin-token"

    def token(self, **sections: dict[str, str]) -> AdminToken:
        return bootstrap.admin_token(self.settings(**sections), self.said.append)

    def test_made_once(self) -> None:
        """The first start makes a token, says it once, and keeps it where only the owner reads."""
        first = self.token()
        self.assertRegex(first.text, r"\Aa7ee-[A-Za-z0-9_-]{43}\Z")
        self.assertEqual((first.origin, first.is_new, first.path), ("made", True, self.path))
        self.assertEqual(self.path.read_text(), first.text + "\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(len(self.said), 1)
        self.assertIn(first.text, self.said[0])
        second = self.token()
        self.assertEqual((second.text, second.origin, second.is_new), (first.text, "file", False))
        self.assertEqual(len(self.said), 1)

    def test_each_install_has_its_own(self) -> None:
        """Two fresh installs do not share a token."""
        first = self.token()
        self.path.unlink()
        self.assertNotEqual(self.token().text, first.text)

    def test_from_the_settings(self) -> None:
        """A token that is given is taken, and no file is written or said."""
        token = self.token(admin={"token": "a7ee-given-by-the-user"})
        self.assertEqual(
            (token.text, token.origin, token.is_new, token.path),
            ("a7ee-given-by-the-user", "settings", False, None),
        )
        self.assertFalse(self.path.exists())
        self.assertEqual(self.said, [])

    def test_from_a_file_somebody_wrote(self) -> None:
        """A token an operator put there is taken; the file is closed to others."""
        self.data_dir.mkdir(parents=True)
        self.path.write_text("  my-own-token \n")
        os.chmod(self.path, 0o644)
        token = self.token()
        self.assertEqual((token.text, token.is_new), ("my-own-token", False))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_files_that_hold_none(self) -> None:
        """An empty or damaged file does not become a token, and is not overwritten."""
        self.data_dir.mkdir(parents=True)
        for content in (b"", b"\n", b"two words\n", b"\xff\xfe\n", b"x" * 1000):
            self.path.write_bytes(content)
            error = self.assertRaises(SettingsErrors, self.token)
            self.assertIn(f"[admin] token: {self.path} ", error.problems[0])
            self.assertEqual(self.path.read_bytes(), content)

    def test_hidden(self) -> None:
        """The token is in no repr."""
        token = self.token()
        self.assertNotIn(token.text, repr(token))

    def test_printed_by_default(self) -> None:
        """Somebody who starts the gateway in a terminal sees the token; a closed terminal does no harm."""
        out = StringIO()
        self.patch(sys, "stdout", out)
        token = bootstrap.admin_token(self.settings())
        self.assertIn(token.text, out.getvalue())
        self.path.unlink()
        out.close()
        self.assertTrue(bootstrap.admin_token(self.settings()).is_new)


class PortsTests(Case):
    """``ports.json``."""

    def test_written_and_removed(self) -> None:
        """The file says where the gateway listens, and is not there before and after."""
        bootstrap.ensure_data_dir(self.settings())
        bootstrap.remove_ports(self.data_dir)
        path = bootstrap.write_ports(self.data_dir, {"admin": 7443, "proxy": 9080})
        self.assertEqual(path, self.data_dir / "ports.json")
        self.assertEqual(json.loads(path.read_text()), {"admin": 7443, "proxy": 9080})
        bootstrap.write_ports(self.data_dir, {"admin": 1})
        self.assertEqual(json.loads(path.read_text()), {"admin": 1})
        bootstrap.remove_ports(self.data_dir)
        self.assertEqual(os.listdir(self.data_dir), [])

    def test_names(self) -> None:
        """Listeners of one kind are numbered from the second on."""
        self.assertEqual(
            bootstrap.name_ports({"admin": [7443], "proxy": [9080, 9081, 9082], "status": []}),
            {"admin": 7443, "proxy": 9080, "proxy_2": 9081, "proxy_3": 9082},
        )


class ApisixKeyTests(Case):
    """``apisix_key``."""

    def test_made_once(self) -> None:
        """The first start makes a key that only the owner reads, and says where it is but not what it is."""
        said: list[str] = []
        path = self.data_dir / "apisix-admin-key"
        first = bootstrap.apisix_key(self.settings(), said.append)
        self.assertEqual((first.origin, path.read_text()), ("made", first.text + "\n"))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(said, [f"The key of the apisix dialect is in {path}"])
        second = bootstrap.apisix_key(self.settings(), said.append)
        self.assertEqual((second.text, second.origin, len(said)), (first.text, "file", 1))

    def test_from_the_settings(self) -> None:
        """A key that is given is taken, and no file is written."""
        key = bootstrap.apisix_key(self.settings(apisix={"admin_key": "given-by-the-user"}))
        self.assertEqual((key.text, key.path), ("given-by-the-user", None))
        self.assertFalse((self.data_dir / "apisix-admin-key").exists())


class StartLinesTests(Case):
    """What the log says once everything listens."""

    def test_lines(self) -> None:
        """In plain words: where everything is; the token itself is not among them."""
        token = AdminToken("a7ee-secret", "file", self.data_dir / "admin-token")
        listeners = {
            "admin": [Address("127.0.0.1", 7443)],
            "proxy": [Address("127.0.0.1", 9080), Address("::1", 9080)],
            "proxy_tls": [Address("127.0.0.1", 9443)],
            "status": [Address("127.0.0.1", 7085)],
        }
        lines = bootstrap.start_lines(self.settings(), listeners, token=token, store="sqlite:x.db")
        self.assertEqual(
            lines,
            [
                "Admin API on https://127.0.0.1:7443",
                "Data plane on http://127.0.0.1:9080",
                "Data plane on http://[::1]:9080",
                "Data plane on https://127.0.0.1:9443",
                "Status on http://127.0.0.1:7085",
                f"Admin token in {self.data_dir}/admin-token",
                "Configuration in sqlite:x.db, gateway group default",
            ],
        )

    def test_token_from_the_settings(self) -> None:
        """A token that was given is said to be in the settings; HTTP administration is said to be HTTP."""
        lines = bootstrap.start_lines(
            self.settings(admin={"tls": "off"}),
            {"admin": [Address("127.0.0.1", 7443)]},
            token=AdminToken("a7ee-secret", "settings"),
            store="sqlite:x.db",
        )
        self.assertEqual(lines[:2], ["Admin API on http://127.0.0.1:7443", "Admin token in [admin] token"])
        self.assertNotIn("a7ee-secret", "".join(lines))


class OpenFilesTests(Case):
    """``allow_open_files``."""

    def limits(self, soft: int, hard: int) -> list[tuple[int, int]]:
        raised: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda _: (soft, hard))
        self.patch(resource, "setrlimit", lambda _, limits: raised.append(limits))
        return raised

    def allow(self, connections: int, tls_listen: str = "") -> str | None:
        settings = self.settings(
            proxy={
                "max_connections": str(connections),
                "max_in_flight": "100",
                "tls_listen": tls_listen,
            }
        )
        return bootstrap.allow_open_files(settings)

    def test_raised(self) -> None:
        """The limit is raised to what the connections may need, and no further."""
        raised = self.limits(1024, 1_000_000)
        self.assertIsNone(self.allow(20_000))
        self.assertEqual(raised, [(20_228, 1_000_000)])

    def test_listeners(self) -> None:
        """Each listener may be full; where that cannot be, it has to do for one."""
        raised = self.limits(1024, 1_000_000)
        self.assertIsNone(self.allow(20_000, "127.0.0.1:1, 127.0.0.1:2"))
        self.assertEqual(raised, [(60_228, 1_000_000)])
        raised = self.limits(1024, 30_000)
        self.assertIsNone(self.allow(20_000, "127.0.0.1:1"))
        self.assertEqual(raised, [(30_000, 30_000)])
        self.limits(1024, 20_000)
        self.assertIsNotNone(self.allow(20_000, "127.0.0.1:1"))

    def test_enough(self) -> None:
        """A limit that is high enough is left alone."""
        raised = self.limits(65_536, 65_536)
        self.assertIsNone(self.allow(20_000))
        self.limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertIsNone(self.allow(20_000))
        self.assertEqual(raised, [])

    def test_not_allowed(self) -> None:
        """Where the system allows less, it is raised as far as it goes and the user is told."""
        raised = self.limits(1024, 4096)
        warning = self.allow(20_000)
        assert warning is not None
        self.assertIn("20000 connections may need 20228 open files and the system allows 4096", warning)
        self.assertEqual(raised, [(4096, 4096)])

    def test_no_limit_of_connections(self) -> None:
        """Without a limit of connections it is raised as far as the system lets it."""
        raised = self.limits(1024, 4096)
        self.assertIsNone(self.allow(0))
        self.assertEqual(raised, [(4096, 4096)])
