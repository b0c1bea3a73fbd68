"""Tests for gateway.plugins.jwt_auth."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock as TaskClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core import jws
from gateway.core.consumers import Identity
from gateway.core.exchange import Exchange, Reply
from gateway.interfaces import ICredentialFactory, IPluginFactory, IPureHooks, IRewritePhase, PluginServices
from gateway.plugins import jwt_auth
from gateway.plugins.jwt_auth import Factory, JwtAuth, JwtCredential
from gateway.registry import PluginRegistry
from gateway.testing import tokens
from gateway.testing.exchanges import consumer, exchange

NOW = 1_700_000_000.0
GOOD = {"key": "user-key", "exp": 1879318541}
KNOWN_SECRET = "my-secret-key"
DOCS = Path(__file__).parents[2] / "docs" / "plugins" / "jwt-auth.md"

MISSING = b'{"message":"Missing JWT token in request"}\n'
MALFORMED = b'{"message":"JWT token invalid"}\n'
NO_KEY = b'{"message":"missing user key in JWT token"}\n'
UNKNOWN = b'{"message":"Invalid user key in JWT token"}\n'
UNVERIFIED = b'{"message":"failed to verify jwt"}\n'


class FakeClock:
    """Twisted's test clock in the shape plugins get time in."""

    def __init__(self, now: float = NOW) -> None:
        self.task = TaskClock()
        self.task.advance(now)

    def time(self) -> float:
        return self.task.seconds()

    monotonic = time


class NoLog:
    """A log nobody reads."""

    def warn(self, format: str, **fields: object) -> None:
        pass

    error = warn


class Gateway:
    """One route with jwt-auth, and its consumers."""

    def __init__(
        self, *credentials: dict[str, Any], settings: dict[str, str] | None = None, **config: Any
    ) -> None:
        self.clock = FakeClock()
        self.factory = Factory()
        self.settings = settings or {}
        self.plugin = self.route(**config)
        self.identities: dict[str, Identity] = {}
        self.consumers = {"guest": consumer("guest", labels={"custom_id": "g"})}
        for credential in credentials or (tokens.credential(secret=KNOWN_SECRET),):
            self.add(credential)

    def route(self, **config: Any) -> JwtAuth:
        return self.factory.make(config, PluginServices(self.clock, NoLog(), "route/r1", self.settings))

    def add(self, credential: dict[str, Any], credential_id: str | None = "cred-1") -> Identity:
        owner = consumer("jack", labels={"custom_id": "c-1"})
        identity = Identity(owner, credential_id, self.factory.credential(credential))
        self.identities[credential["key"]] = identity
        return identity

    def request(self, target: str = "/", headers: list[tuple[str, str]] | None = None) -> Exchange:
        return exchange(
            target=target,
            headers=headers or [],
            identities={"jwt-auth": self.identities},
            consumers=self.consumers,
        )

    def send(self, token: str | None, plugin: JwtAuth | None = None) -> tuple[Exchange, Reply | None]:
        headers = [] if token is None else [("Authorization", f"Bearer {token}")]
        request = self.request(headers=headers)
        return request, (plugin or self.plugin).rewrite(request)


def known(claims: object, algorithm: str = "HS256", **header: Any) -> str:
    """A token by the secret of the contract's vectors."""
    return tokens.mint(claims, KNOWN_SECRET.encode(), algorithm, header=header)


class JwtAuthTestCase(SynchronousTestCase):
    def accepted(self, request: Exchange, reply: Reply | None) -> None:
        self.assertIsNone(reply)
        assert request.consumer is not None
        self.assertEqual(request.consumer.username, "jack")
        self.assertEqual(request.fields.get_all(b"x-consumer-username"), [b"jack"])

    def refused(
        self, outcome: tuple[Exchange, Reply | None], body: bytes, reason: str, detail: str | None = None
    ) -> Reply:
        request, reply = outcome
        assert reply is not None
        self.assertEqual((reply.status, reply.body, reply.reason), (401, body, reason))
        self.assertEqual(
            reply.fields,
            ((b"content-type", b"application/json"), (b"www-authenticate", b'Bearer realm="jwt"')),
        )
        self.assertIsNone(request.consumer)
        if detail is not None:
            self.assertEqual(reply.detail, detail)
        return reply


