from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import GUIDE, Gateway, Reply

PATH = "/apisix/admin/configs/validate"


class ValidationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def _validate(self, body: object) -> Reply:
        revision = self.gateway.control.state.revision
        reply = self.gateway.call("POST", PATH, body)
        self.assertEqual(self.gateway.control.state.revision, revision)
        return reply

    def _errors(self, body: object) -> list[dict[str, Any]]:
        reply = self._validate(body)
        self.assertEqual((reply.status, reply.error), (400, "Configuration validation failed"))
        errors: list[dict[str, Any]] = reply.json["errors"]
        return errors

    def test_fine(self) -> None:
        """What could be written is fine, though nothing it refers to exists; nothing is stored."""
        service, route, consumer, credential = (body for _, body in GUIDE)
        for body in (
            {},
            {"routes": [], "upstreams": []},
            {
                "services": [{"service_id": "s", **service}],
                "routes": [{"route_id": "r", **route}],
                "stream_routes": [{"stream_route_id": "t", "name": "t", "service_id": "none"}],
                "consumers": [consumer, {"username": "old", "plugins": {"key-auth": {"key": "k"}}}],
                "consumer_credentials": [credential],
                "upstreams": [{"name": "blue", "service_id": "s", "nodes": []}],
                "global_rules": [{"plugins": {"limit-count": {"count": 1}}}],
                "plugin_metadata": [{"id": "limit-count", "log_format": {}}],
            },
        ):
            reply = self._validate(body)
            self.assertEqual((reply.status, reply.json), (200, {}), reply.raw)
        self.assertEqual(self.gateway.call("GET", "/apisix/admin/services").json["total"], 0)

    def test_all_errors(self) -> None:
        """Every bad document is named by array, place and id, with what is wrong with it."""
        route = GUIDE[1][1]
        errors = self._errors(
            {
                "routes": [
                    {"route_id": "a", **route},
                    {"route_id": "b", **route, "methods": ["FETCH"]},
                    {"route_id": "c", **route, "plugins": {"limit-count": {"count": 0}, "nope": {}}},
                    7,
                ],
                "services": [{}],
            }
        )
        self.assertEqual(
            errors,
            [
                {
                    "resource_type": "routes",
                    "resource_id": "b",
                    "index": 1,
                    "error": 'does not match schema due to: Error at "/methods/0": '
                    "value is not one of the allowed values",
                },
                {
                    "resource_type": "routes",
                    "resource_id": "c",
                    "index": 2,
                    "error": "failed to check the configuration of plugin limit-count err: "
                    'property "count" validation failed: expected 0 to be at least 1 | unknown plugin [nope]',
                },
                {
                    "resource_type": "routes",
                    "resource_id": "",
                    "index": 3,
                    "error": "value must be an object",
                },
                {
                    "resource_type": "services",
                    "resource_id": "",
                    "index": 0,
                    "error": 'does not match schema due to: Error at "/name": property "name" is missing',
                },
            ],
        )

    def test_metadata_of_no_plugin(self) -> None:
        """Metadata says whose it is."""
        (error,) = self._errors({"plugin_metadata": [{"log_format": {}}]})
        self.assertIn('property "id" is missing', error["error"])

    def test_duplicates(self) -> None:
        """The second document of an id is an error."""
        route, credential = GUIDE[1][1], GUIDE[3][1]
        errors = self._errors(
            {
                "routes": [{"id": "a", **route}, {"route_id": "a", **route}],
                "consumers": [
                    {"username": "u"},
                    {"id": "u/credentials/c", **credential},
                    {"username": "u"},
                    {"id": "u/credentials/c", **credential},
                ],
            }
        )
        self.assertEqual(
            [(e["index"], e["error"]) for e in errors],
            [
                (1, "found duplicate id a in routes"),
                (2, "found duplicate username u in consumers"),
                (3, "found duplicate credential id u/credentials/c in consumers"),
            ],
        )

    def test_not_readable(self) -> None:
        """A body that is no set of arrays is refused as a whole."""
        for body, words in (
            (b"", "invalid request body: empty request body"),
            (b"[]", "invalid request body: an object is needed"),
            ({"routes": {}}, "invalid request body: routes must be an array"),
            ({"rutes": []}, "invalid request body: unknown resource type rutes"),
        ):
            reply = self._validate(body)
            self.assertEqual((reply.status, reply.error), (400, words))
        self.assertEqual(self.gateway.call("GET", PATH).status, 405)
        self.assertEqual(self.gateway.call("POST", PATH, {}, query="x=1").status, 400)
