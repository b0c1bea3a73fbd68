"""Starting: the command line, wrong settings, the token, the data directory."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
import subprocess
from pathlib import Path

from tests import certs
from tests.e2e.gateway_process import LIMIT_S, ROOT, EndToEndCase


class SettingsTests(EndToEndCase):
    """Wrong settings never end in a traceback."""

    def test_problems(self) -> None:
        """In the foreground and as a daemon: status 1, every problem on standard error, nothing made."""
        for daemon in (False, True):
            gateway = self.gateway(
                settings="[proxy]\nworkers = many\nlisen = x\n",
                environ={"GATEWAY_LOG_LEVEL": "loud"},
                daemon=daemon,
            )
            ended = gateway.run()
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertEqual(
                ended.stderr.splitlines(),
                [
                    "gateway: [proxy] lisen: no such key; did you mean listen?",
                    "gateway: [proxy] workers: must be a whole number or auto, not 'many'",
                    "gateway: [log] level: must be one of debug, info, warn, error, critical, not 'loud'"
                    " (from the environment variable GATEWAY_LOG_LEVEL)",
                ],
            )
            self.assertEqual(ended.stdout, "")
            self.assertFalse(gateway.data_dir.exists())

    def test_missing_file(self) -> None:
        """A settings file that is not there is told."""
        gateway = self.gateway(config=Path("gone.ini"))
        ended = gateway.run()
        self.assertEqual(
            (ended.returncode, ended.stderr),
            (1, "gateway: gone.ini: no such file; give another with --config\n"),
        )

    def test_check(self) -> None:
        """--check says that the shipped settings are fine, from any directory, and starts nothing."""
        gateway = self.gateway(config=ROOT / "conf" / "gw.ini")
        ended = gateway.run("--check")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertIn("configuration is fine", ended.stdout)
        self.assertFalse(gateway.data_dir.exists())

    def test_check_of_plugins(self) -> None:
        """--check names a plugin that is enabled and not installed."""
        gateway = self.gateway(settings="[plugins]\nenabled = jwt-auth, no-such-plugin\n")
        ended = gateway.run("--check")
        self.assertEqual(
            (ended.returncode, ended.stderr),
            (1, "gateway: plugin no-such-plugin is enabled but not installed\n"),
        )
        self.assertEqual(gateway.run().returncode, 1)

    def test_help(self) -> None:
        """twistd lists the gateway and its options."""
        ended = self.gateway().run("--help")
        self.assertEqual(ended.returncode, 0)
        self.assertIn("--config", ended.stdout)
        self.assertIn("--check", ended.stdout)

    def test_port_in_use(self) -> None:
        """A port that is taken ends the start with status 1 and the reason."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            gateway = self.gateway(environ={"GATEWAY_PROXY_LISTEN": f"127.0.0.1:{port}"})
            ended = gateway.run()
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn(str(port), ended.stdout + ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)
        self.assertFalse((gateway.data_dir / "ports.json").exists())


class TokenTests(EndToEndCase):
    """The first access token."""

    def test_made(self) -> None:
        """The first start makes a token, prints it once, keeps it 0600; the next start keeps it to itself."""
        gateway = self.gateway().start()
        path = gateway.data_dir / "admin-token"
        token = path.read_text().strip()
        self.assertRegex(token, r"\Aa7ee-[A-Za-z0-9_-]{43}\Z")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(gateway.data_dir.stat().st_mode), 0o700)
        self.assertEqual(gateway.logs().count(token), 1)
        self.assertEqual(gateway.admin("GET", "/apisix/admin/services")[0], 200)
        gateway.end()
        gateway.start()
        self.assertEqual(gateway.logs().count(token), 1)
        self.assertEqual(gateway.admin("GET", "/apisix/admin/services")[0], 200)

    def test_given(self) -> None:
        """A token from the environment opens the Admin API; another does not; no file is made."""
        gateway = self.gateway(environ={"GATEWAY_ADMIN_TOKEN": "a7ee-given-by-the-environment"}).start()
        self.assertFalse((gateway.data_dir / "admin-token").exists())
        self.assertEqual(gateway.admin("GET", "/apisix/admin/services")[0], 200)
        gateway.environ["GATEWAY_ADMIN_TOKEN"] = "a7ee-of-somebody-else-000"
        status, body = gateway.admin("GET", "/apisix/admin/services")
        self.assertEqual((status, sorted(body)), (401, ["error_msg"]))

    def test_nowhere_else(self) -> None:
        """Neither the token nor a credential's secret is in the log or, in the clear, in any other file."""
        gateway = self.gateway().start()
        credential = {
            "name": "c",
            "plugins": {"jwt-auth": {"key": "k", "secret": "the-shared-secret-of-jack"}},
        }
        self.assertEqual(gateway.admin("PUT", "/apisix/admin/consumers/jack", {"username": "jack"})[0], 200)
        self.assertEqual(
            gateway.admin("PUT", "/apisix/admin/consumers/jack/credentials/c", credential)[0], 200
        )
        token = gateway.token.encode()
        gateway.end()
        for path in gateway.directory.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                self.assertNotIn(b"the-shared-secret-of-jack", content, path.name)
                if path.name not in {"admin-token", "output.txt"}:
                    self.assertNotIn(token, content, path.name)


