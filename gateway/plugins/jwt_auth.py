"""jwt-auth: a request is who its JSON Web Token says, if the token's credential has signed it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from attrs import field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from gateway.core import auth, jose, jws
from gateway.core.claims import TIME_CLAIMS, check_times, period_of, times_of
from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Exchange, Reply
from gateway.core.fields import Pair
from gateway.core.jose import Refusal, Token
from gateway.core.token_cache import TokenCache
from gateway.interfaces import (
    Clock,
    ICredentialFactory,
    IPluginFactory,
    IPureHooks,
    IRewritePhase,
    PluginServices,
)
from gateway.model.schema import fill, is_reference

NAME = "jwt-auth"
CACHE_SETTING = "jwt_auth_token_cache"
CACHE_ENTRIES = 4096
"""How many verified tokens a process remembers unless ``[plugins] jwt_auth_token_cache`` says otherwise."""
MAX_CACHED_TOKEN_BYTES = 4096
"""Longer tokens are verified each time: with the number of entries this bounds the cache's memory."""
MAX_GRACE_S = 2**53
"""More leeway than this is the same as this: beyond, floats no longer tell seconds apart."""

_ROUTE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "header": {
            "type": "string",
            "default": "authorization",
            "description": "Request header to read the token from, first.",
        },
        "query": {
            "type": "string",
            "default": "jwt",
            "description": "Query argument to read it from, second.",
        },
        "cookie": {"type": "string", "default": "jwt", "description": "Cookie to read it from, third."},
        "hide_credentials": auth.HIDE_CREDENTIALS,
        "key_claim_name": {
            "type": "string",
            "minLength": 1,
            "default": "key",
            "description": "The payload's member that holds the credential's key.",
        },
        "claims_to_verify": {
            "type": "array",
            "items": {"type": "string", "enum": list(TIME_CLAIMS)},
            "uniqueItems": True,
            "description": "Time claims that must be present, and the only ones checked. "
            "Not set or empty: both are checked where present.",
        },
        "store_in_ctx": {
            "type": "boolean",
            "default": False,
            "description": "Keep the verified payload for later plugins, as jwt_auth_payload.",
        },
        "realm": auth.realm_schema("jwt"),
        "anonymous_consumer": auth.ANONYMOUS_CONSUMER,
    },
}

_ASYMMETRIC_SCHEMA = {"anyOf": [{"const": name} for name in jws.ASYMMETRIC_ALGORITHMS]}
_CREDENTIAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "key": {"type": "string", "minLength": 1, "description": "What a token's key claim must hold."},
        "secret": {"type": "string", "minLength": 1, "description": "Shared secret of the HS algorithms."},
        "public_key": {
            "type": "string",
            "minLength": 1,
            "description": "Public key of the others, in PEM form.",
        },
        "algorithm": {"type": "string", "enum": list(jws.ALGORITHMS), "default": "HS256"},
        "exp": {
            "type": "integer",
            "minimum": 1,
            "default": 86400,
            "description": "Kept for older configurations; nothing is signed here, so it has no effect.",
        },
        "base64_secret": {
            "type": "boolean",
            "default": False,
            "description": "The secret is base64 text and is decoded before use.",
        },
        "lifetime_grace_period": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "Leeway in seconds for exp and nbf.",
        },
    },
    "required": ["key"],
    # "const" rather than "enum": a reference in place of the algorithm is neither branch's business.
    "dependencies": {
        "algorithm": {
            "oneOf": [
                {"properties": {"algorithm": {"not": _ASYMMETRIC_SCHEMA}}},
                {"properties": {"algorithm": _ASYMMETRIC_SCHEMA}, "required": ["public_key"]},
            ]
        }
    },
}

