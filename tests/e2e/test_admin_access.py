"""People and keys at a real gateway's Admin API."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import stat
from typing import Any

from tests.e2e.declarative import Declarative
from tests.e2e.gateway_process import LIMIT_S, Answer, EndToEndCase, GatewayProcess, exchange


def ask(gateway: GatewayProcess, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One call with these fields and no token."""
    context = ssl.create_default_context(cafile=str(gateway.data_dir / "admin.crt"))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", gateway.ports["admin"], timeout=LIMIT_S, context=context
    )
    try:
        content = None if body is None else json.dumps(body).encode()
        return exchange(connection, method, path, body=content, headers=headers)
    finally:
        connection.close()


class PasswordTests(EndToEndCase):
    def test_first_password(self) -> None:
        """The first start makes a password for admin; it can be changed for good."""
        gateway = self.gateway().start()
        file = gateway.data_dir / "admin-password"
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        first = file.read_text().strip()
        self.assertNotIn(first, gateway.logs())
        answer = ask(gateway, "POST", "/api/login", {"username": "admin", "password": first})
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn("; Secure", answer.headers["set-cookie"])
        cookie = answer.headers["set-cookie"].partition(";")[0]
        change = {"old_password": first, "new_password": "battery staple"}
        self.assertEqual(ask(gateway, "PUT", "/api/password", change, Cookie=cookie).status, 200)
        gateway.end()
        gateway.start()
        for password, status in ((first, 401), ("battery staple", 200)):
            text = base64.b64encode(f"admin:{password}".encode()).decode()
            self.assertEqual(ask(gateway, "GET", "/api/users", Authorization=f"Basic {text}").status, status)

    def test_given_password(self) -> None:
        """The password of the settings holds from every start on; then no file is made."""
        gateway = self.gateway(environ={"GATEWAY_ADMIN_PASSWORD": "given-password"}).start()
        self.assertFalse((gateway.data_dir / "admin-password").exists())
        text = base64.b64encode(b"admin:given-password").decode()
        self.assertEqual(ask(gateway, "GET", "/api/users", Authorization=f"Basic {text}").status, 200)

    def test_changes_outlive_a_restart(self) -> None:
        """A first token that was revoked stays so, and the built-in group stays as it was described."""
        gateway = self.gateway().start()
        group = {"name": "default", "description": "ours"}
        first = {"X-API-KEY": gateway.token}
        self.assertEqual(ask(gateway, "PUT", "/api/gateway_groups/default", group, **first).status, 200)
        made = ask(gateway, "POST", "/api/tokens", {"name": "mine"}, **first).json["value"]["token"]
        self.assertEqual(ask(gateway, "DELETE", "/api/tokens/bootstrap", **{"X-API-KEY": made}).status, 200)
        gateway.end()
        gateway.start()
        self.assertEqual(ask(gateway, "GET", "/api/version", **first).status, 401)
        shown = ask(gateway, "GET", "/api/gateway_groups/default", **{"X-API-KEY": made}).json["value"]
        self.assertEqual(shown["description"], "ours")

    def test_allowed_addresses(self) -> None:
        """Who may not connect is refused before anything else is looked at."""
        gateway = self.gateway(environ={"GATEWAY_ADMIN_ALLOW": "192.0.2.0/24"}).start()
        for path in ("/api/version", "/status"):
            answer = ask(gateway, "GET", path, **{"X-API-KEY": gateway.token})
            self.assertEqual(
                (answer.status, answer.json), (403, {"error_msg": "your address is not allowed here"})
            )

    def test_key_of_a_group(self) -> None:
        """A declarative client with the key of one group works there, without ever naming the group."""
        gateway = self.gateway().start()
        group = gateway.admin("POST", "/api/gateway_groups", {"name": "g"})[1]["value"]["id"]
        key = gateway.admin("PUT", f"/api/gateway_groups/{group}/admin_key")[1]["value"]["key"]
        client = Declarative(gateway.ports["admin"], str(gateway.data_dir / "admin.crt"), key)
        client.ping()
        client.start()
        document = {"services": [{"name": "s", "routes": [{"name": "r", "paths": ["/"]}]}]}
        client.sync(document)
        self.assertEqual(client.diff(document), [])
        self.assertEqual(gateway.admin("GET", "/apisix/admin/services")[1]["total"], 0)