class CertificateTests(EndToEndCase):
    """The Admin API's certificate."""

    def test_self_signed(self) -> None:
        """curl trusts the gateway once it is given admin.crt, under each local name."""
        gateway = self.gateway().start()
        self.assertEqual(stat.S_IMODE((gateway.data_dir / "admin.key").stat().st_mode), 0o600)
        for host in ("localhost", "127.0.0.1"):
            ended = subprocess.run(
                [
                    *("curl", "-sS", "--noproxy", "*", "--max-time", f"{LIMIT_S:g}"),
                    *("--cacert", str(gateway.data_dir / "admin.crt")),
                    *("-H", f"X-API-KEY: {gateway.token}"),
                    f"https://{host}:{gateway.ports['admin']}/apisix/admin/services?gateway_group_id=default",
                ],
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            self.assertEqual(json.loads(ended.stdout), {"list": [], "total": 0})

    def test_kept(self) -> None:
        """The certificate outlives a restart."""
        gateway = self.gateway().start()
        before = (gateway.data_dir / "admin.crt").read_bytes()
        gateway.end()
        gateway.start()
        self.assertEqual((gateway.data_dir / "admin.crt").read_bytes(), before)


class ListenerTests(EndToEndCase):
    """The listeners that are off by default."""

    def test_status_and_https(self) -> None:
        """Turned on by the environment, both answer, and ports.json names them."""
        shown = certs.pair("localhost")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "x.crt").write_text(shown.cert)
        (directory / "x.key").write_text(shown.key)
        gateway = self.gateway(
            environ={
                "GATEWAY_STATUS_LISTEN": "127.0.0.1:0",
                "GATEWAY_PROXY_TLS_LISTEN": "127.0.0.1:0",
                "GATEWAY_PROXY_TLS_CERTIFICATE": str(directory / "x.crt"),
                "GATEWAY_PROXY_TLS_PRIVATE_KEY": str(directory / "x.key"),
            }
        ).start()
        self.assertEqual(sorted(gateway.ports), ["admin", "apisix", "proxy", "proxy_tls", "status"])
        for path in ("/status", "/status/ready"):
            answer = self.curl(f"http://127.0.0.1:{gateway.ports['status']}{path}")
            self.assertEqual(json.loads(answer), {"status": "ok"})
        answer = self.curl(
            "--cacert", str(directory / "x.crt"), f"https://localhost:{gateway.ports['proxy_tls']}/"
        )
        self.assertEqual(json.loads(answer), {"error_msg": "404 Route Not Found"})

    def test_two_of_a_kind(self) -> None:
        """A listener may have several addresses, IPv6 among them."""
        gateway = self.gateway(environ={"GATEWAY_PROXY_LISTEN": "127.0.0.1:0, [::1]:0"}).start()
        for url in (
            f"http://127.0.0.1:{gateway.ports['proxy']}/",
            f"http://[::1]:{gateway.ports['proxy_2']}/",
        ):
            self.assertEqual(json.loads(self.curl(url)), {"error_msg": "404 Route Not Found"})

    def curl(self, *arguments: str) -> str:
        """What curl writes."""
        ended = subprocess.run(
            ["curl", "-sS", "-g", "--noproxy", "*", "--max-time", f"{LIMIT_S:g}", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout


class DataDirTests(EndToEndCase):
    """Where everything goes."""

    def test_everything_by_environment(self) -> None:
        """An empty file and six variables are enough; everything is where they say."""
        base = Path(self.mktemp()).absolute()
        gateway = self.gateway(
            environ={
                "GATEWAY_ADMIN_TOKEN": "a7ee-given-by-the-environment",
                "GATEWAY_PROXY_WORKERS": "0",
                "GATEWAY_STORE_URL": f"sqlite:{base}/store.db",
                "GATEWAY_GATEWAY_DATA_DIR": str(base / "data"),
            }
        )
        base.mkdir()
        gateway.data_dir = base / "data"
        gateway.start()
        self.assertEqual(gateway.get("/").status, 404)
        self.assertEqual(gateway.admin("PUT", "/apisix/admin/consumers/jack", {"username": "jack"})[0], 200)
        gateway.end()
        database = sqlite3.connect(base / "store.db")
        self.addCleanup(database.close)
        self.assertEqual(database.execute("pragma integrity_check").fetchone(), ("ok",))
        self.assertFalse((gateway.directory / "var").exists())
        self.assertEqual(sorted(os.listdir(gateway.directory)), ["gw.ini", "output.txt"])
