"""The Admin API of a real gateway, called with whatever its own description allows and forbids."""

from __future__ import annotations

import os
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.admin import openapi
from tests.e2e.gateway_process import LIMIT_S, EndToEndCase, GatewayProcess

EXAMPLES = int(os.environ.get("GATEWAY_FUZZ_EXAMPLES", "1"))
"""Calls of each operation that fit the document, and as many that do not. More find more, and take longer."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
KNOWN = {"service_id": "s", "consumer_id": "c", "username": "c"}
LIKE_PUT = ("routes", "upstreams", "credentials", "protos", "ssls", "certificates", "snis", "global_rules")
"""Collections whose POST takes what the PUT of an item takes: passed over in a short run."""
SEED = (
    ("/apisix/admin/services/s", {"name": "s"}),
    ("/apisix/admin/services/t", {"name": "t", "type": "stream"}),
    ("/apisix/admin/consumers/c", {}),
)


class FuzzTests(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.session = requests.Session()
        self.addCleanup(self.session.close)

    def started(self) -> GatewayProcess:
        """A gateway that hardly logs, and has not been asked for a password too often."""
        environ = {"GATEWAY_LOG_LEVEL": "error", "GATEWAY_ADMIN_LOGIN_ATTEMPTS": "1000"}
        gateway = self.gateway(environ=environ).start()
        for path, body in SEED:
            self.assertEqual(gateway.admin("PUT", path, body)[0], 200)
        return gateway

    def fuzz(self, dialect: str, gateway: GatewayProcess, **transport: Any) -> int:
        """Call every operation of a dialect. Returns how many calls that were."""
        transport = {"session": self.session, "timeout": LIMIT_S, **transport}
        called = 0
        for found in schemathesis.openapi.from_dict(openapi.document(dialect)).get_all_operations():
            operation = found.ok()
            if EXAMPLES == 1 and operation.method == "post" and operation.path.endswith(LIKE_PUT):
                continue
            own = {each.name for each in operation.path_parameters}
            chosen: dict[str, Any] = {"path_parameters": {n: v for n, v in KNOWN.items() if n in own}}
            if any(each.name == "gateway_group_id" for each in operation.query):
                chosen["query"] = {"gateway_group_id": "default"}
            # Without content there is little that could be wrong.
            modes = list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]
            for mode in modes:
                called += self._call(operation, mode, chosen, transport)
        self.assertTrue(gateway.running())
        self.assertEqual(gateway.admin("GET", "/api/status")[1]["value"]["bugs"], 0)
        return called

    def test_enterprise(self) -> None:
        """Whatever is sent, the answer is one the document tells of, and no error of the server's."""
        gateway = self.started()
        called = self.fuzz(
            "enterprise",
            gateway,
            base_url=f"https://127.0.0.1:{gateway.ports['admin']}",
            headers={"X-API-KEY": gateway.token},
            verify=str(gateway.data_dir / "admin.crt"),
        )
        self.assertGreater(called, 130)

    def test_apisix(self) -> None:
        """The same of the other dialect, on its own listener."""
        gateway = self.started()
        key = (gateway.data_dir / "apisix-admin-key").read_text().strip()
        called = self.fuzz(
            "apisix",
            gateway,
            base_url=f"http://127.0.0.1:{gateway.ports['apisix']}",
            headers={"X-API-KEY": key},
        )
        self.assertGreater(called, 50)

    def _call(self, operation: Any, mode: Any, chosen: dict[str, Any], transport: dict[str, Any]) -> int:
        strategy = operation.as_strategy(generation_mode=mode, **chosen)
        called = []

        @given(case=strategy)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def call(case: Any) -> None:
            response = case.call(**transport)
            called.append(response)
            case.validate_response(response, checks=CHECKS)

        try:
            call()
        except Exception as error:
            raise AssertionError(f"{operation.label} ({mode.value}): {error}") from error
        return len(called)
