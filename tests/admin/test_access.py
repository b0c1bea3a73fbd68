from __future__ import annotations

import base64
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin import passwords
from gateway.admin.access import AccessLimits, Presented
from gateway.admin.users import first_user
from tests.admin.kit import TOKEN, Gateway, Reply, done

ADMIN = "/apisix/admin"
PASSWORD = "correct horse"


class AccessCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(passwords, "_LOG_N", 4)
        self.gateway = Gateway(access=AccessLimits(login_attempts=3, login_window_s=60, session_ttl_s=600))
        change = first_user(passwords.hashed(PASSWORD))
        done(Deferred.fromCoroutine(self.gateway.control.write(lambda s: [change], author="gateway")))

    def call(self, method: str, path: str, body: object = None, **more: Any) -> Reply:
        return self.gateway.call(method, path, body, token=None, **more)

    def basic(self, name: str, password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}

    def log_in(self, name: str = "admin", password: str = PASSWORD, **headers: str) -> Reply:
        return self.call("POST", "/api/login", {"username": name, "password": password}, headers=headers)

    def cookie(self, **more: str) -> dict[str, str]:
        """The cookie of a new session."""
        text = self.log_in(**more).field("Set-Cookie")
        assert text is not None
        return {"Cookie": text.partition(";")[0]}


class SessionTests(AccessCase):
    def test_log_in(self) -> None:
        """Who knows the password gets a session that scripts and other sites cannot use."""
        reply = self.log_in()
        self.assertEqual((reply.status, reply.value["username"]), (200, "admin"))
        cookie = reply.field("Set-Cookie") or ""
        self.assertRegex(
            cookie, "^session=[A-Za-z0-9_-]{43}; Path=/; Max-Age=600; HttpOnly; SameSite=Strict$"
        )
        self.assertNotIn(b"scrypt", reply.raw)
        headers = {"Cookie": cookie.partition(";")[0]}
        self.assertEqual(self.call("PUT", f"{ADMIN}/services/s", {"name": "s"}, headers=headers).status, 200)
        self.gateway.clock.now += 600
        self.assertEqual(self.call("GET", "/api/version", headers=headers).status, 401)

    def test_log_out(self) -> None:
        """A session that was ended is of no use."""
        headers = self.cookie()
        self.assertEqual(self.call("POST", "/api/logout", headers=headers).status, 200)
        self.assertEqual(self.call("GET", "/api/version", headers=headers).status, 401)

    def test_other_sites(self) -> None:
        """A page of another site can neither use a session nor begin one."""
        headers = self.cookie()
        put = {"method": "PUT", "path": f"{ADMIN}/services/s", "body": {"name": "s"}}
        for more, status in (
            ({"Sec-Fetch-Site": "cross-site"}, 401),
            ({"Sec-Fetch-Site": "same-site"}, 401),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Sec-Fetch-Site": "none"}, 200),
            ({"Origin": "https://evil.test"}, 401),
            ({"Origin": "null"}, 401),
            ({"Origin": "http://127.0.0.1"}, 200),
        ):
            reply = self.call(**put, headers={**headers, **more})  # type: ignore[arg-type]
            self.assertEqual(reply.status, status, more)
        self.assertEqual(self.log_in(**{"Sec-Fetch-Site": "cross-site"}).status, 403)

    def test_no_cross_origin_answers(self) -> None:
        """No answer tells a browser that another site may read it."""
        reply = self.gateway.call("OPTIONS", "/api/version", headers={"Origin": "https://evil.test"})
        self.assertIsNone(reply.field("Access-Control-Allow-Origin"))

    def test_wrong(self) -> None:
        """A wrong name and a wrong password are told in the same words."""
        for name, password in (("admin", "wrong"), ("nobody", PASSWORD), ("admin", "x" * 500)):
            reply = self.log_in(name, password)
            self.assertEqual((reply.status, reply.json), (401, {"error_msg": "unauthorized"}))
        self.assertEqual(self.call("GET", "/api/login").status, 405)
        self.assertEqual(self.call("POST", "/api/login", {"username": "admin"}).status, 400)

    def test_guessing(self) -> None:
        """After some failures a name has to wait, even with the right password; others need not."""
        for _ in range(3):
            self.assertEqual(self.log_in(password="wrong").status, 401)
        reply = self.log_in()
        self.assertEqual((reply.status, reply.field("Retry-After")), (429, "60"))
        self.assertEqual(self.call("GET", "/api/version", headers=self.basic("admin", PASSWORD)).status, 429)
        self.assertEqual(self.gateway.call("GET", "/api/version").status, 200)
        self.gateway.clock.now += 60
        self.assertEqual(self.log_in().status, 200)


