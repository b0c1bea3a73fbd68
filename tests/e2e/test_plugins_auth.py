"""Authentication and access plugins over real sockets: one gateway, set up by its Admin API, for all."""

from __future__ import annotations

import atexit
import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any

from gateway.testing.tokens import encrypt, mint
from tests.e2e.gateway_process import (
    LIMIT_S,
    AdminClient,
    Answer,
    EndToEndCase,
    GatewayProcess,
    exchange,
    wait_for,
)
from tests.e2e.raw_upstream import OK, Peer, RawUpstream

JSON = "application/json"


def auth_service(upstream: RawUpstream, peer: Peer) -> None:
    """Lets in who says 123, and sends others away."""
    while (head := peer.head()) is not None:
        upstream.heads.append(head)
        peer.content(head)
        if b"\r\nauthorization: 123" in head.lower():
            peer.send(b"HTTP/1.1 200 OK\r\nX-User-ID: jack\r\nContent-Length: 2\r\n\r\nhi")
        else:
            peer.send(
                b"HTTP/1.1 403 Forbidden\r\nLocation: /login\r\nX-Private: 1\r\nContent-Type: text/plain\r\n"
                b"Content-Length: 6\r\n\r\ndenied"
            )


@cache
def shared() -> tuple[GatewayProcess, RawUpstream, RawUpstream]:
    """The gateway, its upstream and the authorisation service; they end with this process."""
    settings = (
        "[log]\naccess_flush_s = 0\naccess_format = $uri $status $remote_addr $apisix_request_id $reason\n"
    )
    gateway = GatewayProcess(Path("plugins_auth"), settings=settings)
    atexit.register(gateway.cleanup)
    return gateway.start(), RawUpstream(OK), RawUpstream(auth_service)


class PluginCase(EndToEndCase):
    """A gateway with a service ``s``; each test has routes of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.served, self.node, self.auth_service = shared()
        self.gateways.append(self.served)
        self.admin = self.enterContext(AdminClient(self.served))
        node = {"host": "127.0.0.1", "port": self.node.port, "weight": 1}
        self.put("services/s", {"name": "s", "upstream": {"nodes": [node]}})

    def put(self, path: str, document: dict[str, Any]) -> None:
        status, answer = self.admin.call("PUT", f"/apisix/admin/{path}", document)
        self.assertIn(status, (200, 201), answer)

    def refused(self, path: str, document: dict[str, Any], text: str) -> None:
        """A write that is refused with these words."""
        status, answer = self.admin.call("PUT", f"/apisix/admin/{path}", document)
        self.assertEqual(status, 400, answer)
        self.assertIn(text, answer["error_msg"])

    def route(self, name: str, **plugins: Any) -> None:
        """The route ``/<name>*`` with these plugins; ``_`` in a name is ``-``."""
        named = {plugin.replace("_", "-"): config for plugin, config in plugins.items()}
        self.put(
            f"routes/{name}", {"name": name, "service_id": "s", "paths": [f"/{name}*"], "plugins": named}
        )

    def consumer(self, username: str, *credentials: tuple[str, dict[str, Any]], **more: Any) -> None:
        """A consumer, with credentials that are called like their plugins."""
        self.put(f"consumers/{username}", {"username": username, **more})
        for plugin, config in credentials:
            id = f"{username}-{plugin}"
            self.put(f"consumers/{username}/credentials/{id}", {"name": id, "plugins": {plugin: config}})

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """One request; ``_`` in a header's name is ``-``."""
        del self.node.heads[:]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.served.get(path, method=method, body=body, headers=named)

    @property
    def told(self) -> dict[str, str]:
        """The fields the upstream was sent with the last request, names in lower case."""
        lines = self.node.heads[-1].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def check(self, answer: Answer, status: int, document: Any, challenge: str | None = None) -> None:
        """The answer is this JSON, and never reached the upstream."""
        self.assertEqual((answer.status, answer.headers.get("content-type")), (status, JSON), answer.body)
        self.assertEqual(answer.json, document)
        self.assertTrue(answer.body.endswith(b"}\n"))
        self.assertEqual(answer.headers.get("www-authenticate"), challenge)
        self.assertEqual(self.node.heads, [])

    def passed(self, answer: Answer) -> None:
        self.assertEqual((answer.status, answer.body), (200, b"ok"))

    def logged(self, pattern: str) -> str:
        """The line of the access log that *pattern* matches; waits for it."""
        log = self.served.data_dir / "access.log"

        def line() -> str | None:
            found = re.search(f"^{pattern}$", log.read_text(), re.MULTILINE) if log.exists() else None
            return found[0] if found else None

        found: str = wait_for(line, f"the line {pattern} in the access log")
        return found


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def signed(
    key: str, secret: str, method: str, target: str, *, at: float | None = None, content: bytes = b""
) -> dict[str, str]:
    """The headers of a signed request."""
    date = formatdate(time.time() if at is None else at, usegmt=True)
    digest = "SHA-256=" + base64.b64encode(hashlib.sha256(content).digest()).decode()
    text = f"{key}\n{method} {target}\ndate: {date}\ndigest: {digest}\n"
    mac = base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha256")).decode()
    names = "@request-target date digest"
    parts = f'keyId="{key}",algorithm="hmac-sha256",headers="{names}",signature="{mac}"'
    return {"Date": date, "Digest": digest, "Authorization": f"Signature {parts}"}