_MISSING = "Missing JWT token in request"
_MALFORMED = "JWT token invalid"
_UNVERIFIED = "failed to verify jwt"
MESSAGES: Mapping[str, str] = {
    "jwt_missing": _MISSING,
    "jwt_malformed": _MALFORMED,
    "jwt_crit_unsupported": _MALFORMED,
    "jwt_key_missing": "missing user key in JWT token",
    "jwt_key_unknown": "Invalid user key in JWT token",
    "jwt_key_unavailable": _UNVERIFIED,
    "jwt_algorithm_mismatch": _UNVERIFIED,
    "jwt_signature_invalid": _UNVERIFIED,
    "jwt_claim_missing": _UNVERIFIED,
    "jwt_claim_invalid": _UNVERIFIED,
    "jwt_expired": _UNVERIFIED,
    "jwt_not_yet_valid": _UNVERIFIED,
}
"""Reason code → what the client is told (jwt-auth contract §5)."""
_EXPLAINED = (_MALFORMED, _UNVERIFIED)


@frozen
class JwtCredential:
    """
    A credential ready for use.

    Attributes:
        algorithm: The one ``alg`` its tokens may have.
        verify: Checks a signature. grace_s: Leeway for time claims, in seconds.
    """

    algorithm: str
    verify: jws.Verifier = field(repr=False)
    grace_s: int


@frozen
class Verified:
    """
    What is remembered of a token: its signature is good, if *key* still leads to *identity*.

    Attributes:
        times: Its time claims, to be checked again each time.
        period: ``gateway.core.claims.period_of`` those.
    """

    identity: Identity
    key: str
    times: Mapping[str, Any]
    period: tuple[float, float] | None = field(init=False)

    @period.default
    def _period(self) -> tuple[float, float] | None:
        return period_of(self.times)


_NEVER = (inf, -inf)

Cache = TokenCache[tuple[bytes, str, bool], Verified]
"""
(token as it was sent, name of the key claim, whether it stood in the header field, where a scheme may precede
it) → what was verified. Values of fields are the same objects in many requests: their hashes are known.
"""


@frozen
class Config:
    """Settings on a route or service; the schema explains and defaults them."""

    header: bytes
    query: str
    cookie: str
    hide_credentials: bool
    key_claim_name: str
    claims_to_verify: tuple[str, ...]
    store_in_ctx: bool
    challenge: tuple[Pair, ...]
    anonymous_consumer: str | None

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Config:
        """Read settings that fit the schema; ValueError if a resolved reference does not."""
        filled = fill(_ROUTE_SCHEMA, config)
        claims_to_verify = tuple(filled.get("claims_to_verify", ()))
        if not set(claims_to_verify) <= set(TIME_CLAIMS):
            raise ValueError(f"claims_to_verify: only {' and '.join(TIME_CLAIMS)} can be verified")
        return cls(
            header=auth.field_name(filled["header"]),
            query=filled["query"],
            cookie=filled["cookie"],
            hide_credentials=filled["hide_credentials"],
            key_claim_name=filled["key_claim_name"],
            claims_to_verify=claims_to_verify,
            store_in_ctx=filled["store_in_ctx"],
            challenge=auth.challenge("Bearer", filled["realm"]),
            anonymous_consumer=filled.get("anonymous_consumer"),
        )


def without_scheme(value: bytes) -> bytes:
    """A field value without a leading ``Bearer``, in any letter case, and the spaces after it."""
    if value[6:7] == b" " and value[:6].lower() == b"bearer":
        return value[7:].lstrip(b" ")
    return value


