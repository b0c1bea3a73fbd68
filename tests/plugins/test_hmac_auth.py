"""Tests for gateway.plugins.hmac_auth."""

from __future__ import annotations

import base64
import hashlib
import hmac
from email.utils import formatdate
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Exchange, Reply
from gateway.core.http_signature import digest_of
from gateway.plugins.hmac_auth import plugin
from gateway.testing.exchanges import consumer, exchange
from gateway.testing.plugins import bind, finish, identities, problems

NOW = 1_700_000_000
KEYS = identities(
    plugin,
    (consumer("jack"), "c1", {"key_id": "user-key", "secret_key": "my-secret-key"}),
    (consumer("zoë"), None, {"key_id": "zoë", "secret_key": "пароль"}),
)
INVALID = "client request can't be validated"


def date(at: int = NOW) -> str:
    return formatdate(at, usegmt=True)


def signature(
    text: str, *, key: str = "user-key", secret: str = "my-secret-key", algorithm: str = "sha256"
) -> str:
    made = hmac.digest(secret.encode(), (key + "\n" + text).encode(), algorithm)
    return base64.b64encode(made).decode()


def authorization(**parts: str) -> str:
    return "Signature " + ",".join(f'{name}="{value}"' for name, value in parts.items())


def signed(
    target: str = "/hello",
    *headers: tuple[str, str],
    names: str = "@request-target date",
    text: str | None = None,
    at: int = NOW,
    content: bytes | None = None,
    path: str | None = None,
    **changed: str,
) -> Exchange:
    """A request of jack's, signed as the examples in the documents are."""
    signing = f"GET {target}\ndate: {date(at)}\n" if text is None else text
    parts = {
        "keyId": "user-key",
        "algorithm": "hmac-sha256",
        "headers": names,
        "signature": signature(signing),
        **changed,
    }
    return request(
        target,
        ("Date", date(at)),
        ("Authorization", authorization(**parts)),
        *headers,
        content=content,
        path=path,
    )


def request(
    target: str, *headers: tuple[str, str], content: bytes | None = None, path: str | None = None
) -> Exchange:
    return exchange(
        target=target,
        headers=headers,
        identities=KEYS,
        consumers={"guest": consumer("guest")},
        content=content,
        path=path,
    )


def rewrite(sent: Exchange, **config: Any) -> Reply | None:
    hook = bind(plugin, config).rewrite
    assert hook is not None
    return finish(hook(sent))