class AuthenticationTests(PluginCase):
    def test_basic(self) -> None:
        """basic-auth: passwords let in, and the upstream learns who it is."""
        self.route("basic", basic_auth={"hide_credentials": True})
        self.consumer(
            "foo", ("basic-auth", {"username": "foo", "password": "b:a r"}), labels={"custom_id": "7"}
        )
        challenge = 'Basic realm="basic"'
        self.check(self.ask("/basic"), 401, {"message": "Missing authorization in request"}, challenge)
        for value, message in (
            ("Basic", "Invalid authorization in request"),
            ("Bearer x", "Invalid authorization in request"),
            (basic("foo", "bar"), "Invalid user authorization"),
            (basic("fo", "b:a r"), "Invalid user authorization"),
        ):
            self.check(self.ask("/basic", Authorization=value), 401, {"message": message}, challenge)
        self.passed(self.ask("/basic", Authorization=basic("foo", "b:a r"), X_Consumer_Username="root"))
        self.assertEqual(self.told["x-consumer-username"], "foo")
        self.assertEqual(self.told["x-credential-identifier"], "foo-basic-auth")
        self.assertEqual(self.told["x-consumer-custom-id"], "7")
        self.assertNotIn("authorization", self.told)
        self.logged("/basic 401 127.0.0.1 .* basic_password_wrong")

    def test_hmac(self) -> None:
        """hmac-auth: a signature lets one request in, and only as it was signed."""
        self.route("hmac", hmac_auth={"validate_request_body": True, "signed_headers": ["date", "digest"]})
        self.consumer("signer", ("hmac-auth", {"key_id": "signer-key", "secret_key": "signer-secret"}))
        invalid = "client request can't be validated"
        challenge = 'hmac realm="hmac"'
        self.check(self.ask("/hmac"), 401, {"message": f"{invalid}: missing Authorization header"}, challenge)
        one = ("signer-key", "signer-secret", "POST")
        target = "/hmac/a%20b?x=1&y=%2F"
        self.passed(self.ask(target, "POST", b"hello", **signed(*one, target, content=b"hello")))
        self.assertEqual(self.told["x-consumer-username"], "signer")
        for sent in (
            self.ask(target, "POST", b"hellO", **signed(*one, target, content=b"hello")),
            self.ask(target + "1", "POST", b"hello", **signed(*one, target, content=b"hello")),
            self.ask(target, "PUT", b"hello", **signed(*one, target, content=b"hello")),
            self.ask(
                target, "POST", b"hello", **signed(*one, target, content=b"hello", at=time.time() - 400)
            ),
            self.ask(
                target, "POST", b"hello", **signed("signer-key", "wrong", "POST", target, content=b"hello")
            ),
            self.ask(target, "POST", b"hello", **signed("nobody", "signer-secret", "POST", target)),
        ):
            self.check(sent, 401, {"message": invalid}, challenge)
        self.logged("/hmac/.* 401 127.0.0.1 .* hmac_digest_invalid")

    def test_several_kinds(self) -> None:
        """One consumer may have credentials of every kind; multi-auth takes any of them."""
        plugins = [
            {"basic-auth": {}},
            {"key-auth": {}},
            {"jwt-auth": {}},
            {"hmac-auth": {"signed_headers": []}},
        ]
        self.route("multi", multi_auth={"auth_plugins": plugins})
        self.consumer(
            "multi",
            ("basic-auth", {"username": "multi", "password": "pw"}),
            ("key-auth", {"key": "multi-key"}),
            ("jwt-auth", {"key": "multi-jwt", "secret": "multi-secret-multi-secret-multi-secret"}),
            ("hmac-auth", {"key_id": "multi-hmac", "secret_key": "multi-secret"}),
        )
        token = mint(
            {"key": "multi-jwt", "exp": int(time.time()) + 1000}, b"multi-secret-multi-secret-multi-secret"
        )
        for kind, headers in (
            ("basic-auth", {"Authorization": basic("multi", "pw")}),
            ("key-auth", {"apikey": "multi-key"}),
            ("jwt-auth", {"Authorization": f"Bearer {token}"}),
            ("hmac-auth", signed("multi-hmac", "multi-secret", "GET", "/multi")),
        ):
            self.passed(self.ask("/multi", **headers))
            self.assertEqual(self.told["x-credential-identifier"], f"multi-{kind}")
        answer = self.ask("/multi", apikey="wrong")
        self.check(answer, 401, {"message": "Authorization Failed"}, 'hmac realm="hmac"')
        self.logged("/multi 401 127.0.0.1 .* multi_auth_failed")
        wait_for(
            lambda: (
                "key-auth failed to authenticate the request, code: 401. error: key_unknown"
                in self.served.logs()
            ),
            "the reasons in the log",
        )

    def test_anonymous(self) -> None:
        """Whoever fails may go on as the anonymous consumer, with no credential."""
        self.consumer("guest")
        self.route("open", basic_auth={"anonymous_consumer": "guest", "hide_credentials": True})
        self.passed(self.ask("/open", Authorization=basic("nobody", "x"), X_Credential_Identifier="forged"))
        self.assertEqual(self.told["x-consumer-username"], "guest")
        self.assertNotIn("x-credential-identifier", self.told)
        self.assertNotIn("authorization", self.told)
        self.route("ghost", hmac_auth={"anonymous_consumer": "ghost"})
        message = {"message": "Invalid user authorization"}
        self.check(self.ask("/ghost"), 401, message, 'hmac realm="hmac"')

    def test_keys_are_unique(self) -> None:
        """No two consumers share a user name or a key id; the answer names the member and the owner."""
        self.consumer(
            "owner",
            ("basic-auth", {"username": "taken", "password": "a"}),
            ("hmac-auth", {"key_id": "taken", "secret_key": "a"}),
        )
        self.consumer("other")
        for plugin, member, config in (
            ("basic-auth", "username", {"username": "taken", "password": "b"}),
            ("hmac-auth", "key_id", {"key_id": "taken", "secret_key": "b"}),
        ):
            self.refused(
                "consumers/other/credentials/x",
                {"name": "x", "plugins": {plugin: config}},
                f"duplicate {member} of plugin {plugin} found with credential: owner-{plugin} of consumer: "
                "owner",
            )

    def test_secrets_at_rest(self) -> None:
        """Passwords and secrets are encrypted in the store, and read back in clear."""
        self.consumer(
            "secretive",
            ("basic-auth", {"username": "secretive", "password": "hunter2-hunter2"}),
            ("hmac-auth", {"key_id": "secretive", "secret_key": "hunter2-hunter2"}),
        )
        self.route("secretive", csrf={"key": "hunter2-hunter2"})
        for file in self.served.data_dir.glob("gateway.db*"):
            self.assertNotIn(b"hunter2-hunter2", file.read_bytes(), file)
        _, answer = self.admin.call(
            "GET", "/apisix/admin/consumers/secretive/credentials/secretive-hmac-auth"
        )
        self.assertEqual(answer["value"]["plugins"]["hmac-auth"]["secret_key"], "hunter2-hunter2")

    def test_bad_settings(self) -> None:
        """What is wrong with settings is told in words that clients know."""
        prefix = "failed to check the configuration of plugin"
        for plugins, text in (
            (
                {"multi-auth": {"auth_plugins": [{"key-auth": {}}, {"no-auth": {}}]}},
                "multi-auth err: no-auth plugin did not found",
            ),
            (
                {"multi-auth": {"auth_plugins": [{"key-auth": {}}, {"cors": {}}]}},
                "multi-auth err: cors plugin is not supported",
            ),
            ({"ip-restriction": {"whitelist": ["1.2.3"]}}, "ip-restriction err: invalid ip address: 1.2.3"),
            (
                {"ip-restriction": {}},
                "ip-restriction err: value should match only one schema, but matches none",
            ),
            (
                {"cors": {"allow_credential": True}},
                "cors err: you can not set '*' for other option when 'allow_credential' is true",
            ),
            ({"forward-auth": {}}, 'forward-auth err: property "uri" is required'),
            ({"uri-blocker": {}}, 'uri-blocker err: property "block_rules" is required'),
            ({"csrf": {"expires": 1}}, 'csrf err: property "key" is required'),
        ):
            document = {"name": "bad", "service_id": "s", "paths": ["/bad"], "plugins": plugins}
            self.refused("routes/bad", document, f"{prefix} {text}")
        self.put("consumers/bad", {"username": "bad"})
        for plugin, config, text in (
            ("basic-auth", {"username": "a"}, 'property "password" is required'),
            ("hmac-auth", {"key_id": "a"}, 'property "secret_key" is required'),
            ("cors", {}, "only supports auth type plugins in consumer credential"),
        ):
            self.refused("consumers/bad/credentials/x", {"name": "x", "plugins": {plugin: config}}, text)


