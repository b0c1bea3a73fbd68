"""The values of a log line: read together or one by one, they are the same."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.compiler import Compiler
from gateway.core.exchange import Attempt, Exchange, Outcome
from gateway.core.log_variables import DEFAULT_REDACTED_ARGS, log_reader
from gateway.core.opening import match_route
from gateway.telemetry.log_values import COMMON, Values, read_common
from tests.core.configs import FakePlugins, ask, change, records, route

_HIDDEN = DEFAULT_REDACTED_ARGS


def served(target: str = "/x", headers: list[tuple[str, str]] | None = None, **upstream: Any) -> Exchange:
    """A request that a node answered."""
    definition = {"nodes": [{"host": "10.0.0.1", "port": 80, "weight": 1}], **upstream}
    changes = [change("service", "s", {"name": "s", "upstream": definition}), route("r", "/x")]
    snapshot = Compiler(FakePlugins(), "default").load(records(*changes), 1)
    made = ask(snapshot, target)
    made.client_ip = "192.0.2.9"
    for name, value in headers or [("user-agent", "curl/8"), ("x-a", "1")]:
        made.fields.add(name.encode(), value.encode("latin-1"))
    match_route(made)
    made.status, made.bytes_sent = 200, 42
    made.attempts.append(Attempt("10.0.0.1:80", 200, 0.0104, "ok"))
    made.outcome = Outcome(200, "upstream", "ok")
    return made


class CommonTests(SynchronousTestCase):
    def same(self, exchange: Exchange) -> None:
        together = read_common(exchange, _HIDDEN, "")
        assert together is not None
        for name, value in zip(COMMON, together, strict=True):
            self.assertEqual(value or None, log_reader(name, _HIDDEN)(exchange) or None, name)

    def test_ordinary(self) -> None:
        """What is read together is what each variable's own reader says."""
        self.same(served())
        self.same(served("/x?page=1&jwt=secret&b", [("referer", "http://a/?apikey=x&y=2"), ("x-b", "")]))
        self.same(served(headers=[("user-agent", "\xe9\xff"), ("authorization", "Bearer x")]))

    def test_secrets(self) -> None:
        """Credentials in a query are masked there, too."""
        together = read_common(served("/x?jwt=secret", [("referer", "/?jwt=secret")]), _HIDDEN, "")
        self.assertNotIn("secret", repr(together))

    def test_out_of_the_ordinary(self) -> None:
        """What needs a closer look is read one by one."""
        for headers in (
            [("user-agent", "a"), ("user-agent", "b")],
            [("user_agent", "a")],
            [("authorization", "Basic YTpi")],
        ):
            self.assertIsNone(read_common(served(headers=headers), _HIDDEN, "-"), headers)
        self.assertIsNone(read_common(served(pass_host="node"), _HIDDEN, "-"))
        retried = served()
        retried.attempts.append(retried.attempts[0])
        self.assertIsNone(read_common(retried, _HIDDEN, "-"))
        refused = served()
        refused.attempts.clear()
        self.assertIsNone(read_common(refused, _HIDDEN, "-"))

    def test_both_ways(self) -> None:
        """A line has the same values whichever way they were read."""
        names = (*COMMON, "uri", "request_time", "nonsense")
        made = served()
        values = Values(names, _HIDDEN, "-")
        one_by_one = [log_reader(name, _HIDDEN)(made) or "-" for name in names]
        one_by_one[names.index("request_time")] = "0.500"
        self.assertEqual(values.of(made, made.started_s + 0.5), one_by_one)
        self.assertEqual(values.quickly(made, made.started_s + 0.5), tuple(one_by_one))