@implementer(IRewritePhase, IPureHooks)
@frozen(eq=False)
class JwtAuth:
    """jwt-auth with one configuration."""

    config: Config
    clock: Clock
    cache: Cache | None

    def rewrite(self, exchange: Exchange) -> Reply | None:
        """See ``IRewritePhase``. Attaches the token's consumer, or the anonymous one, or answers 401."""
        config = self.config
        auth.redact_argument(exchange, config.query)
        value = exchange.fields.get(config.header)
        refusal: Refusal | None
        if value is not None:
            if config.hide_credentials:
                exchange.fields.remove(config.header)
            refusal = self._authenticate(exchange, value, True)
        elif (token := self._elsewhere(exchange)) is not None:
            refusal = self._authenticate(exchange, token, False)
        else:
            refusal = Refusal("jwt_missing", "")
        if refusal is None:
            return None
        failure = self._reply(refusal)
        if config.anonymous_consumer is None:
            return failure
        return auth.anonymous(exchange, config.anonymous_consumer, failure, config.challenge)

    def _elsewhere(self, exchange: Exchange) -> bytes | None:
        """The token of the query or of a cookie."""
        config = self.config
        if query := exchange.query:
            values = auth.query_values(query, config.query)
            if values:
                if config.hide_credentials:
                    auth.hide_argument(exchange, config.query)
                # Said twice or without a value, it is nothing that could be a token.
                return (values[0] or b"") if len(values) == 1 else b""
        cookie = auth.cookie_value(exchange, config.cookie)
        if cookie is not None and config.hide_credentials:
            auth.hide_cookie(exchange, config.cookie)
        return cookie

    def _authenticate(self, exchange: Exchange, value: bytes, in_field: bool) -> Refusal | None:
        config = self.config
        cache = self.cache
        identities: Mapping[str, Identity] | None = exchange.snapshot.identities.get(NAME)
        mark = (value, config.key_claim_name, in_field)
        known = None if cache is None else cache.get(mark)
        if known is not None and cache is not None:
            identity = known.identity
            if identities is not None and identities.get(known.key) is identity:
                refusal = None
                since, until = known.period or _NEVER
                now, grace_s = self.clock.time(), identity.credential.grace_s
                if config.claims_to_verify or not since <= now + grace_s or not until > now - grace_s:
                    refusal = self._check_times(known.times, identity.credential)
                if refusal is None:
                    if config.store_in_ctx:
                        # Read anew, so that no plugin changes what another request sees.
                        token = jose.parse(without_scheme(value) if in_field else value)
                        exchange.context["jwt_auth_payload"] = (
                            token.claims if isinstance(token, Token) else {}
                        )
                    attach(exchange, identity)
                return refusal
            cache.discard(mark)

        text = without_scheme(value) if in_field else value
        token = jose.parse(text)
        if isinstance(token, Refusal):
            return token
        verified = self._verify(text, token, identities)
        if isinstance(verified, Refusal):
            return verified
        if cache is not None and len(value) <= MAX_CACHED_TOKEN_BYTES:
            cache.put(mark, verified)
        if config.store_in_ctx:
            exchange.context["jwt_auth_payload"] = token.claims
        attach(exchange, verified.identity)
        return None

    def _verify(
        self, text: bytes, token: Token, identities: Mapping[str, Identity] | None
    ) -> Verified | Refusal:
        key = token.claims.get(self.config.key_claim_name)
        if key is None or key is False:
            return Refusal("jwt_key_missing", "")
        if not identities:
            return Refusal("jwt_key_unknown", "Missing related consumer")
        identity = identities.get(key) if isinstance(key, str) else None
        if identity is None:
            return Refusal("jwt_key_unknown", f"failed to find consumer: key {jose.excerpt(str(key))}")
        credential = identity.credential
        if not isinstance(credential, JwtCredential):
            return Refusal("jwt_key_unavailable", "failed to retrieve secrets, err: no verification key")
        # Nothing of the token chooses the verifier (RFC 8725 section 3.1).
        if token.header.get("alg") != credential.algorithm:
            return Refusal("jwt_algorithm_mismatch", f"algorithm mismatch, expected {credential.algorithm}")
        signature = token.signature
        if signature is None or not credential.verify(token.signing_input, signature):
            segment = jose.excerpt(text.rpartition(b".")[2])
            return Refusal("jwt_signature_invalid", f"signature mismatch: {segment}")
        times = times_of(token.claims)
        return self._check_times(times, credential) or Verified(identity, key, times)

    def _check_times(self, times: Mapping[str, Any], credential: JwtCredential) -> Refusal | None:
        return check_times(times, self.config.claims_to_verify, self.clock.time(), credential.grace_s)

    def _reply(self, refusal: Refusal) -> Reply:
        message = MESSAGES[refusal.reason]
        detail = f"{message}: {refusal.detail}" if message in _EXPLAINED else refusal.detail
        return Reply.json(
            401, {"message": message}, fields=self.config.challenge, reason=refusal.reason, detail=detail
        )