class ApisixDialectTests(PluginCase):
    """The same plugins, configured by clients of the other dialect."""

    def setUp(self) -> None:
        super().setUp()
        self.key = (self.served.data_dir / "apisix-admin-key").read_text().strip()

    def call(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports["apisix"], timeout=LIMIT_S)
        try:
            headers = {"X-API-KEY": self.key, "Content-Type": JSON}
            body = None if document is None else json.dumps(document).encode()
            answer = exchange(connection, method, f"/apisix/admin/{path}", body=body, headers=headers)
            return answer.status, answer.json
        finally:
            connection.close()

    def test_consumers(self) -> None:
        """Credentials of several kinds stand on a consumer or beside it; each lets in where its plugin is."""
        config = {
            "basic-auth": {"username": "ax-foo", "password": "ax-password"},
            "hmac-auth": {"key_id": "ax-hmac", "secret_key": "ax-hmac-secret"},
        }
        status, answer = self.call("PUT", "consumers", {"username": "ax_jack", "plugins": config})
        self.assertIn(status, (200, 201), answer)
        self.assertNotIn("ax-password", json.dumps(answer))
        own = {"plugins": {"key-auth": {"key": "ax-key"}}}
        self.assertIn(self.call("PUT", "consumers/ax_jack/credentials/c1", own)[0], (200, 201))
        node = {"type": "roundrobin", "nodes": {f"127.0.0.1:{self.node.port}": 1}}
        plugins = [{"hmac-auth": {}}, {"basic-auth": {}}, {"key-auth": {"hide_credentials": True}}]
        route = {"uri": "/ax", "upstream": node, "plugins": {"multi-auth": {"auth_plugins": plugins}}}
        status, answer = self.call("PUT", "routes/ax", route)
        self.assertIn(status, (200, 201), answer)
        self.passed(self.ask("/ax", Authorization=basic("ax-foo", "ax-password")))
        self.assertEqual(self.told["x-consumer-username"], "ax_jack")
        self.assertNotIn("x-credential-identifier", self.told)
        self.passed(self.ask("/ax", **signed("ax-hmac", "ax-hmac-secret", "GET", "/ax")))
        self.passed(self.ask("/ax", apikey="ax-key"))
        self.assertEqual((self.told["x-credential-identifier"], self.told.get("apikey")), ("c1", None))
        self.check(self.ask("/ax"), 401, {"message": "Authorization Failed"}, 'apikey realm="key"')
        _, answer = self.call("GET", "consumers/ax_jack")
        self.assertEqual(answer["value"]["plugins"]["basic-auth"]["password"], "ax-password")

    def test_refused(self) -> None:
        """Keys that are taken, and settings that do not fit, are refused in the words clients know."""
        config = {"basic-auth": {"username": "ax-taken", "password": "p"}}
        self.assertIn(self.call("PUT", "consumers", {"username": "ax_one", "plugins": config})[0], (200, 201))
        prefix = "invalid plugins configuration: failed to check the configuration of plugin"
        for plugins, text in (
            (config, "duplicate username of plugin basic-auth found with consumer: ax_one"),
            ({"basic-auth": {"username": "x"}}, f'{prefix} basic-auth err: property "password" is required'),
            ({"hmac-auth": {"key_id": "x"}}, f'{prefix} hmac-auth err: property "secret_key" is required'),
        ):
            status, answer = self.call("PUT", "consumers", {"username": "ax_two", "plugins": plugins})
            self.assertEqual((status, answer.get("error_msg")), (400, text))
        plugins = {"multi-auth": {"auth_plugins": [{"key-auth": {}}, {"ip-restriction": {}}]}}
        route = {"uri": "/ax-bad", "plugins": plugins, "upstream": {"nodes": {"127.0.0.1:1": 1}}}
        status, answer = self.call("PUT", "routes/ax-bad", route)
        text = "failed to check the configuration of plugin multi-auth err: "
        text += "ip-restriction plugin is not supported"
        self.assertEqual((status, answer.get("error_msg")), (400, text))


