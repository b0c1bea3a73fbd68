"""Vault, and what all managers share."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.secrets.managers import FetchFailed, ManagerSilent, member_of, split_path, vault
from tests.secrets.kit import asking

SETTINGS = {"uri": "http://vault.test:8200/", "prefix": "/kv/apisix/", "token": "root"}
ONE = json.dumps({"data": {"key": "v1", "n": 1, "empty": ""}}).encode()
TWO = json.dumps({"data": {"data": {"key": "v2"}, "metadata": {"version": 3}}}).encode()


class VaultTests(SynchronousTestCase):
    def fetch(self, path: str, *answers: Any, **more: str) -> tuple[Any, Any]:
        ask, calls = asking(*answers)
        return Deferred.fromCoroutine(vault({**SETTINGS, **more}, path, ask)), calls

    def test_versions(self) -> None:
        """The last segment is the member, the rest the name; both versions of the engine are read."""
        for answer, value in ((ONE, "v1"), (TWO, "v2")):
            got, calls = self.fetch("team/jack a/key", (200, answer), namespace="ns")
            self.assertEqual(self.successResultOf(got), value)
            fields = {"X-Vault-Token": "root", "X-Vault-Namespace": "ns"}
            url = "http://vault.test:8200/v1/kv/apisix/team/jack%20a"
            self.assertEqual(calls.asked, [("GET", url, fields, None, True)])

    def test_failures(self) -> None:
        """What is not there, or is no text, is told without a word of what the manager said."""
        for path, answer, words in (
            ("jack/none", (200, ONE), 'the secret has no text in its member "none"'),
            ("jack/n", (200, ONE), 'the secret has no text in its member "n"'),
            ("jack/empty", (200, ONE), 'the secret has no text in its member "empty"'),
            ("jack/key", (403, b'{"errors":["s3cret"]}'), "the manager answered 403"),
            ("jack/key", (200, b"s3cret"), "the manager's answer is not JSON"),
            ("jack/key", (200, b"[]"), 'the secret has no text in its member "key"'),
        ):
            got, _ = self.fetch(path, answer)
            self.assertEqual(str(self.failureResultOf(got, FetchFailed).value), words)

    def test_silence(self) -> None:
        """No answer is another failure than a bad one."""
        got, _ = self.fetch("jack/key", None)
        self.failureResultOf(got, ManagerSilent)

    def test_bad_paths(self) -> None:
        """A reference leads to what the manager keeps, nowhere else; it names a secret and a member."""
        for path in ("key", "../sys/key", "a//key", "a/./key"):
            got, calls = self.fetch(path)
            self.failureResultOf(got, FetchFailed)
            self.assertEqual(calls.asked, [])


class MemberTests(SynchronousTestCase):
    def test_members(self) -> None:
        """Without a member it is the whole text."""
        self.assertEqual(split_path("a/b/c"), ("a/b", "c"))
        self.assertEqual(split_path("a"), ("a", None))
        self.assertEqual(member_of("text", None), "text")
        self.assertEqual(member_of('{"a": "b"}', "a"), "b")
        for text in ("text", "[]", '{"a": 1}'):
            self.assertRaises(FetchFailed, member_of, text, "a")
