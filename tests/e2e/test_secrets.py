"""Secrets that a manager keeps, at a real gateway, with and without workers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.certs import pair
from tests.e2e.gateway_process import EndToEndCase, GatewayProcess, UpstreamProcess, wait_for
from tests.e2e.vault_server import TOKEN


class SecretTests(EndToEndCase):
    """One credential and one plugin of a route refer to Vault."""

    def vault(self, file: Path) -> int:
        """Start one; its port."""
        command = [sys.executable, "-m", "tests.e2e.vault_server", str(file)]
        vault = UpstreamProcess(command).start()
        self.addCleanup(vault.cleanup)
        return vault.port

    def put(self, gateway: GatewayProcess, path: str, body: object) -> None:
        status, answer = gateway.admin("PUT", f"/apisix/admin/{path}", body)
        self.assertEqual((status, "warning_msg" in answer), (200, False), answer)

    def keys(self, gateway: GatewayProcess, *keys: str) -> list[int]:
        """What requests with these keys are answered."""
        return [gateway.get("/anything/x", headers={"apikey": key}).status for key in keys]

    def check(self, workers: int) -> None:
        """From the first write over a change in the manager to a restart."""
        directory = Path(self.mktemp())
        directory.mkdir()
        file = directory / "secrets.json"
        shop = pair("shop.test")
        file.write_text(json.dumps({"jack": {"key": "first"}, "shop": {"cert": shop.cert, "key": shop.key}}))
        port, upstream = self.vault(file), self.upstream().port
        settings = (
            "[gateway]\ncertificate_notice_days = 3650\n"
            f"[proxy]\nworkers = {workers}\n[secrets]\nttl_s = 1\nfailure_ttl_s = 1\n"
        )
        gateway = self.gateway(settings=settings, environ={"VAULT_TOKEN": TOKEN}).start()
        nodes = [{"host": "127.0.0.1", "port": upstream, "weight": 1}]
        self.put(gateway, "services/s", {"name": "s", "upstream": {"nodes": nodes}})
        added = {"headers": {"set": {"x-secret": "$secret://vault/1/jack/key"}}}
        route = {"name": "r", "service_id": "s", "paths": ["/anything/*"]}
        self.put(gateway, "routes/r", {**route, "plugins": {"key-auth": {}, "proxy-rewrite": added}})
        self.put(gateway, "consumers/jack", {"username": "jack"})
        credential = {"name": "c", "plugins": {"key-auth": {"key": "$secret://vault/1/jack/key"}}}
        self.put(gateway, "consumers/jack/credentials/c", credential)
        # Nobody knows the manager yet: the credential fails closed, and its text is no key.
        self.assertEqual(self.keys(gateway, "first", "$secret://vault/1/jack/key"), [401, 401])
        manager = {"uri": f"http://127.0.0.1:{port}", "prefix": "kv", "token": "$env://VAULT_TOKEN"}
        self.put(gateway, "secret_providers/vault/1", manager)
        # An answered write is being served, what it means for others included.
        self.assertEqual(self.keys(gateway, "first", "second"), [200, 401])
        answer = gateway.get("/anything/x", headers={"apikey": "first"}).json
        self.assertEqual(answer["headers"]["X-Secret"], "first")
        shown = gateway.admin("GET", "/apisix/admin/consumers/jack/credentials/c")[1]["value"]
        self.assertEqual(shown["plugins"], credential["plugins"])
        references = {name: f"$secret://vault/1/shop/{name}" for name in ("cert", "key")}
        self.put(gateway, "ssls/shop", {"snis": ["shop.test"], **references})
        notices = gateway.admin("GET", "/api/status")[1]["value"]["notices"]
        self.assertIn(("ssl", "shop"), [(one["kind"], one["id"]) for one in notices])
        file.write_text(json.dumps({"jack": {"key": "second"}}))
        wait_for(lambda: self.keys(gateway, "first", "second") == [401, 200], "the new value", gateway.logs)
        gateway.end()
        gateway.start()
        self.assertEqual(self.keys(gateway, "second"), [200])
        self.assertNotIn("second", gateway.logs())

    def test_in_one_process(self) -> None:
        """Everything in one process."""
        self.check(0)

    def test_with_workers(self) -> None:
        """A worker asks the manager itself."""
        self.check(1)
