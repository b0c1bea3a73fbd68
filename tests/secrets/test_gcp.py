"""Google Cloud's Secret Manager."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.secrets.gcp import gcp
from gateway.secrets.managers import FetchFailed
from tests.secrets.kit import asking

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
ACCOUNT = {"client_email": "gw@p.test", "private_key": PEM, "project_id": "p 1"}
TOKEN = (200, b'{"access_token": "ya29"}')


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class FetchTests(SynchronousTestCase):
    def fetch(self, settings: dict[str, Any], path: str, *answers: Any) -> tuple[Any, Any]:
        ask, calls = asking(*answers, now=1000.5)
        return Deferred.fromCoroutine(gcp(settings, path, ask)), calls

    def test_secret(self) -> None:
        """A signed claim is changed for a token, and the token opens the latest version."""
        data = base64.b64encode(b'{"key": "value"}').decode()
        got, calls = self.fetch(
            {"auth_config": ACCOUNT, "ssl_verify": False},
            "jack/key",
            TOKEN,
            (200, json.dumps({"payload": {"data": data}}).encode()),
        )
        self.assertEqual(self.successResultOf(got), "value")
        (_, token_url, _, form, verify), (method, url, fields, _, _) = calls.asked
        self.assertEqual((token_url, verify), ("https://oauth2.googleapis.com/token", False))
        assertion = parse_qs(form.decode())["assertion"][0]
        head, claims, signature = assertion.split(".")
        KEY.public_key().verify(
            decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        self.assertEqual(json.loads(decoded(head))["alg"], "RS256")
        told = json.loads(decoded(claims))
        self.assertEqual(
            (told["iss"], told["aud"], told["exp"] - told["iat"]), ("gw@p.test", token_url, 3600)
        )
        self.assertEqual(
            (method, url, fields),
            (
                "GET",
                "https://secretmanager.googleapis.com/v1/projects/p%201/secrets/jack/versions/latest:access",
                {"Authorization": "Bearer ya29"},
            ),
        )

    def test_file(self) -> None:
        """The account may stand in a file."""
        path = Path(self.mktemp())
        path.write_text(
            json.dumps({**ACCOUNT, "token_uri": "http://t.test/", "entries_uri": "http://e.test/v1"})
        )
        data = base64.b64encode(b"text").decode()
        got, calls = self.fetch(
            {"auth_file": str(path)}, "jack", TOKEN, (200, json.dumps({"payload": {"data": data}}).encode())
        )
        self.assertEqual(self.successResultOf(got), "text")
        self.assertEqual(calls.asked[0][1], "http://t.test/")
        self.assertTrue(calls.asked[1][1].startswith("http://e.test/v1/projects/"))

    def test_failures(self) -> None:
        """What cannot be used is told, without the key or an answer's content."""
        for settings, answers in (
            ({"auth_file": "/nowhere"}, ()),
            ({"auth_config": {**ACCOUNT, "private_key": "x"}}, ()),
            ({"auth_config": ACCOUNT}, ((200, b"{}"),)),
            ({"auth_config": ACCOUNT}, (TOKEN, (200, b"{}"))),
            ({"auth_config": ACCOUNT}, (TOKEN, (200, b'{"payload": {"data": "%%"}}'))),
        ):
            got, _ = self.fetch(settings, "jack", *answers)
            self.failureResultOf(got, FetchFailed)