class AccessTests(PluginCase):
    def test_forward_auth(self) -> None:
        """forward-auth: another service decides; nobody passes while it cannot be reached."""
        config = {
            "uri": f"http://127.0.0.1:{self.auth_service.port}/auth",
            "request_headers": ["Authorization"],
            "upstream_headers": ["X-User-ID", "X-Admin"],
            "client_headers": ["Location"],
        }
        self.route("fwd", forward_auth=config)
        self.passed(self.ask("/fwd/x?y=z", "PUT", b"abc", Authorization="123", X_Admin="1", X_User_ID="root"))
        self.assertEqual((self.told["x-user-id"], self.told.get("x-admin")), ("jack", None))
        asked = self.auth_service.heads[-1].decode()
        self.assertTrue(asked.startswith("GET /auth HTTP/1.1\r\n"), asked)
        fields = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in asked.split("\r\n")[1:])
        }
        self.assertEqual((fields["x-forwarded-method"], fields["x-forwarded-uri"]), ("PUT", "/fwd/x?y=z"))
        self.assertEqual((fields["x-forwarded-for"], fields["x-forwarded-proto"]), ("127.0.0.1", "http"))
        answer = self.ask("/fwd")
        self.assertEqual((answer.status, answer.body), (403, b"denied"))
        self.assertEqual((answer.headers["location"], answer.headers.get("x-private")), ("/login", None))
        self.route("fwd-post", forward_auth={**config, "request_method": "POST", "max_req_body_size": 5})
        self.passed(self.ask("/fwd-post", "POST", b"12345", Authorization="123"))
        self.assertIn("POST /auth", self.auth_service.heads[-1].decode())
        self.assertEqual(self.ask("/fwd-post", "POST", b"123456", Authorization="123").status, 413)
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            gone = f"http://127.0.0.1:{holder.getsockname()[1]}/"
            self.route("fwd-gone", forward_auth={"uri": gone, "status_on_error": 503})
            self.assertEqual(self.ask("/fwd-gone").status, 503)
            self.route("fwd-open", forward_auth={"uri": gone, "allow_degradation": True})
            self.passed(self.ask("/fwd-open"))
        self.logged("/fwd-gone 503 127.0.0.1 .* forward_auth_unreachable")

    def test_consumer_restriction(self) -> None:
        """consumer-restriction: some may, some may with some methods, others may not."""
        rules = {"blacklist": ["carol"], "allowed_by_methods": [{"user": "bob", "methods": ["GET"]}]}
        self.route("who", key_auth={}, consumer_restriction=rules)
        self.route("only", key_auth={}, consumer_restriction={**rules, "whitelist": ["alice"]})
        for name in ("alice", "bob", "carol"):
            self.consumer(name, ("key-auth", {"key": f"{name}-key"}))
        self.passed(self.ask("/who", "POST", apikey="alice-key"))
        self.passed(self.ask("/who", apikey="bob-key"))
        forbidden = {"message": "The consumer_name is forbidden."}
        self.check(self.ask("/who", "POST", apikey="bob-key"), 403, forbidden)
        self.check(self.ask("/who", apikey="carol-key"), 403, forbidden)
        self.passed(self.ask("/only", apikey="alice-key"))
        self.check(self.ask("/only", apikey="bob-key"), 403, forbidden)
        self.route("nobody", consumer_restriction={"blacklist": ["x"]})
        message = "The request is rejected, please check the consumer_name for this request"
        self.check(self.ask("/nobody"), 401, {"message": message})

    def test_service_of_a_consumer(self) -> None:
        """consumer-restriction on a consumer says which services it may use."""
        self.route("svc", key_auth={})
        restriction = {"type": "service_id", "blacklist": ["s"]}
        self.consumer(
            "narrow", ("key-auth", {"key": "narrow-key"}), plugins={"consumer-restriction": restriction}
        )
        self.check(self.ask("/svc", apikey="narrow-key"), 403, {"message": "The service_id is forbidden."})

    def test_label(self) -> None:
        """attach-consumer-label: the upstream is told labels, which clients cannot forge."""
        self.route(
            "label", key_auth={}, attach_consumer_label={"headers": {"X-Dept": "$dept", "X-Firm": "$firm"}}
        )
        self.consumer("labelled", ("key-auth", {"key": "label-key"}), labels={"dept": "devops"})
        self.passed(self.ask("/label", apikey="label-key", X_Dept="forged", X_Firm="forged"))
        self.assertEqual((self.told["x-dept"], self.told.get("x-firm")), ("devops", None))

    def test_labels_decide(self) -> None:
        """acl: labels of the consumer decide."""
        self.route("acl", key_auth={}, acl={"allow_labels": {"team": ["sales"]}})
        self.consumer("amy", ("key-auth", {"key": "amy-key"}), labels={"team": "sales,support"})
        self.consumer("ben", ("key-auth", {"key": "ben-key"}), labels={"team": "support"})
        self.passed(self.ask("/acl", apikey="amy-key"))
        self.check(self.ask("/acl", apikey="ben-key"), 403, {"message": "The consumer is forbidden."})

    def test_decrypted(self) -> None:
        """jwe-decrypt: the upstream gets what is in a token."""
        self.route("jwe", jwe_decrypt={"forward_header": "X-Decrypted"})
        secret = "12345678901234567890123456789012"
        self.consumer("jwe", ("jwe-decrypt", {"key": "jwe-key", "secret": secret}))
        header = {"alg": "dir", "enc": "A256GCM", "kid": "jwe-key"}
        token = encrypt(header, b"helloworld", secret.encode()).decode()
        self.passed(self.ask("/jwe", Authorization=f"Bearer {token}"))
        self.assertEqual(self.told["x-decrypted"], "helloworld")
        self.check(self.ask("/jwe"), 403, {"message": "missing JWE token in request"})
        self.check(self.ask("/jwe", Authorization="x"), 400, {"message": "JWE token invalid"})

    def test_addresses(self) -> None:
        """ip-restriction goes by the client's address, which a trusted proxy may tell."""
        denied = {"message": "Your IP address is not allowed"}
        self.route("ip", ip_restriction={"blacklist": ["192.0.2.0/24"]})
        self.passed(self.ask("/ip"))
        self.check(self.ask("/ip", X_Real_IP="192.0.2.7"), 403, denied)
        self.logged("/ip 403 192.0.2.7 .* ip_not_allowed")
        self.passed(self.ask("/ip", X_Real_IP="198.51.100.1"))
        self.assertEqual(self.told["x-real-ip"], "198.51.100.1")
        self.passed(self.ask("/ip", X_Forwarded_For="192.0.2.7"))
        trusted = {"source": "http_x_forwarded_for", "trusted_addresses": ["127.0.0.1"], "recursive": True}
        self.route("ip2", ip_restriction={"blacklist": ["192.0.2.0/24"]}, real_ip=trusted)
        self.check(self.ask("/ip2", X_Forwarded_For="198.51.100.1, 192.0.2.7, 127.0.0.1"), 403, denied)
        self.passed(self.ask("/ip2", X_Forwarded_For="192.0.2.7, 198.51.100.1"))
        self.assertEqual(self.told["x-real-ip"], "198.51.100.1")
        self.route("ip3", ip_restriction={"blacklist": ["192.0.2.0/24"]}, real_ip={"source": "arg_ip"})
        self.check(self.ask("/ip3?ip=192.0.2.7:80"), 403, denied)

    def test_what_clients_say(self) -> None:
        """ua-restriction, referer-restriction and uri-blocker go by what a client says."""
        self.route("ua", ua_restriction={"denylist": ["my-bot"]})
        self.passed(self.ask("/ua", User_Agent="curl"))
        self.check(self.ask("/ua", User_Agent="my-bot1"), 403, {"message": "Not allowed"})
        self.check(self.ask("/ua"), 403, {"message": "Not allowed"})
        self.route("ref", referer_restriction={"whitelist": ["*.ok.com", "ok.com"]})
        self.passed(self.ask("/ref", Referer="https://a.ok.com/x"))
        message = {"message": "Your referer host is not allowed"}
        self.check(self.ask("/ref", Referer="https://ok.com.evil.com"), 403, message)
        self.check(self.ask("/ref"), 403, message)
        self.route("block", uri_blocker={"block_rules": [r"\.(bak|sql)$", "[?&]root="]})
        self.passed(self.ask("/block/x?y=1"))
        for target in ("/block/a.sql", "/block/x?root=1", "/block/%61.b%61k"):
            answer = self.ask(target)
            self.assertEqual(
                (answer.status, answer.headers["content-type"]), (403, "text/html; charset=utf-8")
            )
        self.route("block", uri_blocker={"block_rules": ["x"], "rejected_msg": "no", "rejected_code": 410})
        self.check(self.ask("/block/x"), 410, {"error_msg": "no"})

    def test_order(self) -> None:
        """What answers in rewrite comes before what answers in access: blocked URIs, then addresses."""
        self.route(
            "order",
            ip_restriction={"blacklist": ["127.0.0.1"]},
            uri_blocker={"block_rules": ["x"], "rejected_code": 410},
        )
        self.assertEqual(self.ask("/order/x").status, 410)
        self.assertEqual(self.ask("/order/y").status, 403)


