"""What no schema can say about a document of the enterprise dialect."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.model.record import Change
from gateway.plugins import limit_conn, limit_count, limit_req
from gateway.registry import PluginRegistry
from tests.admin.kit import GUIDE, Gateway

ADMIN = "/apisix/admin"
ROUTE = dict(GUIDE[1][1], plugins={})
SETTINGS: dict[str, dict[str, Any]] = {
    "limit-count": {"count": 1, "time_window": 1},
    "limit-req": {"rate": 1, "burst": 0, "key": "remote_addr"},
    "limit-conn": {"conn": 1, "burst": 0, "default_conn_delay": 1, "key": "remote_addr"},
}


def limits() -> PluginRegistry:
    """The plugins that limit."""
    return PluginRegistry([(each.plugin, "tests") for each in (limit_conn, limit_count, limit_req)])


class PolicyTests(SynchronousTestCase):
    """Where counters are kept must be said in the enterprise dialect (plugin contract §9)."""

    def setUp(self) -> None:
        self.gateway = Gateway(limits())
        self.gateway.call("PUT", f"{ADMIN}/services/{ROUTE['service_id']}", GUIDE[0][1])

    def put(self, plugins: dict[str, Any], path: str = "routes/r") -> Any:
        return self.gateway.call("PUT", f"{ADMIN}/{path}", {**ROUTE, "plugins": plugins})

    def test_asked_for(self) -> None:
        """Without a policy a limit is refused, with one it is taken."""
        for name, settings in SETTINGS.items():
            reply = self.put({name: settings})
            text = f'failed to check the configuration of plugin {name} err: property "policy" is required'
            self.assertEqual((reply.status, reply.error), (400, text))
            self.assertEqual(reply.json["errors"][0]["pointer"], f"/plugins/{name}/policy")
            self.assertEqual(self.put({name: {**settings, "policy": "local"}}).status, 200)

    def test_disabled(self) -> None:
        """A plugin that is off is not looked at."""
        self.assertEqual(self.put({"limit-count": {"_meta": {"disable": True}}}).status, 200)

    def test_stored_before(self) -> None:
        """What is stored without a policy, by an earlier release say, stays as it is; a change needs one."""
        old = {**ROUTE, "plugins": {"limit-count": SETTINGS["limit-count"]}}
        change = Change("default", "route", "r", old, "enterprise")
        Deferred.fromCoroutine(self.gateway.control.write(lambda state: [change], author="tests"))
        patched = self.gateway.call("PATCH", f"{ADMIN}/routes/r", {"desc": "new"})
        self.assertEqual((patched.status, patched.value["desc"]), (200, "new"))
        self.assertEqual(self.put(old["plugins"]).status, 200)
        self.assertEqual(self.put({"limit-count": {"count": 2, "time_window": 1}}).status, 400)

    def test_published(self) -> None:
        """The schema that this dialect publishes says so, too."""
        schema = self.gateway.call("GET", f"{ADMIN}/plugins/limit-req").json
        self.assertEqual(schema["required"], ["rate", "burst", "key", "policy"])
        pages = self.gateway.call("GET", f"{ADMIN}/plugins?all=true").json
        self.assertIn("policy", pages["limit-count"]["schema"]["required"])


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def test_proto(self) -> None:
        """The content of a proto has the form of a definition."""
        reply = self.gateway.call("PUT", f"{ADMIN}/protos/p", {"content": "messag A {}"})
        text = "Error at \"/content\": invalid content: line 1: found 'messag', ';' is needed"
        self.assertEqual((reply.status, reply.error), (400, text))
        for content in ("message A {}", "$env://PROTO"):
            self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/protos/p", {"content": content}).status, 200)

    def test_node_without_port(self) -> None:
        """A node in a list has a port; in the older form its scheme's will do."""
        body: dict[str, Any] = {"name": "s", "upstream": {"nodes": [{"host": "h", "weight": 1}]}}
        reply = self.gateway.call("PUT", f"{ADMIN}/services/s", body)
        text = 'Error at "/upstream/nodes/0/port": property "port" is missing'
        self.assertEqual((reply.status, reply.error), (400, text))
        body["upstream"]["nodes"] = {"h": 1}
        self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/services/s", body).status, 200)

    def test_node_of_the_other_dialect(self) -> None:
        """Where the other dialect leaves the port out, it is shown: what is read can be written back."""
        value = {"upstream": {"scheme": "https", "nodes": [{"host": "h", "weight": 1}]}}
        change = Change("default", "service", "s", value, "apisix")
        Deferred.fromCoroutine(self.gateway.control.write(lambda state: [change], author="tests"))
        shown = self.gateway.call("GET", f"{ADMIN}/services/s").value
        self.assertEqual(shown["upstream"]["nodes"], [{"host": "h", "weight": 1, "port": 443, "priority": 0}])
        self.assertEqual(self.gateway.call("PUT", f"{ADMIN}/services/s", shown).status, 200)
