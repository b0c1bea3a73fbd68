"""The example of a plugin in its own distribution: built, installed, tested, used by a running gateway."""

from __future__ import annotations

import hmac
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.gateway_process import LIMIT_S, ROOT, EndToEndCase, environment
from tests.e2e.raw_upstream import OK, RawUpstream

EXAMPLE = ROOT / "examples" / "gateway-webhook-signature"
CONTENT = b'{"event":"push"}'


class ExampleTests(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.mktemp()).absolute()
        # A build leaves files behind; not in the checkout.
        shutil.copytree(EXAMPLE, self.root / "source")
        self.site = self.root / "site"
        self.run_python(
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--target",
            str(self.site),
            str(self.root / "source"),
        )
        self.path = os.pathsep.join((str(ROOT), str(self.site)))

    def run_python(self, *arguments: str, **environ: str) -> str:
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment({"PIP_DISABLE_PIP_VERSION_CHECK": "1", **environ}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * LIMIT_S,
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        return ended.stdout

    def test_used(self) -> None:
        """Installed beside the gateway, it is found, checked, and guards a route; its own tests pass."""
        shutil.copy(EXAMPLE / "test_gateway_webhook_signature.py", self.site)
        tests = self.run_python("-m", "twisted.trial", "test_gateway_webhook_signature", PYTHONPATH=self.path)
        self.assertIn("PASSED", tests)

        upstream = RawUpstream(OK)
        self.addCleanup(upstream.close)
        gateway = self.gateway(environ={"PYTHONPATH": self.path, "GATEWAY_LOG_ACCESS": "off"}).start()
        nodes = [{"host": "127.0.0.1", "port": upstream.port, "weight": 1}]
        route = {"name": "r", "service_id": "s", "paths": ["/hook"]}
        plugin = {"webhook-signature": {"secret": "a-long-secret"}}
        for path, body, status in (
            ("services/s", {"name": "s", "upstream": {"nodes": nodes}}, 200),
            ("routes/r", {**route, "plugins": {"webhook-signature": {}}}, 400),
            ("routes/r", {**route, "plugins": plugin}, 200),
        ):
            found, answer = gateway.admin("PUT", f"/apisix/admin/{path}", body)
            self.assertEqual(found, status, answer)
        self.assertIn("webhook-signature", gateway.admin("GET", "/apisix/admin/plugins/list")[1])
        for file in gateway.data_dir.glob("gateway.db*"):
            self.assertNotIn(b"a-long-secret", file.read_bytes())

        unsigned = gateway.get("/hook", method="POST", body=CONTENT)
        self.assertEqual(
            (unsigned.status, unsigned.body), (401, b'{"message":"the webhook is not signed"}\n')
        )
        self.assertEqual(upstream.heads, [])
        signature = "sha256=" + hmac.digest(b"a-long-secret", CONTENT, "sha256").hex()
        signed = gateway.get("/hook", method="POST", body=CONTENT, headers={"X-Hub-Signature-256": signature})
        self.assertEqual((signed.status, signed.body), (200, b"ok"))
        forged = gateway.get("/hook", method="POST", body=b"{}", headers={"X-Hub-Signature-256": signature})
        self.assertEqual(forged.status, 401)