class RewriteTests(SynchronousTestCase):
    def accepted(self, sent: Exchange, username: str = "jack", **config: Any) -> None:
        reply = rewrite(sent, **config)
        self.assertIsNone(reply, reply and reply.detail)
        assert sent.consumer is not None
        self.assertEqual(sent.consumer.username, username)

    def refused(self, sent: Exchange, reason: str, message: str = INVALID, **config: Any) -> Reply:
        reply = rewrite(sent, **config)
        assert reply is not None
        self.assertEqual((reply.reason, reply.status), (reason, 401), reply.detail)
        self.assertEqual(reply.body, b'{"message":"%s"}\n' % message.encode())
        self.assertIn((b"www-authenticate", b'hmac realm="hmac"'), reply.fields)
        self.assertIsNone(sent.consumer)
        return reply

    def test_accepted(self) -> None:
        """A signed request is from the owner of the key."""
        self.accepted(signed())
        self.accepted(signed("/hello?a=%20b&c"))

    def test_algorithms(self) -> None:
        """Each algorithm is accepted, unless the route allows others only."""
        for name in ("sha1", "sha256", "sha512"):
            text = f"GET /hello\ndate: {date()}\n"
            changed = {"algorithm": f"hmac-{name}", "signature": signature(text, algorithm=name)}
            self.accepted(signed(**changed))
            self.refused(
                signed(**changed),
                "hmac_algorithm_not_allowed",
                allowed_algorithms=["hmac-sha1"] if name != "sha1" else ["hmac-sha512"],
            )
        self.refused(signed(algorithm="hmac-md5"), "hmac_algorithm_not_allowed")

    def test_more_headers(self) -> None:
        """Other fields are signed as they are spelt; those that are not there have no line."""
        text = f"GET /hello\nDate: {date()}\nX-A: 1 2\n"
        self.accepted(signed("/hello", ("x-a", "1 2"), names="@request-target Date absent X-A", text=text))
        self.refused(
            signed("/hello", ("x-a", "1 3"), names="@request-target Date absent X-A", text=text),
            "hmac_signature_invalid",
        )

    def test_other_texts(self) -> None:
        """Key ids and secrets need not be ASCII."""
        text = f"zoë\ndate: {date()}\n"
        made = base64.b64encode(hmac.digest("пароль".encode(), text.encode(), "sha256")).decode()
        sent = signed(names="date", keyId="zoë".encode().decode("latin-1"), signature=made)
        self.accepted(sent, "zoë")

    def test_normalised_target(self) -> None:
        """Clients may sign the target as they send it, or as it is after normalisation."""
        for text in ("/a/%62?q=%20", "/a/b?q=%20"):
            self.accepted(signed("/a/%62?q=%20", text=f"GET {text}\ndate: {date()}\n", path="/a/b"))

    def test_missing(self) -> None:
        """Without the header, or with one of another scheme, the answer says so."""
        self.refused(request("/"), "hmac_missing", f"{INVALID}: missing Authorization header")
        self.refused(
            request("/", ("Authorization", "Basic eDp5")),
            "hmac_scheme_unknown",
            f"{INVALID}: Authorization header does not start with 'Signature'",
        )

    def test_order(self) -> None:
        """Checks follow the contract's order, each with a reason of its own in the log alone."""
        for sent, reason, detail in (
            (signed(keyId="", algorithm=""), "hmac_incomplete", "keyId or signature missing"),
            (signed(signature="", algorithm=""), "hmac_incomplete", "keyId or signature missing"),
            (signed(algorithm="", keyId="nobody"), "hmac_incomplete", "algorithm missing"),
            (
                signed(keyId="nobody", algorithm="x"),
                "hmac_key_unknown",
                "failed to find consumer: key id 'nobody'",
            ),
            (signed(algorithm="x", at=0), "hmac_algorithm_not_allowed", "Invalid algorithm"),
            (signed(at=NOW - 301, names=""), "hmac_clock_skew", "Clock skew exceeded"),
            (
                signed(names="", signature="x"),
                "hmac_header_unsigned",
                'expected header "date" missing in signing',
            ),
            (signed(names="date " * 65), "hmac_incomplete", "too many headers are signed"),
            (signed(signature="eA=="), "hmac_signature_invalid", "Invalid signature"),
            (signed(signature="é"), "hmac_signature_invalid", "Invalid signature"),
        ):
            self.assertEqual(self.refused(sent, reason).detail, detail)

    def test_dates(self) -> None:
        """The Date must be there, be one, and be within the skew on either side."""
        for at in (NOW - 300, NOW + 300):
            self.accepted(signed(at=at))
        self.refused(signed(at=NOW + 11), "hmac_clock_skew", clock_skew=10)
        parts = {"keyId": "user-key", "algorithm": "hmac-sha256", "headers": "date", "signature": "eA=="}
        sent = request("/", ("Authorization", authorization(**parts)))
        self.refused(sent, "hmac_date_invalid")
        sent = request("/", ("Date", "soon"), ("Authorization", authorization(**parts)))
        self.assertEqual(self.refused(sent, "hmac_date_invalid").detail, "Invalid GMT format time")

    def test_signed_headers(self) -> None:
        """Fields that the route wants signed have to be in the list, in any letter case."""
        self.refused(signed(), "hmac_header_unsigned", signed_headers=["date", "x-a"])
        text = f"X-A: 1\ndate: {date()}\n"
        self.accepted(signed("/", ("x-a", "1"), names="X-A date", text=text), signed_headers=["x-a"])
        self.accepted(signed(names="@request-target", text="GET /hello\n"), signed_headers=[])

    def test_content(self) -> None:
        """Content is checked against its digest, if the route says so."""
        good = digest_of(b"hello").decode()
        sent = signed("/hello", ("Digest", good), content=b"hello")
        self.accepted(sent, validate_request_body=True)
        self.refused(
            signed("/hello", ("Digest", good), content=b"hellO"),
            "hmac_digest_invalid",
            validate_request_body=True,
        )
        self.refused(signed(content=b"hello"), "hmac_digest_invalid", validate_request_body=True)
        empty = "SHA-256=" + base64.b64encode(hashlib.sha256(b"").digest()).decode()
        self.accepted(signed("/hello", ("Digest", empty)), validate_request_body=True)
        self.accepted(signed("/hello", ("Digest", "nonsense"), content=b"hello"))

    def test_content_too_large(self) -> None:
        """Content over the limit is 413, and told."""
        sent = signed("/hello", ("Digest", "x"), content=b"hello")
        reply = rewrite(sent, validate_request_body=True, max_req_body_size=4)
        assert reply is not None
        self.assertEqual(reply.status, 413)
        text = "request size 5 is greater than the maximum size 4 allowed"
        self.assertEqual(reply.body, b'{"message":"%s"}\n' % text.encode())

    def test_hide(self) -> None:
        """The signature goes on to the upstream unless it is to be hidden."""
        for hide in (False, True):
            sent = signed()
            self.accepted(sent, hide_credentials=hide)
            self.assertEqual(b"authorization" not in sent.fields, hide)

    def test_anonymous(self) -> None:
        """Whatever fails may go on as the anonymous consumer."""
        sent = signed(signature="eA==")
        self.accepted(sent, "guest", anonymous_consumer="guest", hide_credentials=True)
        self.assertEqual(sent.context["auth_failure"], "hmac_signature_invalid")
        self.assertNotIn(b"authorization", sent.fields)
        sent = signed("/hello", ("Digest", "x"), content=b"hello")
        self.accepted(sent, "guest", anonymous_consumer="guest", validate_request_body=True)


