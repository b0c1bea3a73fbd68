from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.access import digest
from gateway.admin.tokens import bootstrap_changes, new_token
from tests.admin.kit import TOKEN, Gateway


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()

    def _status(self, token: str | None, **headers: str) -> int:
        return self.gateway.call("GET", "/api/version", token=token, headers=headers).status

    def test_unauthorized(self) -> None:
        """Without a valid token nothing is told but that one is needed, whatever the path."""
        for token in (None, "", "a7ee-wrong", TOKEN + "x", "x" * 5000):
            for path in (
                "/api/version",
                "/apisix/admin/routes",
                "/apisix/admin/nothing",
                "/api/tokens",
                "/nowhere",
            ):
                reply = self.gateway.call("GET", path, token=token)
                self.assertEqual((reply.status, reply.json), (401, {"error_msg": "unauthorized"}))

    def test_cookie(self) -> None:
        """The token may come as a cookie, but not from a page of another site."""
        self.assertEqual(self._status(None, Cookie=f"X-API-KEY={TOKEN}"), 200)
        self.assertEqual(self._status(None, Cookie="X-API-KEY=wrong"), 401)
        forged = {"Cookie": f"X-API-KEY={TOKEN}", "Sec-Fetch-Site": "cross-site"}
        self.assertEqual(self._status(None, **forged), 401)

    def test_life_of_a_token(self) -> None:
        """A token is told once, works at once, and stops at once when it is revoked."""
        made = self.gateway.call("POST", "/api/tokens", {"name": "ci"})
        self.assertEqual((made.status, made.field("Cache-Control")), (200, "no-store"))
        token, id = made.value["token"], made.value["id"]
        self.assertTrue(token.startswith("a7ee-"))
        self.assertEqual((made.value["name"], made.value["expires_at"]), ("ci", 0))
        self.assertEqual(self._status(token), 200)
        for path in ("/api/tokens", f"/api/tokens/{id}"):
            reply = self.gateway.call("GET", path)
            self.assertEqual(reply.field("Cache-Control"), "no-store")
            self.assertNotIn(token.encode(), reply.raw)
            self.assertNotIn(digest(token.encode()).encode(), reply.raw)
        self.assertEqual(self.gateway.call("DELETE", f"/api/tokens/{id}").json, {})
        self.assertEqual(self._status(token), 401)
        self.assertEqual(self.gateway.call("DELETE", f"/api/tokens/{id}").status, 404)

    def test_first_token_stays_revoked(self) -> None:
        """The token that the gateway starts with is not brought back by the next start once it is revoked."""
        state = self.gateway.control
        self.assertEqual(bootstrap_changes(state.state, TOKEN), [])
        other = self.gateway.call("POST", "/api/tokens", {"name": "mine"}).value["token"]
        self.assertEqual(self.gateway.call("DELETE", "/api/tokens/bootstrap", token=other).json, {})
        self.assertEqual(self._status(TOKEN), 401)
        self.assertEqual(bootstrap_changes(state.state, TOKEN), [])
        # A new one, in gw.ini or made because the file was removed, is a way back in.
        changes = bootstrap_changes(state.state, "a7ee-new")
        Deferred.fromCoroutine(state.write(lambda now: changes, author="tests"))
        self.assertEqual(self._status("a7ee-new"), 200)
        self.assertEqual(len(bootstrap_changes(state.state, TOKEN)), 1)

    def test_first_token_as_it_was_changed(self) -> None:
        """A start leaves the first token as people have named it, and with the expiry they gave it."""
        body = {"name": "old", "expires_at": 2_000_000}
        self.assertEqual(self.gateway.call("PUT", "/api/tokens/bootstrap", body).status, 200)
        self.assertEqual(bootstrap_changes(self.gateway.control.state, TOKEN), [])

    def test_only_a_hash_is_kept(self) -> None:
        """The store never sees a token."""
        token = self.gateway.call("POST", "/api/tokens", {"name": "ci"}).value["token"]
        kept = json.dumps([record.value for record in self.gateway.store._load().records])
        self.assertNotIn(token, kept)
        self.assertNotIn(TOKEN, kept)

    def test_expiry(self) -> None:
        """A token ends at the second it says."""
        body = {"name": "ci", "expires_at": int(self.gateway.clock.now) + 60}
        token = self.gateway.call("POST", "/api/tokens", body).value["token"]
        self.gateway.clock.now += 59
        self.assertEqual(self._status(token), 200)
        self.gateway.clock.now += 1
        self.assertEqual(self._status(token), 401)

    def test_rename_and_new_expiry(self) -> None:
        """A token keeps working under a new name; a rename alone does not lengthen its life."""
        expires_at = int(self.gateway.clock.now) + 60
        made = self.gateway.call("POST", "/api/tokens", {"name": "ci", "expires_at": expires_at}).value
        path = "/api/tokens/" + made["id"]
        renamed = self.gateway.call("PUT", path, {"name": "cd"})
        self.assertEqual((renamed.value["name"], renamed.value["expires_at"]), ("cd", expires_at))
        self.assertNotIn("token", renamed.value)
        self.assertEqual(self._status(made["token"]), 200)
        self.gateway.call("PUT", path, {"name": "cd", "expires_at": 0})
        self.gateway.clock.now += 999
        self.assertEqual(self._status(made["token"]), 200)
        self.assertEqual(self.gateway.call("PUT", "/api/tokens/none", {"name": "x"}).status, 404)

    def test_bad_documents(self) -> None:
        """A token needs a name, and its expiry is a time; nothing else can be set."""
        for body in (
            {},
            {"name": ""},
            {"name": "x", "expires_at": -1},
            {"name": "x", "hash": "y"},
            {"name": 1},
        ):
            self.assertEqual(self.gateway.call("POST", "/api/tokens", body).status, 400)

    def test_tokens_are_random(self) -> None:
        """No two tokens are alike, and each has 256 bits."""
        self.assertEqual(len({new_token() for _ in range(100)}), 100)
        self.assertEqual(len(new_token()), len("a7ee-") + 43)