class ExtractionTests(JwtAuthTestCase):
    def test_header(self) -> None:
        """A token is read from Authorization: bare, or after Bearer in any letter case and some spaces."""
        gateway = Gateway()
        token = known(GOOD)
        for prefix in ("", "Bearer ", "bearer ", "BEARER ", "bEaReR   "):
            request = gateway.request(headers=[("authorization", prefix + token)])
            self.accepted(request, gateway.plugin.rewrite(request))

    def test_other_schemes(self) -> None:
        """Another scheme is not cut off; it makes the token malformed."""
        gateway = Gateway()
        for value in (
            f"Token {known(GOOD)}",
            f"Bearer\t{known(GOOD)}",
            f"Bearer{known(GOOD)}",
            "Basic YTpi",
            "Bearer",
            "",
        ):
            request = gateway.request(headers=[("Authorization", value)])
            self.refused((request, gateway.plugin.rewrite(request)), MALFORMED, "jwt_malformed")

    def test_custom_names(self) -> None:
        """Header, query argument and cookie have the names the route says; the scheme may be there too."""
        gateway = Gateway(header="X-Token", query="tok", cookie="c")
        token = known(GOOD)
        for target, headers in (
            ("/", [("x-token", f"Bearer {token}")]),
            (f"/?tok={token}", []),
            ("/", [("Cookie", f"c={token}")]),
        ):
            request = gateway.request(target, headers)
            self.accepted(request, gateway.plugin.rewrite(request))
        request = gateway.request(f"/?jwt={token}", [("Authorization", token), ("Cookie", f"jwt={token}")])
        self.refused((request, gateway.plugin.rewrite(request)), MISSING, "jwt_missing")

    def test_order(self) -> None:
        """The header decides if it is there, else the query, else the cookie; a bad token is not skipped."""
        gateway = Gateway()
        token = known(GOOD)
        for target, headers, good in (
            (f"/?jwt={token}", [("Authorization", "bad"), ("Cookie", f"jwt={token}")], False),
            (f"/?jwt={token}", [("Authorization", "")], False),
            ("/?jwt=bad", [("Cookie", f"jwt={token}")], False),
            ("/?jwt=bad", [("Authorization", token), ("Cookie", "jwt=bad")], True),
            (f"/?a=1&jwt={token}", [("Cookie", "jwt=bad")], True),
            ("/", [("Cookie", f"a=1; jwt={token}")], True),
            ("/", [("Authorization", token), ("Authorization", "bad")], True),
            ("/", [("Authorization", "bad"), ("Authorization", token)], False),
        ):
            request = gateway.request(target, headers)
            reply = gateway.plugin.rewrite(request)
            if good:
                self.accepted(request, reply)
            else:
                self.refused((request, reply), MALFORMED, "jwt_malformed")

    def test_query_forms(self) -> None:
        """A query argument is decoded; repeated, without a value or with a scheme it is malformed."""
        gateway = Gateway()
        token = known(GOOD)
        request = gateway.request(f"/?%6Awt={token.replace('.', '%2E')}")
        self.accepted(request, gateway.plugin.rewrite(request))
        for query in (f"jwt={token}&jwt={token}", f"jwt&jwt={token}", "jwt", "jwt=", f"jwt=Bearer+{token}"):
            request = gateway.request(f"/?{query}")
            self.refused((request, gateway.plugin.rewrite(request)), MALFORMED, "jwt_malformed")

    def test_query_is_redacted(self) -> None:
        """The query argument a token may stand in is marked for the logs, good token or not."""
        token = known(GOOD)
        for config, name in (({}, "jwt"), ({"query": "t"}, "t"), ({"hide_credentials": True}, "jwt")):
            gateway = Gateway(**config)
            for query in (f"{name}={token}", f"{name}=bad", f"{name}={token}&{name}={token}"):
                request = gateway.request(f"/?{query}")
                gateway.plugin.rewrite(request)
                self.assertEqual(request.context["redacted_args"], {name}, query)
            request = gateway.request(f"/?{name}={token}", [("Authorization", token)])
            self.accepted(request, gateway.plugin.rewrite(request))
            self.assertEqual(request.context["redacted_args"], {name}, "beside the token that counts")
            request = gateway.request("/", [("Authorization", token)])
            self.accepted(request, gateway.plugin.rewrite(request))
            self.assertNotIn("redacted_args", request.context)

    def test_no_prefix_in_cookies(self) -> None:
        """In a cookie no scheme is cut off."""
        gateway = Gateway()
        request = gateway.request(headers=[("Cookie", f"jwt=Bearer {known(GOOD)}")])
        self.refused((request, gateway.plugin.rewrite(request)), MALFORMED, "jwt_malformed")

    def test_missing(self) -> None:
        """Without a token the answer says that one is missing."""
        gateway = Gateway()
        self.refused(gateway.send(None), MISSING, "jwt_missing", "")

    def test_many_arguments(self) -> None:
        """A query of more arguments than any form has is searched all the same."""
        gateway = Gateway()
        request = gateway.request("/?" + "a&" * 20000 + f"jwt={known(GOOD)}")
        self.accepted(request, gateway.plugin.rewrite(request))


class HideCredentialsTests(JwtAuthTestCase):
    def test_header(self) -> None:
        """The header the token came in is not sent upstream; tokens elsewhere stay."""
        gateway = Gateway(hide_credentials=True)
        token = known(GOOD)
        request = gateway.request(
            f"/p?jwt={token}",
            [("Authorization", f"Bearer {token}"), ("Authorization", "x"), ("Cookie", f"jwt={token}")],
        )
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertEqual(request.fields.get_all(b"authorization"), [])
        self.assertEqual(request.target, f"/p?jwt={token}".encode())
        self.assertEqual(request.fields.get(b"cookie"), f"jwt={token}".encode())

    def test_query(self) -> None:
        """The argument the token came in goes, the rest of the query stays byte for byte."""
        gateway = Gateway(hide_credentials=True)
        token = known(GOOD)
        request = gateway.request(f"/p?a=%7e+1&jwt={token}&b", [("Cookie", f"jwt={token}")])
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertEqual(request.target, b"/p?a=%7e+1&b")
        self.assertEqual(request.fields.get(b"cookie"), f"jwt={token}".encode())

    def test_cookie(self) -> None:
        """The cookie the token came in goes, the other cookies stay byte for byte."""
        gateway = Gateway(hide_credentials=True)
        request = gateway.request(headers=[("Cookie", f'a="x, y"; jwt={known(GOOD)}; b=\xfc%')])
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertEqual(request.fields.get(b"cookie"), b'a="x, y"; b=\xfc%')

    def test_before_verification(self) -> None:
        """A token that does not verify is hidden from the upstream of the anonymous consumer too."""
        gateway = Gateway(hide_credentials=True, anonymous_consumer="guest")
        for target, headers in (
            ("/p", [("Authorization", "Bearer bad")]),
            ("/p?jwt=bad", []),
            ("/p?jwt&jwt=bad", []),
            ("/p", [("Cookie", "jwt=bad")]),
        ):
            request = gateway.request(target, headers)
            self.assertIsNone(gateway.plugin.rewrite(request))
            self.assertEqual(request.target, b"/p")
            self.assertEqual(
                [name for name, _ in request.fields], [b"x-consumer-username", b"x-consumer-custom-id"]
            )

    def test_off(self) -> None:
        """Unless asked, nothing is hidden."""
        gateway = Gateway()
        token = known(GOOD)
        request = gateway.request(headers=[("Authorization", f"Bearer {token}")])
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertEqual(request.fields.get(b"authorization"), f"Bearer {token}".encode())


