"""README's walk-through, as it stands there, with real curl and openssl."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

from tests.e2e.gateway_process import LIMIT_S, ROOT, EndToEndCase, GatewayProcess, environment

README = (ROOT / "README.md").read_text()


def command(name: str) -> str:
    """The shell block of README that stands below ``<!-- run: name -->``."""
    found = re.search(rf"<!-- run: {re.escape(name)} -->\s*```sh\n(.*?)```", README, re.DOTALL)
    if found is None:
        raise AssertionError(f"README has no block called {name}")
    return found.group(1)


WRITES = ("service", "route", "consumer", "credential")
READS = ("without a token", "mint", "with a token", "another method")


class GuideTests(EndToEndCase):
    """One service, one route that asks for a token, one consumer, one credential."""

    def steps(self, gateway: GatewayProcess, upstream: int, names: tuple[str, ...]) -> dict[str, str]:
        """
        Run README's blocks in one shell, each right after the other.

        Returns:
            Name → what the block wrote.
        """
        text = "set -e\n" + "".join(f"echo '@@ {name}'\n{command(name)}\necho\n" for name in names)
        for said, meant in (
            ("127.0.0.1:7443", f"127.0.0.1:{gateway.ports['admin']}"),
            ("127.0.0.1:9080", f"127.0.0.1:{gateway.ports['proxy']}"),
            ('"port": 8080', f'"port": {upstream}'),
        ):
            self.assertIn(said, text)
            text = text.replace(said, meant)
        ended = subprocess.run(
            ["bash", "-c", text],
            cwd=gateway.directory,
            env=environment({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        pieces = re.split(r"^@@ (.*)\n", ended.stdout, flags=re.MULTILINE)[1:]
        return dict(zip(pieces[::2], pieces[1::2], strict=True))

    def readme_upstream(self) -> int:
        """httpbin by README's own command, on a free port."""
        *_, run = command("upstream").strip().split("&& ")
        words = shlex.split(run)
        self.assertEqual((words[0], words[-2:]), (".venv/bin/python", ["--port", "8080"]))
        return self.upstream([sys.executable, *words[1:-1], "0"]).port

    def test_the_walk_through(self) -> None:
        """Copied from README line by line, every command does what README says it does."""
        gateway = self.gateway().start()
        said = self.steps(gateway, self.readme_upstream(), ("token", *WRITES, *READS))

        for name in WRITES:
            self.assertIn("value", json.loads(said[name]), name)
        route = json.loads(said["route"])["value"]
        self.assertEqual(
            (route["id"], route["paths"], route["service_id"]),
            ("jwt-auth-route", ["/anything/jwt-auth"], "jwt-auth-httpbin-service"),
        )

        refused = said["without a token"].replace("\r", "")
        for line in (
            "HTTP/1.1 401 Unauthorized",
            'WWW-Authenticate: Bearer realm="jwt"',
            '{"message":"Missing JWT token in request"}',
        ):
            self.assertRegex(refused, "(?im)^" + re.escape(line) + "$")
            self.assertIn(line, README)

        echo = json.loads(said["with a token"])
        self.assertEqual(echo["method"], "GET")
        self.assertTrue(echo["url"].endswith("/anything/jwt-auth"), echo["url"])
        headers = {name.lower(): value for name, value in echo["headers"].items()}
        self.assertEqual(headers["x-consumer-username"], "jwt-auth-consumer")
        self.assertEqual(headers["x-credential-identifier"], "jwt-auth-consumer-cred")
        self.assertEqual(headers["host"], f"127.0.0.1:{gateway.ports['proxy']}")
        for line in (
            '"X-Consumer-Username": "jwt-auth-consumer"',
            '"X-Credential-Identifier": "jwt-auth-consumer-cred"',
        ):
            self.assertIn(line, README)

        missing = said["another method"].replace("\r", "")
        for line in ("HTTP/1.1 404 Not Found", '{"error_msg":"404 Route Not Found"}'):
            self.assertRegex(missing, "(?im)^" + re.escape(line) + "$")
            self.assertIn(line, README)

    def test_wrong_tokens(self) -> None:
        """A token that is unknown, forged, expired or unsigned is refused with 401 and its message."""
        gateway = self.gateway().start()
        said = self.steps(gateway, self.upstream().port, ("token", *WRITES, "mint", "with a token"))
        self.assertEqual(json.loads(said["with a token"])["method"], "GET")
        mint = command("mint")
        for change, message in (
            (("user-1-identity", "user-2-identity"), "Invalid user key in JWT token"),
            (("my-shared-secret", "not-the-shared-secret"), "failed to verify jwt"),
            (("+ 3600", "- 3600"), "failed to verify jwt"),
            (('"alg":"HS256"', '"alg":"none"'), "failed to verify jwt"),
        ):
            self.assertIn(change[0], mint)
            script = mint.replace(*change) + '\nprintf %s "$JWT"\n'
            token = subprocess.run(
                ["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=True
            ).stdout
            answer = gateway.get("/anything/jwt-auth", headers={"Authorization": f"Bearer {token}"})
            self.assertEqual(
                (answer.status, answer.json, answer.headers["www-authenticate"]),
                (401, {"message": message}, 'Bearer realm="jwt"'),
                change,
            )

    def test_again(self) -> None:
        """Going through the guide a second time is as good as the first: PUT replaces."""
        gateway = self.gateway().start()
        upstream = self.upstream().port
        first = self.steps(gateway, upstream, ("token", *WRITES, *READS))
        second = self.steps(gateway, upstream, ("token", *WRITES, *READS))
        for said in (first, second):
            self.assertIn("jwt-auth-consumer-cred", said["with a token"])


class CommandTests(EndToEndCase):
    """README's commands and the scripts that run them say the same."""

    def test_setting_up(self) -> None:
        """One command each sets up and starts, and sets up and tests."""
        self.assertEqual(
            command("start").strip(),
            "python3 -m venv .venv && .venv/bin/pip install -e . "
            "&& .venv/bin/twistd -n gateway --config conf/gw.ini",
        )
        self.assertEqual(
            command("test").strip(),
            "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/trial tests",
        )

    def test_ci_runs_the_same(self) -> None:
        """The integration script takes the test command from README and has none of its own."""
        script = ROOT / ".ci" / "run"
        self.assertTrue(os.access(script, os.X_OK))
        text = script.read_text()
        self.assertIn("<!-- run: test -->", text)
        self.assertNotIn("trial tests", text)