class BrowserTests(PluginCase):
    def test_cors(self) -> None:
        """cors: a preflight is answered before authentication; answers name the origin that may read them."""
        origin = "https://app.example.com"
        self.route("cors", key_auth={}, cors={"allow_origins": f"{origin},http://b", "allow_headers": "**"})
        answer = self.ask("/cors", "OPTIONS", Origin=origin, Access_Control_Request_Headers="X-A")
        self.assertEqual((answer.status, answer.body, self.node.heads), (200, b"", []))
        self.assertEqual(answer.headers["access-control-allow-origin"], origin)
        self.assertEqual(answer.headers["access-control-allow-headers"], "X-A")
        answer = self.ask("/cors", Origin=origin)
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (401, origin))
        self.consumer("browser", ("key-auth", {"key": "browser-key"}))
        answer = self.ask("/cors", Origin="https://evil.example", apikey="browser-key")
        self.passed(answer)
        self.assertEqual(
            (answer.headers.get("access-control-allow-origin"), answer.headers["vary"]), (None, "Origin")
        )

    def test_cors_metadata(self) -> None:
        """cors: lists of origins may stand in the plugin's metadata, and change there for all routes."""
        self.route(
            "cors-meta", cors={"allow_origins": "https://own", "allow_origins_by_metadata": ["partners"]}
        )
        for partner in ("https://a.example", "https://b.example"):
            self.put("plugin_metadata/cors", {"allow_origins": {"partners": partner}})
            answer = self.ask("/cors-meta", Origin=partner)
            self.assertEqual(answer.headers["access-control-allow-origin"], partner)

    def test_csrf(self) -> None:
        """csrf: a request that changes something needs the token that an answer brought."""
        self.route("csrf", csrf={"key": "edd1c9f034335f136f87ad84b625c8f1"})
        for method in ("GET", "OPTIONS"):
            self.passed(self.ask("/csrf", method))
        cookie = self.ask("/csrf").headers["set-cookie"]
        found = re.fullmatch(r"apisix-csrf-token=([^;]+);path=/;SameSite=Lax;Expires=[^;]+ GMT", cookie)
        assert found is not None
        token = found[1]
        self.check(self.ask("/csrf", "POST"), 401, {"error_msg": "no csrf token in headers"})
        self.check(self.ask("/csrf", "POST", apisix_csrf_token=token), 401, {"error_msg": "no csrf cookie"})
        self.check(
            self.ask("/csrf", "POST", apisix_csrf_token=token, Cookie="apisix-csrf-token=x"),
            401,
            {"error_msg": "csrf token mismatch"},
        )
        self.check(
            self.ask("/csrf", "POST", apisix_csrf_token="x", Cookie="apisix-csrf-token=x"),
            401,
            {"error_msg": "Failed to verify the csrf token signature"},
        )
        self.passed(self.ask("/csrf", "POST", apisix_csrf_token=token, Cookie=f"apisix-csrf-token={token}"))

    def test_request_id(self) -> None:
        """request-id: client, upstream and access log have the same id."""
        self.route("id", request_id={})
        answer = self.ask("/id")
        made = answer.headers["x-request-id"]
        self.assertEqual(self.told["x-request-id"], made)
        self.logged(f"/id 200 127.0.0.1 {made} ok")
        self.assertNotEqual(self.ask("/id").headers["x-request-id"], made)
        answer = self.ask("/id/own", X_Request_Id="own-1")
        self.assertEqual((answer.headers["x-request-id"], self.told["x-request-id"]), ("own-1", "own-1"))
        self.logged("/id/own 200 127.0.0.1 own-1 ok")


