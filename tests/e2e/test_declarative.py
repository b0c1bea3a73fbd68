"""A declarative client brings a real gateway to what a document says, and finds nothing left to do."""

from __future__ import annotations

import copy
from typing import Any

from tests import certs
from tests.e2e.declarative import ADMIN, Declarative, Failed
from tests.e2e.gateway_process import EndToEndCase

PAIR = certs.pair("a.test", "b.test")
NODES = [{"host": "127.0.0.1", "port": 9, "weight": 1}]
DOCUMENT: dict[str, Any] = {
    "services": [
        {
            "name": "books",
            "desc": "The books",
            "labels": {"team": "shop"},
            "hosts": ["a.test"],
            "path_prefix": "/v1",
            "upstream": {
                "nodes": NODES,
                "timeout": {"connect": 3},
                "checks": {"active": {"type": "http", "http_path": "/up", "healthy": {"interval": 2}}},
            },
            "plugins": {"key-auth": {}},
            "upstreams": [{"name": "blue", "nodes": NODES}, {"name": "green", "type": "chash", "key": "uri"}],
            "routes": [
                {"name": f"r{number}", "paths": [f"/r{number}", f"/r{number}/*"], "methods": ["GET"]}
                for number in range(25)
            ]
            + [
                {
                    "name": "all",
                    "paths": ["/*"],
                    "priority": 7,
                    "vars": [["arg_a", "==", "1"]],
                    "timeout": {"read": 5},
                }
            ],
        },
        {"name": "bare", "strip_path_prefix": False},
        {
            "name": "mail",
            "upstream": {"scheme": "tcp", "nodes": NODES, "pass_host": "pass"},
            "stream_routes": [{"name": "smtp", "server_port": 2525, "remote_addr": "10.0.0.0/8"}],
        },
    ],
    "consumers": [
        {
            "username": f"u{number}",
            "credentials": [
                {"name": "phone", "plugins": {"key-auth": {"key": f"key-{number}"}}},
                {"name": "desk", "plugins": {"jwt-auth": {"key": f"desk-{number}", "secret": "s" * 32}}},
            ],
        }
        for number in range(5)
    ],
    "ssls": [{"snis": ["a.test", "b.test"], "type": "server", "cert": PAIR.cert, "key": PAIR.key}],
    "global_rules": {"key-auth": {"_meta": {"disable": True}}},
    "plugin_metadata": {"key-auth": {"anything": [1, {"a": "b"}]}},
}


class DeclarativeTests(EndToEndCase):
    def test_there_and_back(self) -> None:
        """sync, then diff is empty; the dump differs in nothing; sync of nothing leaves nothing."""
        gateway = self.gateway().start()
        for path, body in (
            ("services/s", {"name": "by hand"}),
            ("routes/r", {"name": "r", "paths": ["/"], "service_id": "s"}),
            ("consumers/u1", {}),
        ):
            self.assertEqual(gateway.admin("PUT", f"{ADMIN}/{path}", body)[0], 200)
        client = Declarative(gateway.ports["admin"], str(gateway.data_dir / "admin.crt"), gateway.token)
        client.ping()
        client.start()
        self.assertEqual(client.validate(DOCUMENT), [])

        done = client.sync(DOCUMENT)
        self.assertIn(("delete", "services/s"), {(event.what, event.path) for event in done})
        self.assertEqual(client.diff(copy.deepcopy(DOCUMENT)), [])

        dump = client.dump()
        self.assertEqual(client.diff(copy.deepcopy(dump), managed=False), [])
        names = sorted(service["name"] for service in dump["services"])
        self.assertEqual(names, ["bare", "books", "mail"])
        self.assertEqual(len(client.dump({"managed-by": "adc", "team": "shop"})["services"]), 1)

        changed = copy.deepcopy(DOCUMENT)
        changed["services"][0]["routes"][3]["methods"] = ["GET", "POST"]
        del changed["consumers"][4], changed["services"][2]
        self.assertEqual(
            [(event.what, event.kind) for event in client.sync(changed)],
            [("delete", "service"), ("delete", "consumer"), ("update", "route")],
        )
        self.assertEqual(client.diff(changed), [])

        client.sync({})
        self.assertEqual(
            client.dump(),
            {"services": [], "consumers": [], "ssls": [], "global_rules": {}, "plugin_metadata": {}},
        )
        for kind in ("routes", "stream_routes"):
            self.assertEqual(gateway.admin("GET", f"{ADMIN}/{kind}")[1], {"list": [], "total": 0})

    def test_a_tcp_service_without_stream_routes(self) -> None:
        """
        Such a service is compared by the table of an HTTP one: the second sync still writes, and
        what it writes is kept, so the third has nothing to do (contract §6.4 rule 4).
        """
        gateway = self.gateway().start()
        client = Declarative(gateway.ports["admin"], str(gateway.data_dir / "admin.crt"), gateway.token)
        client.start()
        document = {"services": [{"name": "t", "upstream": {"scheme": "tcp", "nodes": NODES}}]}
        told = [[event.what for event in client.sync(document)] for _ in range(3)]
        self.assertEqual(told, [["create"], ["update"], []])

    def test_validate(self) -> None:
        """What cannot be written is named by its array and place, and nothing is stored."""
        gateway = self.gateway().start()
        client = Declarative(gateway.ports["admin"], str(gateway.data_dir / "admin.crt"), gateway.token)
        client.start()
        bad = copy.deepcopy(DOCUMENT)
        bad["services"][0]["routes"][2]["methods"] = ["FETCH"]
        bad["services"][0]["plugins"] = {"no-such": {}}
        bad["consumers"][1]["credentials"][0]["plugins"] = {"key-auth": {}}
        errors = client.validate(bad)
        self.assertEqual(
            [(error["resource_type"], error["index"]) for error in errors],
            [("services", 0), ("routes", 2), ("consumer_credentials", 2)],
        )
        self.assertEqual(client.dump()["services"], [])
        with self.assertRaises(Failed) as caught:
            client.call("PUT", f"{ADMIN}/routes/r", {"name": "r"}, gateway_group_id="default")
        self.assertEqual(caught.exception.status, 400)