class FactoryTests(SynchronousTestCase):
    def test_schemas(self) -> None:
        """Settings are checked on routes and on credentials."""
        self.assertEqual(problems(plugin, {}), [])
        for config, wrong in (
            ({"allowed_algorithms": []}, ("/allowed_algorithms", "minItems")),
            ({"allowed_algorithms": ["hmac-md5"]}, ("/allowed_algorithms/0", "enum")),
            ({"clock_skew": 0}, ("/clock_skew", "minimum")),
            ({"signed_headers": [""]}, ("/signed_headers/0", "minLength")),
            ({"signed_headers": ["x" * 51]}, ("/signed_headers/0", "maxLength")),
            ({"max_req_body_size": 0}, ("/max_req_body_size", "minimum")),
        ):
            self.assertEqual(problems(plugin, config), [wrong])  # type: ignore[arg-type]
        for config, wrong in (
            ({"secret_key": "s"}, ("/key_id", "required")),
            ({"key_id": "k"}, ("/secret_key", "required")),
            ({"key_id": "", "secret_key": "s"}, ("/key_id", "minLength")),
            ({"key_id": "k", "secret_key": "s" * 257}, ("/secret_key", "maxLength")),
        ):
            self.assertEqual(problems(plugin, config, credential=True), [wrong])  # type: ignore[arg-type]
        self.assertEqual((plugin.priority, plugin.key_field), (2530, "key_id"))

    def test_unusable(self) -> None:
        """What was not resolved lets nobody in, and names no algorithm."""
        for key, secret in (("$env://K", "s"), ("k", "$env://S"), ("k", "")):
            self.assertRaises(ValueError, plugin.credential, {"key_id": key, "secret_key": secret})
        self.assertRaises(
            ValueError, bind, plugin, {"allowed_algorithms": ["$env://A"]}, environment={"A": "x"}
        )

    def test_explained(self) -> None:
        """It can be explained without a request."""
        self.assertTrue(bind(plugin, {}).pure)
        self.assertTrue(bind(plugin, {"validate_request_body": True}).pure)
