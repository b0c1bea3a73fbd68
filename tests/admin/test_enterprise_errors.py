from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.kit import GUIDE, Gateway

ADMIN = "/apisix/admin"
SECRET = "hunter2"


class ProblemTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.gateway.seed()

    def _errors(self, path: str, body: object) -> tuple[str, list[dict[str, Any]]]:
        reply = self.gateway.call("PUT", ADMIN + path, body)
        self.assertEqual(reply.status, 400, reply.raw)
        self.assertEqual(sorted(reply.json), ["error_msg", "errors"])
        return reply.error, reply.json["errors"]

    def test_all_at_once(self) -> None:
        """Every problem is told, each with its place, in one line and as a list."""
        text, errors = self._errors(
            "/services/s",
            {"path_prefix": 1, "upstream": {"nodes": [{"host": "h", "port": 1}], "retries": -1}},
        )
        self.assertEqual(
            text,
            'Error at "/name": property "name" is missing'
            ' | Error at "/path_prefix": value must be a string'
            ' | Error at "/upstream/nodes/0/weight": property "weight" is missing'
            ' | Error at "/upstream/retries": number must be at least 0',
        )
        self.assertEqual(
            errors,
            [
                {"pointer": "/name", "rule": "required", "expected": "name"},
                {"pointer": "/path_prefix", "rule": "type", "expected": "string", "got": 1},
                {"pointer": "/upstream/nodes/0/weight", "rule": "required", "expected": "weight"},
                {"pointer": "/upstream/retries", "rule": "minimum", "expected": 0, "got": -1},
            ],
        )

    def test_hints_at_words(self) -> None:
        """A word in the wrong letter case, or misspelt, is met with the right one; alternatives are told."""
        body = {**GUIDE[1][1], "methods": ["get", "DELET"]}
        _, errors = self._errors("/routes/r", body)
        self.assertEqual([e["hint"] for e in errors], ['did you mean "GET"?', 'did you mean "DELETE"?'])
        _, errors = self._errors("/secret_providers/gcp/x", {})
        self.assertEqual(errors[0]["hint"], 'value must have "auth_config", or "auth_file"')

    def test_hints(self) -> None:
        """A misspelt member or plugin is met with the one that was meant, or where it belongs."""
        body = {
            **GUIDE[1][1],
            "method": ["GET"],
            "uris": ["/"],
            "hosts": ["h"],
            "zzz": 1,
            "plugins": {"jwt_auth": {}, "foo": {}},
        }
        text, errors = self._errors("/routes/r", body)
        hints = {error["pointer"]: error.get("hint") for error in errors}
        self.assertEqual(
            hints,
            {
                "/method": 'did you mean "methods"?',
                "/uris": 'use "paths"',
                "/hosts": "hosts belong to the service",
                "/zzz": None,
                "/plugins/jwt_auth": 'did you mean "jwt-auth"?',
                "/plugins/foo": None,
            },
        )
        self.assertIn("unknown plugin [foo]", text)
        self.assertIn('Error at "/uris": property "uris" is unsupported', text)

    def test_foreign_members_of_routes(self) -> None:
        """What only the other dialect's routes have is refused here."""
        for name in ("uri", "uris", "host", "hosts", "remote_addr", "remote_addrs", "upstream", "upstream_id",
                     "plugin_config_id", "script", "filter_func", "status"):  # fmt: skip
            text, _ = self._errors("/routes/r", {**GUIDE[1][1], name: "x"})
            self.assertEqual(text, f'Error at "/{name}": property "{name}" is unsupported')

    def test_plugin_settings(self) -> None:
        """Settings of a plugin are refused in the words its users know, all of them."""
        prefix = "failed to check the configuration of plugin limit-count err: "
        for config, words in (
            ({}, 'property "count" is required'),
            ({"count": "x"}, 'property "count" validation failed: wrong type: expected integer, got string'),
            ({"count": 13}, "13 brings bad luck"),
            (
                {"count": 1, "nodes": [{"host": 1}, {}]},
                'property "nodes" validation failed: failed to validate item 2: property "host" is required',
            ),
            (
                {"count": 1, "_meta": {"x": 1}},
                'property "_meta" validation failed: additional properties forbidden, found x',
            ),
            (
                {"count": 1, "_meta": {"filter": [["arg_a", "=", "b"]]}},
                "failed to validate the 'vars' expression: invalid operator '='",
            ),
        ):
            text, errors = self._errors("/routes/r", {**GUIDE[1][1], "plugins": {"limit-count": config}})
            self.assertEqual(text, prefix + words)
            self.assertTrue(errors[0]["pointer"].startswith("/plugins/limit-count"))
        text, _ = self._errors(
            "/routes/r", {**GUIDE[1][1], "plugins": {"limit-count": {"count": 0, "nodes": 1}}}
        )
        self.assertEqual(text.count(prefix), 2)
        meta = {"disable": True, "filter": ["never read"]}
        disabled = {**GUIDE[1][1], "plugins": {"limit-count": {"_meta": meta}}}
        self.assertEqual(self.gateway.call("PUT", ADMIN + "/routes/r", disabled).status, 200)

    def test_null_is_told_as_such(self) -> None:
        """What was given in place of the right type is told, null too."""
        _, errors = self._errors("/services/s", {"name": None})
        self.assertEqual(errors, [{"pointer": "/name", "rule": "type", "expected": "string", "got": None}])

    def test_plugin_settings_must_be_objects(self) -> None:
        """Settings that are no object are refused, and not repeated."""
        text, errors = self._errors("/routes/r", {**GUIDE[1][1], "plugins": {"jwt-auth": SECRET}})
        self.assertEqual(text, 'Error at "/plugins/jwt-auth": value must be an object')
        self.assertEqual(errors, [{"pointer": "/plugins/jwt-auth", "rule": "type", "expected": "object"}])

    def test_credentials(self) -> None:
        """A credential's settings are refused in the words of the open-source gateway."""
        prefix = "invalid plugins configuration: failed to check the configuration of plugin jwt-auth err: "
        only = "only supports auth type plugins in consumer credential"
        for plugins, words in (
            ({"jwt-auth": {"secret": "s"}}, prefix + 'property "key" is required'),
            (
                {"jwt-auth": {"key": 123, "secret": "s"}},
                prefix + 'property "key" validation failed: wrong type: expected string, got number',
            ),
            (
                {"jwt-auth": {"key": "", "secret": "s"}},
                prefix + 'property "key" validation failed: string too short, expected at least 1, got 0',
            ),
            (
                {"jwt-auth": {"key": "k", "algorithm": "RS256"}},
                prefix + 'failed to validate dependent schema for "algorithm": '
                "value should match only one schema, but matches none",
            ),
            (
                {"jwt-auth": {"key": "k"}},
                prefix + 'property "secret" is required when using HS based algorithms',
            ),
            ({"limit-count": {"count": 1}}, only),
            ({"jwt-auth": {"key": "a", "secret": "s"}, "key-auth": {"key": "b"}}, only),
            ({"jwt-auth": {"key": "a", "secret": "s"}, "limit-count": {"count": 1}}, only),
            ({}, only),
            ({"none": {}}, "unknown plugin [none]"),
        ):
            text, _ = self._errors(
                "/consumers/jwt-auth-consumer/credentials/c", {"name": "c", "plugins": plugins}
            )
            self.assertEqual(text, words)
        text, _ = self._errors("/consumers/jack", {"plugins": {"jwt-auth": {"secret": "s"}}})
        self.assertEqual(text, prefix + 'property "key" is required')

    def test_nested_pointers(self) -> None:
        """A problem deep inside a plugin's alternatives still points at its place in the document."""
        body = {"name": "c", "plugins": {"jwt-auth": {"key": "k", "algorithm": "RS256"}}}
        _, errors = self._errors("/consumers/jwt-auth-consumer/credentials/c", body)
        self.assertEqual([error["pointer"] for error in errors], ["/plugins/jwt-auth/public_key"])

    def test_secrets_are_never_repeated(self) -> None:
        """No error repeats a secret, wherever it stands and whatever is wrong with it."""
        route, credential = GUIDE[1][1], {"name": "c"}
        path = "/consumers/jwt-auth-consumer/credentials/c"
        for where, body in (
            ("/routes/r", {**route, "plugins": {"limit-count": {"count": 1, "redis_password": SECRET}}}),
            ("/routes/r", {**route, "plugins": {"unknown": {"x": SECRET}}}),
            ("/routes/r", {**route, "plugins": SECRET}),
            ("/services/s", {"name": "s", "upstream": {"tls": {"client_key": SECRET}}}),
            (path, {**credential, "plugins": {"jwt-auth": {"key": [SECRET], "secret": {"a": SECRET}}}}),
            (path, {**credential, "plugins": {"jwt-auth": [SECRET]}}),
            (path, {**credential, "plugins": {"jwt-auth": {"secret": SECRET}}}),
            (path, {"plugins": {"key-auth": {"key": SECRET}}}),
        ):
            reply = self.gateway.call("PUT", ADMIN + where, body)
            self.assertEqual(reply.status, 400, body)
            self.assertNotIn(SECRET.encode(), reply.raw)

    def test_long_values_are_cut(self) -> None:
        """A long value is shown by its beginning only."""
        _, errors = self._errors("/services/s", {"name": "s", "type": "x" * 5000})
        self.assertLess(len(errors[0]["got"]), 100)

    def test_many_problems(self) -> None:
        """A document wrong in a thousand places gets a short answer that says so."""
        text, errors = self._errors("/services/s", {"name": "s", **{f"x{n}": 1 for n in range(1000)}})
        self.assertTrue(text.endswith("and 950 more"))
        self.assertEqual(len(errors), 50)
