"""Lines of which most is known: they say what the line that is made from nothing says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.exchange import Attempt, Exchange, Outcome
from gateway.settings import ACCESS_FORMAT
from gateway.telemetry.known_line import KnownLine
from gateway.telemetry.log_format import compile_format
from tests.telemetry.test_log_values import served


def _sent() -> Any:
    return SimpleNamespace(line=None, line_of=None)


class KnownLineTests(SynchronousTestCase):
    def lines(self, template: str, exchange: Exchange, sent: Any) -> tuple[str, str]:
        """The line of *exchange* with what is known of *sent*, and without."""
        write = compile_format(template)
        now_s = exchange.started_s + 1.5
        exchange.sent = None
        plain = write(exchange, now_s)
        exchange.sent = sent
        write(exchange, now_s)
        return write(exchange, now_s), plain

    def test_same(self) -> None:
        """Whatever the format, and whatever in it is new."""
        for template in (
            ACCESS_FORMAT,
            "100%% $remote_addr $status %s $body_bytes_sent% $http_host $upstream_uri $request_time $reason",
            '$time_iso8601 "$http_user_agent" $upstream_addr $upstream_status $status "$request" $reason',
        ):
            sent = _sent()
            exchange = served("/x", [("user-agent", "100%s")])
            known, plain = self.lines(template, exchange, sent)
            self.assertEqual(known, plain)
            self.assertIsNotNone(sent.line)
            exchange.bytes_sent = 7
            exchange.id = "another"
            exchange.started_s += 100
            exchange.attempts[0] = Attempt("10.0.0.1:80", 206, 0.25, "ok")
            exchange.outcome = Outcome(206, "upstream", "ok")
            known, plain = self.lines(template, exchange, sent)
            self.assertEqual(known, plain)

    def test_not_ordinary(self) -> None:
        """A request that ended in another way has nothing in common with it."""
        sent = _sent()
        exchange = served()
        self.lines(ACCESS_FORMAT, exchange, sent)
        for outcome, attempts in (
            (Outcome(499, "client", "client_gone"), exchange.attempts),
            (Outcome(401, "plugin:x", "key_missing"), []),
            (Outcome(200, "upstream", "ok"), exchange.attempts * 2),
        ):
            other = served()
            other.outcome, other.attempts, other.status = outcome, list(attempts), outcome.status
            known, plain = self.lines(ACCESS_FORMAT, other, sent)
            self.assertEqual(known, plain)

    def test_arguments(self) -> None:
        """Where there are arguments each line is made anew: what is masked may be another one."""
        sent = _sent()
        self.lines(ACCESS_FORMAT, served("/x?a=1"), sent)
        self.assertIsNone(sent.line)

    def test_escapes(self) -> None:
        """What needs escapes is not remembered."""
        sent = _sent()
        self.lines(ACCESS_FORMAT, served(headers=[("user-agent", 'a"b')]), sent)
        self.assertIsNone(sent.line)

    def test_other_format(self) -> None:
        """What one format made is nothing to another: settings are read again while requests come."""
        sent = _sent()
        exchange = served()
        self.lines(ACCESS_FORMAT, exchange, sent)
        known, plain = self.lines("$status $body_bytes_sent", exchange, sent)
        self.assertEqual(known, plain)

    def test_formats(self) -> None:
        """Formats with something else in them are not for this."""
        for names in (["status"], ["status", "route_id"], ["time_local", "time_iso8601"], ["http_host"]):
            self.assertIsNone(KnownLine.of(" ".join(["%s"] * len(names)), names), names)
        self.assertIsNotNone(KnownLine.of("%s %s %s", ["status", "http_host", "body_bytes_sent"]))