class VerificationOrderTests(JwtAuthTestCase):
    """Contract §5, row by row."""

    def test_malformed(self) -> None:
        """Whatever is malformed is 401 "JWT token invalid"; the log says which part."""
        gateway = Gateway(tokens.credential())
        for what, token in tokens.malformed(GOOD).items():
            request = gateway.request(headers=[("X", "1")])
            request.fields.add(b"authorization", token.encode("utf-8", "surrogatepass"))
            reply = self.refused((request, gateway.plugin.rewrite(request)), MALFORMED, "jwt_malformed")
            self.assertTrue(reply.detail.startswith("JWT token invalid: invalid "), what)

    def test_extensions(self) -> None:
        """A token with critical extensions or an unencoded payload is refused."""
        gateway = Gateway()
        for header in ({"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"b64": False}):
            self.refused(gateway.send(known(GOOD, **header)), MALFORMED, "jwt_crit_unsupported")

    def test_key_missing(self) -> None:
        """A payload without the key claim, or with null or false there, has no user key."""
        gateway = Gateway()
        for claims in ({}, {"exp": 1879318541}, {"key": None}, {"key": False}, {"Key": "user-key"}):
            self.refused(gateway.send(known(claims)), NO_KEY, "jwt_key_missing", "")

    def test_key_unknown(self) -> None:
        """A key that no credential has, or that is not text, is invalid; a bad signature is not reached."""
        gateway = Gateway()
        for value in ("nobody", "", "USER-KEY", 1, 0, True, 1.5, ["user-key"], {"user-key": 1}, []):
            token = tokens.with_signature(known({"key": value}), "AAAA")
            reply = self.refused(gateway.send(token), UNKNOWN, "jwt_key_unknown")
            self.assertTrue(reply.detail.startswith("failed to find consumer: "))

    def test_no_credential_at_all(self) -> None:
        """While no consumer uses jwt-auth, every key is invalid, and the log says so."""
        gateway = Gateway()
        gateway.identities.clear()
        self.refused(gateway.send(known(GOOD)), UNKNOWN, "jwt_key_unknown", "Missing related consumer")
        request = exchange(headers=[("Authorization", known(GOOD))])
        self.refused((request, gateway.plugin.rewrite(request)), UNKNOWN, "jwt_key_unknown")

    def test_key_unavailable(self) -> None:
        """A credential without a usable key verifies nothing."""
        gateway = Gateway()
        gateway.identities["user-key"] = Identity(consumer("jack"), None, None)
        reply = self.refused(gateway.send(known(GOOD)), UNVERIFIED, "jwt_key_unavailable")
        self.assertIn("failed to retrieve secrets, err: ", reply.detail)

    def test_algorithm(self) -> None:
        """The token's alg must be the credential's, letter by letter; a missing or odd one is not."""
        gateway = Gateway()
        for alg in ("none", "None", "HS384", "hs256", "HS256 ", "", None, 256, ["HS256"], {"HS256": 1}, True):
            header = tokens.compact({"typ": "JWT"} if alg is None else {"alg": alg})
            token = tokens.assemble(header, tokens.compact(GOOD), KNOWN_SECRET.encode())
            self.refused(
                gateway.send(token),
                UNVERIFIED,
                "jwt_algorithm_mismatch",
                "failed to verify jwt: algorithm mismatch, expected HS256",
            )

    def test_signature(self) -> None:
        """A signature by another secret, changed, of another length or not base64url does not verify."""
        gateway = Gateway()
        good = known(GOOD)
        stranger = tokens.mint(GOOD, b"another secret")
        swapped = tokens.with_signature(good, known({"key": "user-key"}).rpartition(".")[2])
        for token in (
            stranger,
            swapped,
            *(tokens.with_signature(good, s) for s in ("@@@@", "abc", "AAAA", "A")),
        ):
            segment = token.rpartition(".")[2]
            reply = self.refused(gateway.send(token), UNVERIFIED, "jwt_signature_invalid")
            self.assertTrue(
                reply.detail.startswith(f"failed to verify jwt: signature mismatch: {segment[:32]}")
            )
            self.assertLess(len(reply.detail), 100)

    def test_short_ecdsa_signature(self) -> None:
        """An ES256 signature of 3 bytes is 401, not an error."""
        gateway = Gateway(tokens.credential("ES256"))
        good = tokens.mint(GOOD, tokens.signing_key("ES256"), "ES256")
        self.refused(gateway.send(tokens.with_signature(good, "AAAA")), UNVERIFIED, "jwt_signature_invalid")
        self.accepted(*gateway.send(good))

    def test_times_come_last(self) -> None:
        """Expiry shows in the log only for a token whose signature is good."""
        gateway = Gateway()
        expired = known({"key": "user-key", "exp": 1563870501})
        self.refused(
            gateway.send(expired),
            UNVERIFIED,
            "jwt_expired",
            "failed to verify jwt: 'exp' claim expired at Tue, 23 Jul 2019 08:28:21 GMT",
        )
        forged = tokens.with_signature(expired, "AAAA")
        self.refused(gateway.send(forged), UNVERIFIED, "jwt_signature_invalid")

    def test_realm(self) -> None:
        """The challenge names the route's realm."""
        gateway = Gateway(realm="my api")
        _, reply = gateway.send(None)
        assert reply is not None
        self.assertEqual(reply.fields[1], (b"www-authenticate", b'Bearer realm="my api"'))


class TimeClaimTests(JwtAuthTestCase):
    """Contract §5.3 and the vectors of §11."""

    def verdict(self, gateway: Gateway, claims: dict[str, Any], algorithm: str = "HS256") -> str:
        _, reply = gateway.send(known(claims, algorithm))
        return "ok" if reply is None else reply.reason

    def test_default(self) -> None:
        """Unset or empty, claims_to_verify checks exp and nbf where they are."""
        for config in ({}, {"claims_to_verify": []}):
            gateway = Gateway(**config)
            self.assertEqual(self.verdict(gateway, {"key": "user-key"}), "ok")
            self.assertEqual(self.verdict(gateway, GOOD), "ok")
            self.assertEqual(self.verdict(gateway, {"key": "user-key", "exp": 1563870501}), "jwt_expired")
            self.assertEqual(
                self.verdict(gateway, {"key": "user-key", "nbf": 2229671874}), "jwt_not_yet_valid"
            )
            self.assertEqual(
                self.verdict(gateway, {"key": "user-key", "exp": "1879318541"}), "jwt_claim_invalid"
            )
            self.assertEqual(self.verdict(gateway, {"key": "user-key", "exp": None}), "jwt_claim_invalid")
            self.assertEqual(self.verdict(gateway, {"key": "user-key", "exp": True}), "jwt_claim_invalid")
            self.assertEqual(self.verdict(gateway, {"key": "user-key", "exp": NOW + 0.5}), "ok")

    def test_listed(self) -> None:
        """A listed claim is required; others are not looked at: HS384 vectors with ["nbf"]."""
        gateway = Gateway(tokens.credential("HS384", secret=KNOWN_SECRET), claims_to_verify=["nbf"])
        self.assertEqual(self.verdict(gateway, {"key": "user-key"}, "HS384"), "jwt_claim_missing")
        self.assertEqual(self.verdict(gateway, {"key": "user-key", "nbf": 1, "exp": 2}, "HS384"), "ok")
        _, reply = gateway.send(known({"key": "user-key"}, "HS384"))
        assert reply is not None
        self.assertEqual(reply.detail, "failed to verify jwt: claim nbf is missing")

    def test_leeway(self) -> None:
        """lifetime_grace_period lets a token of 1.1 seconds ago pass with 2, not with 0."""
        claims = {"key": "user-key", "exp": NOW - 1.1}
        two = tokens.credential(secret=KNOWN_SECRET, lifetime_grace_period=2)
        self.assertEqual(self.verdict(Gateway(two), claims), "ok")
        self.assertEqual(self.verdict(Gateway(), claims), "jwt_expired")
        self.assertEqual(self.verdict(Gateway(two), {"key": "user-key", "nbf": NOW + 2}), "ok")
        endless = tokens.credential(secret=KNOWN_SECRET, lifetime_grace_period=10**400)
        self.assertEqual(self.verdict(Gateway(endless), claims), "ok")

    def test_edges(self) -> None:
        """exp == now is expired, nbf == now is valid."""
        gateway = Gateway()
        self.assertEqual(self.verdict(gateway, {"key": "user-key", "exp": int(NOW)}), "jwt_expired")
        self.assertEqual(self.verdict(gateway, {"key": "user-key", "nbf": int(NOW)}), "ok")

    def test_other_claims_are_ignored(self) -> None:
        """iat, iss, aud, sub and jti are nobody's business here, whatever their type."""
        claims = {**GOOD, "iat": 9e12, "iss": 1, "aud": [None], "sub": {}, "jti": False}
        self.assertEqual(self.verdict(Gateway(), claims), "ok")

    def test_key_claim_name(self) -> None:
        """The key may stand in another claim, such as iss; only at the top level."""
        gateway = Gateway(key_claim_name="iss")
        claims = {"iss": "user-key", "sub": "1234567890", "exp": 9916239022}
        self.assertEqual(self.verdict(gateway, claims), "ok")
        self.assertEqual(self.verdict(gateway, GOOD), "jwt_key_missing")
        self.assertEqual(
            self.verdict(Gateway(key_claim_name="a.b"), {"a": {"b": "user-key"}}), "jwt_key_missing"
        )


class SuccessTests(JwtAuthTestCase):
    """Contract §6."""

    def test_upstream_fields(self) -> None:
        """The upstream learns who it is; what the client claimed itself is replaced."""
        gateway = Gateway()
        forged = [
            ("X-Consumer-Username", "root"),
            ("X-Credential-Identifier", "1"),
            ("X-Consumer-Custom-Id", "0"),
        ]
        request = gateway.request(headers=[*forged, ("Authorization", known(GOOD))])
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertEqual(
            request.fields.pairs[1:],
            [
                (b"x-consumer-username", b"jack"),
                (b"x-credential-identifier", b"cred-1"),
                (b"x-consumer-custom-id", b"c-1"),
            ],
        )
        self.assertEqual(request.credential_id, "cred-1")

    def test_inline_credential(self) -> None:
        """A credential kept on the consumer has no identifier."""
        gateway = Gateway()
        gateway.add(tokens.credential(secret=KNOWN_SECRET), None)
        request = gateway.request(headers=[("X-Credential-Identifier", "1"), ("Authorization", known(GOOD))])
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertIsNone(request.fields.get(b"x-credential-identifier"))

    def test_store_in_ctx(self) -> None:
        """Later plugins find the payload if asked for, each request its own copy, cached or not."""
        gateway = Gateway(store_in_ctx=True)
        token = known({**GOOD, "roles": ["a"]})
        for _ in range(3):
            request, reply = gateway.send(token)
            self.accepted(request, reply)
            self.assertEqual(request.context["jwt_auth_payload"], {**GOOD, "roles": ["a"]})
            request.context["jwt_auth_payload"]["roles"].append("admin")
            request.context["jwt_auth_payload"]["exp"] = 0
        request, _ = gateway.send(token, gateway.route())
        self.assertNotIn("jwt_auth_payload", request.context)

    def test_not_stored_on_failure(self) -> None:
        """A payload that is not verified is never kept."""
        gateway = Gateway(store_in_ctx=True, anonymous_consumer="guest")
        for claims in ({"key": "user-key", "exp": 1}, {"key": "nobody"}):
            request, reply = gateway.send(known(claims))
            self.assertIsNone(reply)
            self.assertNotIn("jwt_auth_payload", request.context)


class AnonymousTests(JwtAuthTestCase):
    """Contract §7."""

    def test_any_failure(self) -> None:
        """Whatever fails, the request goes on as the anonymous consumer."""
        gateway = Gateway(anonymous_consumer="guest")
        failures = {
            None: "jwt_missing",
            "bad": "jwt_malformed",
            known({}): "jwt_key_missing",
            known({"key": "nobody"}): "jwt_key_unknown",
            known(GOOD, "HS512"): "jwt_algorithm_mismatch",
            tokens.mint(GOOD, b"other"): "jwt_signature_invalid",
            known({"key": "user-key", "exp": 1}): "jwt_expired",
        }
        for token, reason in failures.items():
            request, reply = gateway.send(token)
            self.assertIsNone(reply)
            assert request.consumer is not None
            self.assertEqual(request.consumer.username, "guest")
            self.assertEqual(request.fields.get(b"x-consumer-custom-id"), b"g")
            self.assertIsNone(request.fields.get(b"x-credential-identifier"))
            self.assertEqual(request.context["auth_failure"], reason)

    def test_success(self) -> None:
        """A good token is still its own consumer's."""
        gateway = Gateway(anonymous_consumer="guest")
        self.accepted(*gateway.send(known(GOOD)))

    def test_not_there(self) -> None:
        """An anonymous consumer that does not exist helps nobody."""
        gateway = Gateway(anonymous_consumer="ghost")
        self.refused(
            gateway.send(None),
            b'{"message":"Invalid user authorization"}\n',
            "anonymous_consumer_missing",
            "failed to get anonymous consumer ghost",
        )


class AlgorithmTests(JwtAuthTestCase):
    def test_all_thirteen(self) -> None:
        """Every algorithm's tokens are accepted by its credential, the second time from memory."""
        for algorithm in jws.ALGORITHMS:
            gateway = Gateway(tokens.credential(algorithm))
            token = tokens.mint(GOOD, tokens.signing_key(algorithm), algorithm)
            for _ in range(2):
                self.accepted(*gateway.send(token))

    def test_confusion(self) -> None:
        """A MAC made with the text of the public key is no signature (contract §8)."""
        config = tokens.credential("RS256")
        gateway = Gateway(config)
        pem = config["public_key"]
        for secret in (pem, pem.strip(), pem.replace("\n", "\r\n"), ""):
            for algorithm in jws.HMAC_ALGORITHMS:
                self.refused(
                    gateway.send(tokens.mint(GOOD, secret.encode(), algorithm)),
                    UNVERIFIED,
                    "jwt_algorithm_mismatch",
                    "failed to verify jwt: algorithm mismatch, expected RS256",
                )
            signed = tokens.mint(GOOD, secret.encode(), "HS256", header={"alg": "RS256"})
            self.refused(gateway.send(signed), UNVERIFIED, "jwt_signature_invalid")

    def test_every_pair(self) -> None:
        """No algorithm's token passes for another's, whatever its header says."""
        for expected in jws.ALGORITHMS:
            gateway = Gateway(tokens.credential(expected))
            for used in jws.ALGORITHMS:
                if used != expected:
                    token = tokens.mint(GOOD, tokens.signing_key(used), used)
                    self.refused(gateway.send(token), UNVERIFIED, "jwt_algorithm_mismatch")
                    posing = tokens.mint(GOOD, tokens.signing_key(used), used, header={"alg": expected})
                    self.refused(gateway.send(posing), UNVERIFIED, "jwt_signature_invalid")

    def test_keys_in_the_header(self) -> None:
        """A token that brings its own key is verified with the configured one."""
        gateway = Gateway(tokens.credential("RS256"))
        jwk = {"kty": "oct", "k": tokens.b64url(b"mine")}
        header = {
            "jwk": jwk,
            "kid": "../../dev/null",
            "jku": "http://127.0.0.1/",
            "x5c": ["MIIB"],
            "x5u": "x",
        }
        own = tokens.rsa_key(3072)
        self.refused(
            gateway.send(tokens.mint(GOOD, own, "RS256", header=header)), UNVERIFIED, "jwt_signature_invalid"
        )
        self.accepted(*gateway.send(tokens.mint(GOOD, tokens.signing_key("RS256"), "RS256", header=header)))

    def test_base64_secret(self) -> None:
        """With base64_secret the decoded bytes are the MAC key, the text is not."""
        raw = bytes(range(200, 240))
        text = base64.b64encode(raw).decode()
        gateway = Gateway(tokens.credential(secret=text, base64_secret=True))
        self.accepted(*gateway.send(tokens.mint(GOOD, raw)))
        self.refused(gateway.send(tokens.mint(GOOD, text.encode())), UNVERIFIED, "jwt_signature_invalid")
        self.refused(gateway.send(known(GOOD)), UNVERIFIED, "jwt_signature_invalid")

    def test_seed_secret(self) -> None:
        """The setup guide's 16-byte secret works, as do others shorter than the hash."""
        gateway = Gateway({"key": "user-1-identity", "secret": "my-shared-secret"})
        self.accepted(*gateway.send(tokens.mint({"key": "user-1-identity"}, b"my-shared-secret")))
        gateway = Gateway({"key": "k", "secret": "é", "algorithm": "HS512"})
        self.accepted(*gateway.send(tokens.mint({"key": "k"}, "é".encode(), "HS512")))

    def test_unused_key_material(self) -> None:
        """A public_key beside an HMAC secret, or a secret beside a public key, plays no part."""
        gateway = Gateway(tokens.credential("RS256", secret="unused"))
        self.refused(gateway.send(tokens.mint(GOOD, b"unused")), UNVERIFIED, "jwt_algorithm_mismatch")
        self.accepted(*gateway.send(tokens.mint(GOOD, tokens.signing_key("RS256"), "RS256")))
        self.accepted(*Gateway(tokens.credential(public_key="nonsense")).send(tokens.mint(GOOD)))


class CacheTests(JwtAuthTestCase):
    def counted(self, gateway: Gateway) -> list[bytes]:
        """Replace the credential's verifier by one that takes notes."""
        calls: list[bytes] = []
        identity = gateway.identities["user-key"]
        credential: JwtCredential = identity.credential

        def verify(signing_input: bytes, signature: bytes) -> bool:
            calls.append(signing_input)
            return credential.verify(signing_input, signature)

        counting = evolve(credential, verify=verify)
        gateway.identities["user-key"] = evolve(identity, credential=counting)
        return calls

    def test_verified_once(self) -> None:
        """The same token is verified once, on all routes together, and attached each time."""
        gateway = Gateway()
        calls = self.counted(gateway)
        other = gateway.route(realm="other")
        for plugin in (gateway.plugin, gateway.plugin, other):
            self.accepted(*gateway.send(known(GOOD), plugin))
        self.assertEqual(len(calls), 1)

    def test_expiry(self) -> None:
        """A remembered token expires at its time."""
        gateway = Gateway()
        token = known({"key": "user-key", "exp": NOW + 10})
        self.accepted(*gateway.send(token))
        gateway.clock.task.advance(9.9)
        self.accepted(*gateway.send(token))
        gateway.clock.task.advance(0.1)
        self.refused(gateway.send(token), UNVERIFIED, "jwt_expired")

    def test_routes_differ(self) -> None:
        """A token remembered by a lenient route is still refused by a strict one."""
        gateway = Gateway()
        token = known({"key": "user-key"})
        self.accepted(*gateway.send(token))
        strict = gateway.route(claims_to_verify=["exp"])
        self.refused(gateway.send(token, strict), UNVERIFIED, "jwt_claim_missing")
        named = gateway.route(key_claim_name="sub")
        self.refused(gateway.send(token, named), NO_KEY, "jwt_key_missing")

    def test_places_differ(self) -> None:
        """The scheme that may precede a token in the field is none elsewhere, whatever was remembered."""
        gateway = Gateway()
        token = known(GOOD)
        self.accepted(*gateway.send(token))
        for target, headers in ((f"/?jwt=Bearer%20{token}", []), ("/", [("Cookie", f"jwt=Bearer {token}")])):
            request = gateway.request(target, headers)
            reply = gateway.plugin.rewrite(request)
            self.assertEqual(reply and reply.status, 401, target)
        request = gateway.request(f"/?jwt={token}")
        self.accepted(request, gateway.plugin.rewrite(request))
        self.assertEqual(len(gateway.factory.cache), 2)

    def test_revocation(self) -> None:
        """A credential that is deleted or replaced takes its remembered tokens with it, at once."""
        gateway = Gateway()
        token = known(GOOD)
        self.accepted(*gateway.send(token))
        gateway.add(tokens.credential(secret="a new secret"))
        self.refused(gateway.send(token), UNVERIFIED, "jwt_signature_invalid")
        gateway.add(tokens.credential(secret=KNOWN_SECRET))
        self.accepted(*gateway.send(token))
        del gateway.identities["user-key"]
        self.refused(gateway.send(token), UNKNOWN, "jwt_key_unknown")

    def test_other_group(self) -> None:
        """What one gateway group's credential verified means nothing to another group."""
        gateway = Gateway()
        token = known(GOOD)
        self.accepted(*gateway.send(token))
        request = exchange(headers=[("Authorization", token)], identities={"jwt-auth": {}})
        self.refused((request, gateway.plugin.rewrite(request)), UNKNOWN, "jwt_key_unknown")

    def test_only_success(self) -> None:
        """Tokens that fail take no room."""
        gateway = Gateway()
        for token in ("bad", known({}), tokens.mint(GOOD, b"x"), known({"key": "user-key", "exp": 1})):
            gateway.send(token)
        self.assertEqual(len(gateway.factory.cache), 0)

    def test_bounds(self) -> None:
        """The setting bounds how many are kept; long tokens are not kept; 0 keeps none."""
        gateway = Gateway(settings={"jwt_auth_token_cache": "3"})
        for number in range(10):
            self.accepted(*gateway.send(known({**GOOD, "n": number})))
        self.assertEqual(len(gateway.factory.cache), 3)
        gateway = Gateway()
        for _ in range(2):
            self.accepted(*gateway.send(known({**GOOD, "x": "y" * 4000})))
        self.assertEqual(len(gateway.factory.cache), 0)
        gateway = Gateway(settings={"jwt_auth_token_cache": "0"})
        calls = self.counted(gateway)
        for _ in range(2):
            self.accepted(*gateway.send(known(GOOD)))
        self.assertEqual((len(calls), len(gateway.factory.cache)), (2, 0))

    def test_bad_setting(self) -> None:
        """A setting that is no number is refused by name."""
        for text in ("many", "-1", "1.5", "", "9" * 20, "\u0663"):
            error = self.assertRaises(ValueError, Gateway, settings={"jwt_auth_token_cache": text})
            self.assertIn("[plugins] jwt_auth_token_cache", str(error))


class HostileInputTests(JwtAuthTestCase):
    GATEWAY = Gateway(tokens.credential(secret=KNOWN_SECRET), tokens.credential("ES256", "ec-user"))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=200))
    def test_arbitrary_bytes(self, text: bytes) -> None:
        """Arbitrary bytes in any place a token may stand are 401, never an error."""
        gateway = self.GATEWAY
        wire = text.decode("latin-1").replace("?", "")
        for target, headers in (
            ("/", [("Authorization", wire)]),
            (f"/?jwt={wire.replace('&', '')}", []),
            ("/", [("Cookie", f"jwt={wire.replace(';', '')}")]),
        ):
            request = gateway.request(target, headers)
            self.refused((request, gateway.plugin.rewrite(request)), MALFORMED, "jwt_malformed")

    @settings(deadline=None, max_examples=300)
    @given(
        st.sampled_from(["HS256", "ES256"]), st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 2)
    )
    def test_mutations(self, algorithm: str, where: int, byte: int, how: int) -> None:
        """A valid token with a byte changed, added or removed is never accepted."""
        gateway = self.GATEWAY
        key: tokens.SigningKey = (
            KNOWN_SECRET.encode() if algorithm == "HS256" else tokens.signing_key("ES256")
        )
        claims = {"key": "user-key" if algorithm == "HS256" else "ec-user", "exp": 1879318541}
        good = tokens.mint(claims, key, algorithm).encode()
        at = where % len(good)
        bad = good[:at] + (b"" if how == 0 else bytes([byte])) + good[at + (how != 2) :]
        request = gateway.request()
        request.fields.add(b"authorization", bad)
        reply = gateway.plugin.rewrite(request)
        if bad == good:
            self.assertIsNone(reply)
        else:
            assert reply is not None, bad
            self.assertEqual(reply.status, 401)

    @settings(deadline=None, max_examples=200)
    @given(
        st.dictionaries(
            st.sampled_from(["key", "exp", "nbf", "x"]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.sampled_from(["user-key", "ec-user", ""])
                | st.text(max_size=3),
                lambda inner: (
                    st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
                ),
                max_leaves=4,
            ),
        ),
        st.dictionaries(
            st.sampled_from(["alg", "crit", "b64", "typ"]), st.sampled_from(["HS256", None, 1, True, []])
        ),
    )
    def test_signed_nonsense(self, claims: dict[str, Any], header: dict[str, Any]) -> None:
        """Well-signed nonsense is an answer, never an error."""
        token = tokens.assemble(tokens.compact(header), tokens.compact(claims), KNOWN_SECRET.encode())
        _, reply = self.GATEWAY.send(token)
        if reply is None:
            self.assertEqual((claims["key"], header["alg"]), ("user-key", "HS256"))
        else:
            self.assertEqual(reply.status, 401)