def _decoded_secret(secret: str) -> bytes:
    try:
        decoded = auth.decode_base64(secret.encode("ascii"))
    except ValueError:
        decoded = b""
    if not decoded:
        raise ValueError("base64_secret required but the secret is not in base64 format")
    return decoded


def _import_key(config: Mapping[str, Any], algorithm: str) -> jws.VerificationKey:
    if algorithm in jws.HMAC_ALGORITHMS:
        secret = config.get("secret")
        if not secret:
            raise ValueError('property "secret" is required when using HS based algorithms')
        return jws.import_secret(
            algorithm, _decoded_secret(secret) if config["base64_secret"] else secret.encode("utf-8")
        )
    if algorithm not in jws.ASYMMETRIC_ALGORITHMS:
        raise ValueError("algorithm is none that jwt-auth knows")
    public_key = config.get("public_key")
    if not public_key:
        raise ValueError("missing valid public key")
    return jws.import_public_key(algorithm, public_key)


@implementer(IPlugin, IPluginFactory, ICredentialFactory)
@frozen(eq=False)
class Factory:
    """
    Provides ``IPluginFactory`` and ``ICredentialFactory``.

    What was verified is remembered once a process, not once a route: what is remembered is true
    whatever the route, and the memory stays bounded however many routes there are.
    """

    name: str = NAME
    version: str = "0.1"
    priority: int = 2510
    kind: str = "auth"
    schema: Mapping[str, Any] = field(default=_ROUTE_SCHEMA, repr=False)
    metadata_schema: Mapping[str, Any] | None = None
    secret_fields: tuple[str, ...] = ()
    credential_schema: Mapping[str, Any] = field(default=_CREDENTIAL_SCHEMA, repr=False)
    credential_secret_fields: tuple[str, ...] = ("secret",)
    key_field: str = "key"
    cache: Cache = field(factory=lambda: TokenCache(CACHE_ENTRIES), repr=False)

    def check(self, config: Mapping[str, Any]) -> None:
        """See ``IPluginFactory.check``: the schema says it all."""

    def make(self, config: Mapping[str, Any], services: PluginServices) -> JwtAuth:
        """
        See ``IPluginFactory.make``.

        Raises:
            ValueError: a resolved reference is not what the schema asks for, or the setting
                ``jwt_auth_token_cache`` is not a number.
        """
        text = services.settings.get(CACHE_SETTING, str(CACHE_ENTRIES)).strip()
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            raise ValueError(f"[plugins] {CACHE_SETTING}: expected a number of tokens, got {text!r}")
        entries = int(text)
        if entries:
            self.cache.resize(entries)
        return JwtAuth(Config.parse(config), services.clock, self.cache if entries else None)

    def check_credential(self, config: Mapping[str, Any]) -> None:
        """
        See ``ICredentialFactory.check_credential``. What is a reference is checked once it is resolved.

        Source:
            jwt-auth contract §2, write-time checks.
        """
        filled = fill(_CREDENTIAL_SCHEMA, config)
        algorithm = filled["algorithm"]
        used = "secret" if algorithm in jws.HMAC_ALGORITHMS else "public_key"
        if not is_reference(algorithm) and not is_reference(filled.get(used)):
            _import_key(filled, algorithm)

    def credential(self, config: Mapping[str, Any]) -> JwtCredential:
        """See ``ICredentialFactory.credential``: the key is imported here, once."""
        filled = fill(_CREDENTIAL_SCHEMA, config)
        for name in ("key", "secret", "public_key", "algorithm"):
            if is_reference(filled.get(name)):
                raise ValueError(f"{name} is a reference that was not resolved")
        if not filled["key"]:
            raise ValueError("key is empty")
        algorithm = filled["algorithm"]
        key = _import_key(filled, algorithm)
        grace_s = min(int(filled["lifetime_grace_period"]), MAX_GRACE_S)
        return JwtCredential(algorithm, jws.verifier(algorithm, key), grace_s)


plugin = Factory()
