"""AWS Secrets Manager."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.secrets.aws import aws, signed
from gateway.secrets.managers import FetchFailed
from tests.secrets.kit import asking

SETTINGS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


class SignatureTests(SynchronousTestCase):
    def test_published_example(self) -> None:
        """The signature is that of the example in the description of Signature Version 4."""
        fields = signed(
            "GET",
            "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
            {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            b"",
            key_id=SETTINGS["access_key_id"],
            secret=SETTINGS["secret_access_key"],
            region="us-east-1",
            service="iam",
            now=1440938160,
        )
        self.assertEqual(fields["X-Amz-Date"], "20150830T123600Z")
        self.assertEqual(
            fields["Authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date, "
            "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        )


class FetchTests(SynchronousTestCase):
    def test_whole_and_member(self) -> None:
        """A secret is its text, or a member of the JSON in it."""
        answer = json.dumps({"SecretString": '{"key": "value"}'}).encode()
        for path, wanted in (("jack", '{"key": "value"}'), ("jack/key", "value"), ("team/jack/key", "value")):
            ask, calls = asking((200, answer))
            got = Deferred.fromCoroutine(aws({**SETTINGS, "region": "eu-west-1"}, path, ask))
            self.assertEqual(self.successResultOf(got), wanted)
            ((method, url, fields, content, verify),) = calls.asked
            self.assertEqual(
                (method, url, verify), ("POST", "https://secretsmanager.eu-west-1.amazonaws.com/", True)
            )
            name = path.removesuffix("/key")
            self.assertEqual(json.loads(content or b""), {"SecretId": name})
            self.assertEqual(fields["X-Amz-Target"], "secretsmanager.GetSecretValue")
            self.assertIn("/20150830/eu-west-1/secretsmanager/aws4_request", fields["Authorization"])
            self.assertNotIn("Host", fields)

    def test_endpoint_and_session(self) -> None:
        """Another endpoint is asked, and a session's token is sent and signed."""
        ask, calls = asking((200, b'{"SecretString": "x"}'))
        settings = {**SETTINGS, "endpoint_url": "http://127.0.0.1:4566", "session_token": "st"}
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(aws(settings, "a", ask))), "x")
        _, url, fields, _, _ = calls.asked[0]
        self.assertEqual((url, fields["X-Amz-Security-Token"]), ("http://127.0.0.1:4566/", "st"))
        self.assertIn("x-amz-security-token", fields["Authorization"])

    def test_no_text(self) -> None:
        """A secret of bytes alone is none that could stand in a setting."""
        ask, _ = asking((200, b'{"SecretBinary": "eA=="}'))
        self.failureResultOf(Deferred.fromCoroutine(aws(SETTINGS, "a", ask)), FetchFailed)
