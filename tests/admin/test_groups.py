from __future__ import annotations

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.groups import default_group_change
from tests.admin.kit import GUIDE, Gateway, done

PATH = "/api/gateway_groups"


class GroupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def test_default(self) -> None:
        """The group ``default`` is there from the start, and stays."""
        for _ in range(2):
            reply = self.gateway.call("GET", PATH)
            self.assertEqual([(g["id"], g["name"]) for g in reply.json["list"]], [("default", "default")])
            self.assertEqual(self.gateway.call("GET", PATH + "/default").value["type"], "api7_gateway")
            refused = self.gateway.call("DELETE", PATH + "/default")
            self.assertEqual(
                (refused.status, refused.error), (400, "the gateway group default cannot be deleted")
            )
            if self.gateway.control.state.get("", "gateway_group", "default") is None:
                write = self.gateway.control.write(lambda s: [default_group_change()], author="gateway")
                done(Deferred.fromCoroutine(write))

    def test_default_can_be_described(self) -> None:
        """The built-in group can be changed though it was never made."""
        reply = self.gateway.call("PUT", PATH + "/default", {"name": "default", "description": "x"})
        self.assertEqual((reply.status, reply.value["description"]), (200, "x"))
        self.assertEqual(self.gateway.call("GET", PATH).json["total"], 1)

    def test_default_keeps_its_name(self) -> None:
        """Clients find the built-in group by its name, so nobody takes that away."""
        reply = self.gateway.call("PUT", PATH + "/default", {"name": "main"})
        self.assertEqual(
            (reply.status, reply.error), (400, 'Error at "/name": the built-in group is called default')
        )
        self.assertEqual(self.gateway.call("GET", PATH + "?name=default").json["total"], 1)

    def test_life_of_a_group(self) -> None:
        """A group is made under a UUID, whatever id is sent, and can be changed."""
        made = self.gateway.call("POST", PATH, {"id": "mine", "name": "a", "labels": {"x": "y"}}).value
        self.assertEqual((len(made["id"]), made["enforce_service_publishing"]), (36, False))
        path = f"{PATH}/{made['id']}"
        changed = self.gateway.call("PUT", path, {"name": "b", "description": "d"})
        self.assertEqual((changed.status, changed.value["name"], changed.value["id"]), (200, "b", made["id"]))
        self.assertEqual(self.gateway.call("GET", path).json, changed.json)
        self.assertEqual(self.gateway.call("DELETE", path).json, {})
        for method in ("GET", "PUT", "DELETE"):
            self.assertEqual(self.gateway.call(method, path, {"name": "b"}).status, 404)

    def test_found_by_name(self) -> None:
        """A name finds the group of exactly that name, also beside a search."""
        for name in ("prod", "prod-2"):
            self.gateway.call("POST", PATH, {"name": name})
        for query in ("name=prod", "name=prod&search=prod"):
            names = [group["name"] for group in self.gateway.call("GET", f"{PATH}?{query}").json["list"]]
            self.assertEqual(names, ["prod"])
        self.assertEqual(self.gateway.call("GET", PATH + "?search=prod").json["total"], 2)

    def test_names_are_unique(self) -> None:
        """Clients choose a group by its name, so it has only one owner."""
        id = self.gateway.call("POST", PATH, {"name": "a"}).value["id"]
        for name in ("a", "default"):
            self.assertEqual(self.gateway.call("POST", PATH, {"name": name}).status, 400)
        self.assertEqual(self.gateway.call("PUT", f"{PATH}/{id}", {"name": "a"}).status, 200)

    def test_cascade(self) -> None:
        """A group takes everything in it along, in one revision, and nothing else."""
        self.gateway.seed()
        id = self.gateway.call("POST", PATH, {"name": "a"}).value["id"]
        for path, body in GUIDE:
            self.assertEqual(self.gateway.call("PUT", path, body, query={"gateway_group_id": id}).status, 200)
        revision = self.gateway.control.state.revision
        self.assertEqual(self.gateway.call("DELETE", f"{PATH}/{id}").status, 200)
        state = self.gateway.control.state
        self.assertEqual(state.revision, revision + 1)
        for kind in ("service", "route", "consumer", "credential"):
            self.assertEqual((len(state.all(id, kind)), len(state.all("default", kind))), (0, 1))
        self.assertEqual(self.gateway.call("GET", GUIDE[0][0], query={"gateway_group_id": id}).status, 404)

    def test_methods(self) -> None:
        """Other methods are 405."""
        self.assertEqual(self.gateway.call("PUT", PATH).field("Allow"), "GET, HEAD, POST")
        self.assertEqual(
            self.gateway.call("POST", PATH + "/default").field("Allow"), "GET, HEAD, PUT, DELETE"
        )

    def test_instance_token(self) -> None:
        """A data plane's token is told once, as JSON or as plain text, and kept as a hash."""
        made = self.gateway.call("POST", f"{PATH}/default/instance_token")
        self.assertTrue(made.value["token_plain_text"].startswith("a7ee"))
        plain = self.gateway.call("POST", f"{PATH}/default/instance_token?only_token=true")
        self.assertEqual((plain.status, plain.field("Content-Type")), (200, "text/plain; charset=utf-8"))
        self.assertTrue(plain.raw.startswith(b"a7ee"))
        kept = repr(self.gateway.store._load().records)
        for token in (made.value["token_plain_text"], plain.raw.decode()):
            self.assertNotIn(token, kept)
            self.assertEqual(self.gateway.call("GET", "/api/version", token=token).status, 401)
        for path in ("instance_token", "admin_key"):
            self.assertEqual(self.gateway.call("GET", f"{PATH}/default/{path}").status, 405)
        self.assertEqual(self.gateway.call("PUT", f"{PATH}/none/admin_key").status, 404)

    def test_client_certificates(self) -> None:
        """Each data plane gets a certificate of its own from one authority, whose key stays here."""
        first, second = (
            self.gateway.call("POST", f"{PATH}/default/dp_client_certificates", {}) for _ in range(2)
        )
        self.assertEqual((first.status, first.field("Cache-Control")), (200, "no-store"))
        self.assertEqual(first.value["ca_certificate"], second.value["ca_certificate"])
        self.assertNotEqual(first.value["certificate"], second.value["certificate"])
        body = {"cert": first.value["certificate"], "key": first.value["private_key"]}
        self.assertEqual(self.gateway.call("PUT", "/api/validate_cert_key", body).status, 200)
        issued, authority = (
            x509.load_pem_x509_certificate(first.value[n].encode()) for n in ("certificate", "ca_certificate")
        )
        issued.verify_directly_issued_by(authority)
        self.assertEqual(self.gateway.call("POST", f"{PATH}/none/dp_client_certificates").status, 404)

    def test_services(self) -> None:
        """The services of a group are found by its path too, and can be taken out of it."""
        self.gateway.seed()
        id = GUIDE[0][0].rpartition("/")[2]
        self.assertEqual(self.gateway.call("GET", f"{PATH}/default/services").json["total"], 1)
        self.assertEqual(self.gateway.call("GET", f"{PATH}/default/services/{id}").value["id"], id)
        self.assertEqual(self.gateway.call("PUT", f"{PATH}/default/services/{id}", {}).status, 405)
        self.assertEqual(self.gateway.call("DELETE", f"{PATH}/default/services/{id}").status, 200)
        self.assertEqual(self.gateway.call("GET", f"{PATH}/default/services/{id}").status, 404)
        self.assertEqual(self.gateway.call("GET", f"{PATH}/none/services").status, 404)

    def test_instances(self) -> None:
        """The data planes are listed, all or those of a group, also by how they are."""
        gateway = Gateway(instances=lambda: [{"id": "i", "gateway_group_id": "default", "status": "Healthy"}])
        id = gateway.call("POST", PATH, {"name": "a"}).value["id"]
        for path, total in (
            ("/api/instances", 1),
            ("/api/instances?status=Lost", 0),
            (f"{PATH}/default/instances", 1),
            (f"{PATH}/{id}/instances", 0),
        ):
            self.assertEqual(gateway.call("GET", path).json["total"], total, path)
        self.assertEqual(gateway.call("GET", f"{PATH}/none/instances").status, 404)