class RouteSchemaTests(SynchronousTestCase):
    registry = PluginRegistry([(Factory(), "tests")])

    def rules(self, config: dict[str, Any]) -> list[tuple[str, str]]:
        return [(p.pointer, p.rule) for p in self.registry.check("jwt-auth", config)]

    def test_good(self) -> None:
        """An empty object is enough; unknown members are tolerated."""
        full = {
            "header": "X", "query": "q", "cookie": "c", "hide_credentials": True, "key_claim_name": "iss",
            "claims_to_verify": ["nbf", "exp"], "store_in_ctx": True, "realm": "r", "anonymous_consumer": "a",
        }  # fmt: skip
        for config in ({}, full, {"unknown": 1}, {"claims_to_verify": []}, {"realm": "$env://REALM"}):
            self.assertEqual(self.rules(config), [])

    def test_bad(self) -> None:
        """What the contract does not allow is refused."""
        for config, expected in (
            ({"header": 1}, ("/header", "type")),
            ({"hide_credentials": "yes"}, ("/hide_credentials", "type")),
            ({"key_claim_name": ""}, ("/key_claim_name", "minLength")),
            ({"claims_to_verify": ["iat"]}, ("/claims_to_verify/0", "enum")),
            ({"claims_to_verify": ["exp", "exp"]}, ("/claims_to_verify", "uniqueItems")),
            ({"realm": 'a"b'}, ("/realm", "pattern")),
            ({"realm": "x" * 129}, ("/realm", "maxLength")),
            ({"anonymous_consumer": ""}, ("/anonymous_consumer", "minLength")),
        ):
            self.assertEqual(self.rules(config), [expected])

    def test_resolved_references(self) -> None:
        """What a reference resolves to must fit as well."""
        for config in ({"realm": "a\r\nb"}, {"claims_to_verify": ["iat"]}):
            self.assertRaises(ValueError, Gateway, **config)