class BasicTests(AccessCase):
    def test_basic(self) -> None:
        """A user may send name and password with every call."""
        headers = self.basic("admin", PASSWORD)
        hashes: list[int] = []
        fits = passwords.fits
        self.patch(passwords, "fits", lambda *args: hashes.append(1) or fits(*args))
        for _ in range(3):
            self.assertEqual(self.call("GET", "/api/version", headers=headers).status, 200)
        self.assertEqual(len(hashes), 1)
        for headers in (
            self.basic("admin", "wrong"),
            {"Authorization": "Basic !"},
            {"Authorization": "Basic YQ=="},
            {"Authorization": "Bearer x"},
            {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        ):
            self.assertEqual(self.call("GET", "/api/version", headers=headers).status, 401)

    def test_after_a_new_password(self) -> None:
        """A password that was changed is of no use, though it was good a moment ago."""
        old = self.basic("admin", PASSWORD)
        session = self.cookie()
        body = {"old_password": PASSWORD, "new_password": "battery staple"}
        self.assertEqual(self.call("PUT", "/api/password", body, headers=old).status, 200)
        self.assertEqual(self.call("GET", "/api/version", headers=old).status, 401)
        self.assertEqual(self.call("GET", "/api/version", headers=session).status, 401)
        self.assertEqual(
            self.call("GET", "/api/version", headers=self.basic("admin", "battery staple")).status, 200
        )


class PresentedTests(SynchronousTestCase):
    def test_foreign(self) -> None:
        """Where a request comes from is told by the browser; without a word it is no browser."""

        def shown(method: str = "PUT", **fields: str) -> Presented:
            values = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
            return Presented(method, values.get, lambda name: None)

        self.assertFalse(shown().is_foreign)
        self.assertTrue(shown(origin="https://a.test", host="b.test").is_foreign)
        self.assertFalse(shown(origin="https://A.test:7443", host="a.test:7443").is_foreign)
        self.assertFalse(shown("GET", origin="https://a.test", host="b.test").is_foreign)
        self.assertTrue(shown("GET", sec_fetch_site="cross-site").is_foreign)


class GroupKeyTests(AccessCase):
    def test_one_group(self) -> None:
        """The key of a group needs no parameter, and never reaches another group."""
        group = self.gateway.call("POST", "/api/gateway_groups", {"name": "g"}).value["id"]
        key = self.gateway.call("PUT", f"/api/gateway_groups/{group}/admin_key").value["key"]
        self.assertTrue(key.startswith("a7adm-"))
        service = f"{ADMIN}/services/s"
        for query in ("x=1", {"gateway_group_id": group}):
            reply = self.gateway.call("PUT", service, {"name": "s"}, token=key, query=query)
            self.assertEqual((reply.status, reply.value["gateway_group_id"]), (200, group))
        for method in ("GET", "PUT", "DELETE"):
            reply = self.gateway.call(
                method, service, {"name": "s"}, token=key, query={"gateway_group_id": "default"}
            )
            self.assertEqual((reply.status, reply.error), (403, "this key is for another gateway group"))
        self.assertEqual(self.gateway.call("GET", service).status, 404)
        listed = self.gateway.call("GET", "/api/gateway_groups", token=key).json
        self.assertEqual([item["id"] for item in listed["list"]], [group])
        self.assertEqual(self.gateway.call("GET", "/api/gateway_groups/default", token=key).status, 404)
        for method, path in (("GET", "/api/users"), ("POST", "/api/tokens"), ("GET", "/api/revisions")):
            self.assertEqual(self.gateway.call(method, path, {}, token=key).status, 403)
        again = self.gateway.call("PUT", f"/api/gateway_groups/{group}/admin_key").value["key"]
        self.assertEqual(self.gateway.call("GET", service, token=key, query="x=1").status, 401)
        self.assertEqual(self.gateway.call("GET", service, token=again, query="x=1").status, 200)
        self.gateway.call("DELETE", f"/api/gateway_groups/{group}")
        self.assertEqual(self.gateway.call("GET", service, token=again, query="x=1").status, 401)

    def test_author(self) -> None:
        """What a key writes is known as that key's."""
        key = self.gateway.call("PUT", "/api/gateway_groups/default/admin_key").value["key"]
        self.gateway.call("PUT", f"{ADMIN}/services/s", {"name": "s"}, token=key, query="x=1")
        newest = self.gateway.call("GET", "/api/revisions").json["list"][0]
        self.assertEqual(newest["author"], "admin key of default")
        self.assertNotEqual(key, TOKEN)