class ContentTests(PluginCase):
    def test_limit(self) -> None:
        """client-control: content over the limit is 413, announced or chunked; the next request is served."""
        self.route("small", client_control={"max_body_size": 10})
        self.passed(self.ask("/small", "POST", b"x" * 10))
        answer = self.ask("/small", "POST", b"x" * 11)
        self.assertEqual((answer.status, answer.headers["content-type"]), (413, "text/html; charset=utf-8"))
        self.assertEqual(self.node.heads, [])
        for pieces, status in (
            ([b"x" * 5, b"x" * 5], 200),
            ([b"x" * 5, b"x" * 6], 413),
            ([b"x" * 100_000] * 5, 413),
        ):
            self.assertEqual(self.chunked("/small", pieces), status)
        self.route("small", client_control={"max_body_size": 0})
        self.passed(self.ask("/small", "POST", b"x" * 11))
        self.logged("/small 413 127.0.0.1 .* body_too_large")

    def chunked(self, path: str, pieces: list[bytes]) -> int:
        """The status of a chunked request."""

        def content() -> Iterator[bytes]:
            yield from pieces

        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S)
        try:
            headers = {"Transfer-Encoding": "chunked"}
            try:
                connection.request("POST", path, body=content(), headers=headers, encode_chunked=True)
            except (BrokenPipeError, ConnectionResetError):
                pass  # The answer came before the end; it can be read all the same.
            return connection.getresponse().status
        finally:
            connection.close()

    def test_upload_on_a_kept_connection(self) -> None:
        """A refused upload does not harm the connection's next request where little is left to read."""
        self.route("kept", client_control={"max_body_size": 10})
        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports["proxy"], timeout=LIMIT_S)
        self.addCleanup(connection.close)
        self.assertEqual(exchange(connection, "POST", "/kept", body=b"x" * 11, headers={}).status, 413)
        self.assertEqual(exchange(connection, "POST", "/kept", body=b"x", headers={}).status, 200)