class CredentialTests(SynchronousTestCase):
    """Contract §2."""

    registry = PluginRegistry([(Factory(), "tests")])

    def texts(self, config: dict[str, Any]) -> list[str]:
        return [p.message for p in self.registry.check("jwt-auth", config, credential=True)]

    def rules(self, config: dict[str, Any]) -> list[tuple[str, str]]:
        return [(p.pointer, p.rule) for p in self.registry.check("jwt-auth", config, credential=True)]

    def test_good(self) -> None:
        """Each algorithm's credential is accepted; left-over members are tolerated."""
        for algorithm in jws.ALGORITHMS:
            self.assertEqual(self.texts(tokens.credential(algorithm)), [])
        self.assertEqual(self.texts({"key": "k", "secret": "s", "exp": 1, "private_key": "x"}), [])
        self.assertEqual(self.texts({"key": "k", "secret": "s", "key_claim_name": "iss", "_meta": {}}), [])

    def test_schema(self) -> None:
        """Wrong types, lengths and values are the schema's to find."""
        for config, expected in (
            ({"secret": "s"}, ("/key", "required")),
            ({"key": 123, "secret": "s"}, ("/key", "type")),
            ({"key": "", "secret": "s"}, ("/key", "minLength")),
            ({"key": "k", "secret": ""}, ("/secret", "minLength")),
            ({"key": "k", "secret": "s", "algorithm": "none"}, ("/algorithm", "enum")),
            ({"key": "k", "secret": "s", "exp": 0}, ("/exp", "minimum")),
            ({"key": "k", "secret": "s", "lifetime_grace_period": -1}, ("/lifetime_grace_period", "minimum")),
            ({"key": "k", "secret": "s", "base64_secret": "yes"}, ("/base64_secret", "type")),
        ):
            self.assertEqual(self.rules(config), [expected])

    def test_public_key_is_needed(self) -> None:
        """An asymmetric algorithm without public_key fails the schema's dependency on the algorithm."""
        for algorithm in jws.ASYMMETRIC_ALGORITHMS:
            (problem,) = self.registry.check(
                "jwt-auth", {"key": "k", "secret": "s", "algorithm": algorithm}, credential=True
            )
            self.assertEqual((problem.rule, problem.path), ("oneOf", ()))
            self.assertEqual(problem.schema_path, ("dependencies", "algorithm", "oneOf"))

    def test_exact_texts(self) -> None:
        """What the schema cannot say is said in the contract's words."""
        hs = 'property "secret" is required when using HS based algorithms'
        b64 = "base64_secret required but the secret is not in base64 format"
        self.assertEqual(self.texts({"key": "k"}), [hs])
        self.assertEqual(self.texts({"key": "k", "algorithm": "HS512"}), [hs])
        for secret in ("my@secret", "a", "ab=c", "=", "YQ==\n", " YQ==", "-_-_", "é", "QUJD QUJD"):
            self.assertEqual(self.texts({"key": "k", "secret": secret, "base64_secret": True}), [b64], secret)
        for secret in ("YQ==", "YQ", "QUJD", "++//"):
            self.assertEqual(self.texts({"key": "k", "secret": secret, "base64_secret": True}), [], secret)
        error = self.assertRaises(ValueError, Factory().check_credential, {"key": "k", "algorithm": "RS256"})
        self.assertEqual(str(error), "missing valid public key")

    def test_key_material(self) -> None:
        """Keys that could never do are refused when they are written."""
        for algorithm, key, text in (
            ("RS256", tokens.public_pem(tokens.rsa_key(1024)), "public_key is an RSA key of 1024 bits"),
            ("RS256", tokens.private_pem(tokens.rsa_key()), "public_key holds a private key"),
            ("ES384", tokens.public_pem(tokens.private_key("ES256")), "not an EC key on the curve P-384"),
            ("PS256", "nonsense", "missing valid public key"),
        ):
            (found,) = self.texts({"key": "k", "algorithm": algorithm, "public_key": key})
            self.assertIn(text, found)
        (found,) = self.texts({"key": "k", "secret": tokens.public_pem(tokens.rsa_key())})
        self.assertIn("secret is the text of a PEM", found)

    def test_references(self) -> None:
        """References pass every check of what they stand for, and are no key by themselves."""
        for config in (
            {"key": "$env://K", "secret": "$env://S"},
            {"key": "k", "secret": "$secret://vault/1/a/b", "base64_secret": True},
            {"key": "k", "algorithm": "RS256", "public_key": "$ENV://P"},
            {"key": "k", "algorithm": "$env://A", "secret": "s", "public_key": "x"},
        ):
            self.assertEqual(self.texts(config), [])
            error = self.assertRaises(ValueError, Factory().credential, config)
            self.assertIn("is a reference that was not resolved", str(error))

    def test_resolved_to_nonsense(self) -> None:
        """A credential whose resolved values do not fit cannot be used, hence is left out of the index."""
        for config in (
            {"key": "", "secret": "s"},
            {"key": "k", "secret": ""},
            {"key": "k", "secret": "s", "algorithm": "none"},
            {"key": "k", "secret": "@", "base64_secret": True},
            {"key": "k", "algorithm": "RS256", "public_key": "nonsense"},
        ):
            self.assertRaises(ValueError, Factory().credential, config)

    def test_no_secret_in_repr(self) -> None:
        """Neither a prepared credential nor its identity shows key material."""
        credential = Factory().credential({"key": "k", "secret": "hush-hush"})
        self.assertNotIn("hush", repr(credential) + repr(Identity(consumer(), None, credential)))


class FactoryTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        """The plugin and its instances provide what they say; it is found by the gateway."""
        self.assertTrue(verifyObject(IPluginFactory, jwt_auth.plugin))
        self.assertTrue(verifyObject(ICredentialFactory, jwt_auth.plugin))
        instance = Gateway().plugin
        self.assertTrue(verifyObject(IRewritePhase, instance))
        self.assertTrue(IPureHooks.providedBy(instance))
        self.assertEqual(
            (jwt_auth.plugin.name, jwt_auth.plugin.priority, jwt_auth.plugin.kind), ("jwt-auth", 2510, "auth")
        )

    def test_docs(self) -> None:
        """The page names every setting and every reason code."""
        page = DOCS.read_text()
        names = [
            *jwt_auth.MESSAGES,
            *set(jwt_auth.MESSAGES.values()),
            *jwt_auth.plugin.schema["properties"],
            *jwt_auth.plugin.credential_schema["properties"],
            "anonymous_consumer_missing",
        ]
        self.assertEqual([name for name in names if f"`{name}`" not in page], [])

    def test_docs_token(self) -> None:
        """The page's example token is one the example credential has signed."""
        token = next(word for word in DOCS.read_text().split() if word.startswith("JWT=eyJ")).removeprefix(
            "JWT="
        )
        head, _, signature = token.rpartition(".")
        mac = hmac.new(b"my-shared-secret", head.encode(), hashlib.sha256).digest()
        self.assertEqual(tokens.b64url(mac), signature)
        payload = head.partition(".")[2]
        self.assertEqual(
            json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["key"],
            "user-1-identity",
        )
