"""Tests for gateway.plugins.limit_count."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.core.consumers import Identity, attach
from gateway.core.exchange import Exchange
from gateway.core.explanation import Explanation
from gateway.core.fields import Fields
from gateway.core.limiting import SKIPPED
from gateway.core.variables import getter
from gateway.counters.local import LocalCounters
from gateway.interfaces import IAccessPhase, IPluginFactory
from gateway.plugins import limit_count
from gateway.registry import PluginRegistry
from gateway.testing.exchanges import consumer, exchange
from tests.plugins.limits_kit import World, access, explained, headers, outcome

TWO = {"count": 2, "time_window": 60}


class LimitCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def plugin(self, origin: str = "route/r1", metadata: Any = None, **config: Any) -> Any:
        services = self.world.services(origin, metadata=metadata or {})
        return limit_count.plugin.make(config, services)

    def statuses(self, plugin: Any, count: int, **request: Any) -> list[int]:
        replies = [access(plugin, exchange(**request)) for _ in range(count)]
        return [200 if reply is None else reply.status for reply in replies]


class FixedTests(LimitCase):
    def test_limit(self) -> None:
        """So many pass in a window, and then no more until it ends."""
        plugin = self.plugin(**TWO)
        self.assertEqual(self.statuses(plugin, 4), [200, 200, 503, 503])
        self.world.counters.now = 60
        self.assertEqual(self.statuses(plugin, 3), [200, 200, 503])

    def test_fields(self) -> None:
        """Every answer says what the limit is, what is left, and for how long."""
        plugin = self.plugin(**TWO)
        seen = []
        for after in (0, 12.344, 47.656, 0):
            self.world.counters.now += after
            request = exchange()
            access(plugin, request)
            seen.append(list(headers(request).values()))
        self.assertEqual(seen, [["2", "1", "60"], ["2", "0", "47.66"], ["2", "1", "60"], ["2", "0", "60"]])
        request = exchange()
        self.assertIsNotNone(access(plugin, request))
        told = headers(request)
        names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
        self.assertEqual((list(told), list(told.values())), (names, ["2", "0", "60"]))

    def test_fields_of_the_upstream(self) -> None:
        """The gateway's own fields stand in the place of an upstream's."""
        plugin = self.plugin(**TWO)
        request = exchange()
        access(plugin, request)
        request.answer_with(Fields([(b"x-ratelimit-limit", b"1000")]))
        self.assertEqual(headers(request)["x-ratelimit-limit"], "2")
        self.assertEqual(len(request.response_fields), 3)

    def test_other_names(self) -> None:
        """Plugin metadata may call the fields something else."""
        metadata = {"limit_header": "X-My-Limit", "reset_header": "X-My-Reset"}
        plugin = self.plugin(metadata=metadata, **TWO)
        request = exchange()
        access(plugin, request)
        self.assertEqual(list(headers(request)), ["x-my-limit", "x-ratelimit-remaining", "x-my-reset"])

    def test_odd_names(self) -> None:
        """Whatever a name is made of, it is sent as it is: to the first of a window and the next."""
        metadata = {"limit_header": "X-%d%b", "remaining_header": "%", "reset_header": "X%%-%s"}
        for counters in (self.world.counters, LocalCounters.make(10, self.world.time)):

            def kept(settings: Any, counters: Any = counters) -> Any:
                return counters

            services = evolve(self.world.services(metadata=metadata), counters=kept)
            plugin = limit_count.plugin.make(TWO, services)
            for left in ("1", "0"):
                request = exchange()
                access(plugin, request)
                self.assertEqual(headers(request), {"x-%d%b": "2", "%": left, "x%%-%s": "60"})

    def test_no_fields(self) -> None:
        """Clients need not be told."""
        plugin = self.plugin(show_limit_quota_header=False, **TWO)
        verifyObject(IAccessPhase, plugin)
        self.assertEqual(self.statuses(plugin, 2), [200, 200])
        request = exchange()
        self.assertIsNotNone(access(plugin, request))
        self.assertEqual(headers(request), {})

    def test_two_limits(self) -> None:
        """Of two that use the same fields the last one asked is told; each tells what is its own."""
        general, own = (
            self.plugin("global_rule/g", {"limit_header": "X-All"}, **TWO),
            self.plugin(count=5, time_window=9),
        )
        request = exchange()
        access(general, request)
        access(own, request)
        self.assertEqual(
            list(headers(request).items()),
            [
                ("x-all", "2"),
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", "4"),
                ("x-ratelimit-reset", "9"),
            ],
        )

    def test_refusal(self) -> None:
        """What a refused client gets is for the user to say; without a message it is the status alone."""
        plain, worded = self.plugin(**TWO), self.plugin(rejected_code=429, rejected_msg="slow down", **TWO)
        for _ in range(2):
            access(plain, exchange())
            access(worded, exchange())
        refused, told = access(plain, exchange()), access(worded, exchange())
        assert refused is not None
        assert told is not None
        self.assertEqual((refused.status, refused.body, refused.reason), (503, None, "limit_count_exceeded"))
        self.assertEqual((told.status, told.body), (429, b'{"error_msg":"slow down"}\n'))


class SlidingTests(LimitCase):
    def test_sliding(self) -> None:
        """Half a window later half of what was let through still counts."""
        plugin = self.plugin(count=4, time_window=60, window_type="sliding")
        self.assertEqual(self.statuses(plugin, 5), [200] * 4 + [503])
        self.world.counters.now = 90
        self.assertEqual(self.statuses(plugin, 3), [200, 200, 503])


class KeyTests(LimitCase):
    def test_address(self) -> None:
        """By default each client address has its own count."""
        plugin = self.plugin(**TWO)
        self.assertEqual(self.statuses(plugin, 3, client_ip="10.0.0.1"), [200, 200, 503])
        self.assertEqual(self.statuses(plugin, 3, client_ip="10.0.0.2"), [200, 200, 503])

    def test_variable(self) -> None:
        """Any variable may be the key; without a value the address is."""
        plugin = self.plugin(key="http_x_tenant", **TWO)
        for tenant in ("a", "b", "\xe9", "c" * 5000):
            self.assertEqual(self.statuses(plugin, 3, headers=[("x-tenant", tenant)]), [200, 200, 503])
        self.assertEqual(self.statuses(plugin, 2, headers=[("x-tenant", "")]), [200, 200])
        self.assertEqual(self.statuses(plugin, 2), [503, 503])
        self.assertEqual(self.statuses(plugin, 1, client_ip="10.0.0.3"), [200])

    def test_combination(self) -> None:
        """Several variables make one key; one of them is enough."""
        plugin = self.plugin(key="$remote_addr $http_x_tenant", key_type="var_combination", **TWO)
        for tenant in ("a", "b"):
            self.assertEqual(self.statuses(plugin, 3, headers=[("x-tenant", tenant)]), [200, 200, 503])
        plugin = self.plugin(key="$http_a $http_b", key_type="var_combination", **TWO)
        self.assertEqual(self.statuses(plugin, 3), [200, 200, 503])
        self.assertEqual(self.statuses(plugin, 1, client_ip="10.0.0.9"), [200])

    def test_constant(self) -> None:
        """One count for everybody."""
        plugin = self.plugin(key="all", key_type="constant", **TWO)
        seen = [self.statuses(plugin, 1, client_ip=f"10.0.0.{n}")[0] for n in range(3)]
        self.assertEqual(seen, [200, 200, 503])

    def test_consumer(self) -> None:
        """Consumers are counted apart wherever they come from."""
        plugin = self.plugin(key="consumer_name", **TWO)

        def one(username: str) -> Exchange:
            made = exchange(client_ip="10.0.0.1")
            attach(made, Identity(consumer(username), None, None))
            return made

        seen = [access(plugin, one(name)) is None for name in ("a", "a", "b", "a", "b", "b")]
        self.assertEqual(seen, [True, True, True, False, True, False])


class IdentityTests(LimitCase):
    def test_places(self) -> None:
        """Two places with the same settings count apart; the same place goes on after it is made anew."""
        for origin in ("route/r1", "route/r2", "consumer/jack"):
            self.assertEqual(self.statuses(self.plugin(origin, **TWO), 3), [200, 200, 503])
        self.assertEqual(self.statuses(self.plugin("route/r1", {"limit_header": "X-A"}, **TWO), 1), [503])

    def test_changed(self) -> None:
        """Changed settings count anew."""
        self.assertEqual(self.statuses(self.plugin(**TWO), 3), [200, 200, 503])
        self.assertEqual(self.statuses(self.plugin(rejected_code=429, **TWO), 3), [200, 200, 429])

    def test_group(self) -> None:
        """All places of a group share one count."""
        one, two = self.plugin("route/r1", group="g", **TWO), self.plugin("service/s", group="g", **TWO)
        self.assertEqual(self.statuses(one, 1) + self.statuses(two, 2), [200, 200, 503])
        # Said or not, a default is the same.
        told = self.plugin("route/r2", group="g", key="remote_addr", policy="local", **TWO)
        self.assertEqual(self.statuses(told, 1), [503])
        self.assertEqual(self.statuses(self.plugin("route/r1", group="h", **TWO), 1), [200])
        self.assertEqual(limit_count.plugin.shared_name({"group": "g"}), "g")
        self.assertIsNone(limit_count.plugin.shared_name({}))


class TemplateTests(LimitCase):
    def test_from_the_request(self) -> None:
        """Count and window may come from the request."""
        plugin = self.plugin(count="${http_x_count ?? 1}", time_window="$http_x_window")
        request: Any = [("x-count", "3"), ("x-window", "10")]
        self.assertEqual(self.statuses(plugin, 4, headers=request), [200, 200, 200, 503])
        self.world.counters.now = 10
        self.assertEqual(self.statuses(plugin, 2, headers=[("x-window", "10")]), [200, 503])

    def test_unresolved(self) -> None:
        """What is no positive number is a 500, or lets the request pass if the user says so."""
        for window in ("", "0", "-1", "x", "1e3", "1.5", "9" * 40):
            request: Any = [("x-window", window)]
            config: Any = {"count": 1, "time_window": "$http_x_window"}
            reply = access(self.plugin(**config), exchange(headers=request))
            assert reply is not None
            self.assertEqual(
                (reply.status, reply.body, reply.reason), (500, None, "limit_unresolved"), window
            )
            self.assertIsNone(
                access(self.plugin(allow_degradation=True, **config), exchange(headers=request))
            )


class RulesTests(LimitCase):
    RULES: Any = [
        {"count": 1, "time_window": 10, "key": "$http_user"},
        {"count": 3, "time_window": 60, "key": "$http_tenant", "header_prefix": "Tenant"},
    ]

    def test_each(self) -> None:
        """Every rule whose key has a value holds; each says where it stands."""
        plugin = self.plugin(rules=self.RULES)

        def ask(**names: str) -> tuple[int, dict[str, str]]:
            request = exchange(headers=list(names.items()))
            reply = access(plugin, request)
            return 200 if reply is None else reply.status, headers(request)

        status, told = ask(user="a", tenant="t")
        self.assertEqual(status, 200)
        self.assertEqual(told["x-1-ratelimit-limit"], "1")
        self.assertEqual(told["x-tenant-ratelimit-remaining"], "2")
        self.assertEqual(told["x-tenant-ratelimit-reset"], "60")
        status, told = ask(user="a", tenant="t")
        self.assertEqual(
            (status, list(told)), (503, [f"x-1-ratelimit-{n}" for n in ("limit", "remaining", "reset")])
        )
        self.assertEqual(ask(tenant="t")[1]["x-tenant-ratelimit-remaining"], "1")
        self.assertEqual(ask(user="b", tenant="t")[0], 200)
        self.assertEqual(ask(user="c", tenant="t")[0], 503)

    def test_none_applies(self) -> None:
        """A request that no rule is for is a 500, or passes if the user says so."""
        reply = access(self.plugin(rules=self.RULES), exchange())
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (500, None))
        self.assertIsNone(access(self.plugin(rules=self.RULES, allow_degradation=True), exchange()))


class FailureTests(LimitCase):
    def test_down(self) -> None:
        """Counters that cannot be had are a 500, or let the request pass if the user says so."""
        self.world.counters.down = True
        reply = access(self.plugin(**TWO), exchange())
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (500, b'{"error_msg":"failed to limit count"}\n'))
        self.assertEqual(reply.reason, "limit_unavailable")
        self.assertIsNone(access(self.plugin(allow_degradation=True, **TWO), exchange()))

    def test_in_time(self) -> None:
        """Counters that are asked elsewhere give the same answers, later."""
        self.world.lag = True
        plugin = self.plugin(**TWO)
        waiting = [outcome(plugin.access(request)) for request in (exchange(), exchange(), exchange())]
        for verdict in waiting:
            self.assertNoResult(verdict)
        for answer in self.world.answers:
            answer.callback(None)
        found = [self.successResultOf(verdict) for verdict in waiting]
        self.assertEqual([None if reply is None else reply.status for reply in found], [None, None, 503])

    def test_down_in_time(self) -> None:
        """And fail later, too."""
        self.world.lag = self.world.counters.down = True
        for config, status in ((TWO, 500), ({**TWO, "allow_degradation": True}, None)):
            verdict = outcome(self.plugin(**config).access(exchange()))
            self.world.answers.pop().callback(None)
            reply = self.successResultOf(verdict)
            self.assertEqual(None if reply is None else reply.status, status)


class ExtremeTests(LimitCase):
    def test_large_numbers(self) -> None:
        """Numbers beyond all measure are limits that nobody reaches."""
        plugin = self.plugin(count=10**400, time_window=10**400)
        self.assertEqual(self.statuses(plugin, 3), [200] * 3)

    def test_field_names(self) -> None:
        """What cannot be part of a header's name is refused."""
        registry = PluginRegistry([(limit_count.plugin, "here")])
        for name in ("X-A\n", "X A", "X:A", ""):
            self.assertNotEqual(registry.check_metadata("limit-count", {"limit_header": name}), [], name)
            rule = {"count": 1, "time_window": 1, "key": "$a", "header_prefix": name}
            self.assertNotEqual(registry.check("limit-count", {"rules": [rule]}), [], name)


class VariableTests(LimitCase):
    def test_rate_limiting_info(self) -> None:
        """The variable rate_limiting_info says what was decided, for logs."""
        read = getter("rate_limiting_info")
        request = exchange()
        self.assertIsNone(read(request))
        access(self.plugin(**TWO), request)
        rows = json.loads(str(read(request)))
        self.assertTrue(rows[0].pop("key").endswith(":127.0.0.1"))
        wanted = {"policy": "local", "limit": 2, "remaining": 1, "reset": 60, "rejected": False}
        self.assertEqual(rows, [wanted])


class SettingsTests(SynchronousTestCase):
    """What is accepted as settings."""

    def problems(self, **config: Any) -> list[str]:
        registry = PluginRegistry([(limit_count.plugin, "here")])
        return [problem.message for problem in registry.check("limit-count", config)]

    def test_interface(self) -> None:
        """It is a plugin."""
        verifyObject(IPluginFactory, limit_count.plugin)

    def test_good(self) -> None:
        """These are fine."""
        for config in (
            TWO,
            {"count": "$arg_c", "time_window": "${arg_w ?? 1}"},
            {"rules": RulesTests.RULES},
            {**TWO, "policy": "redis", "redis_host": "127.0.0.1", "sync_interval": 0.5},
            {**TWO, "policy": "redis-cluster", "redis_cluster_nodes": ["a:1"], "redis_cluster_name": "c"},
            {**TWO, "sync_interval": -1},
            {**TWO, "key": "$a", "key_type": "var_combination", "group": "g", "window_type": "sliding"},
        ):
            self.assertEqual(self.problems(**config), [], config)

    def test_bad(self) -> None:
        """These are refused."""
        redis = {"policy": "redis", "redis_host": "127.0.0.1"}
        for config in (
            {},
            {"count": 1},
            {"count": 0, "time_window": 1},
            {"count": 1.5, "time_window": 1},
            {"count": 1, "time_window": -1},
            {"rules": []},
            {"rules": RulesTests.RULES, **TWO},
            {"rules": RulesTests.RULES, "group": "g"},
            {"rules": [RulesTests.RULES[0], RulesTests.RULES[0]]},
            {**TWO, "policy": "memory"},
            {**TWO, "policy": "redis"},
            {**TWO, "policy": "redis", "redis_host": "a"},
            {**TWO, "policy": "redis-cluster", "redis_cluster_nodes": ["a:1"]},
            {**TWO, "policy": "redis-cluster", "redis_cluster_nodes": [], "redis_cluster_name": "c"},
            {**TWO, **redis, "redis_port": 0},
            {**TWO, **redis, "redis_keepalive_timeout": 999},
            {**TWO, "rejected_code": 199},
            {**TWO, "rejected_code": 600},
            {**TWO, "key_type": "header"},
            {**TWO, "sync_interval": 1},
            {**TWO, **redis, "sync_interval": 0.05},
            {**TWO, **redis, "sync_interval": 60},
        ):
            self.assertNotEqual(self.problems(**config), [], config)

    def test_secret(self) -> None:
        """The password is encrypted at rest."""
        self.assertIn("redis_password", limit_count.plugin.secret_fields)


class ExplainTests(LimitCase):
    """What it says that it would do."""

    def said(self, plugin: Any, **request: Any) -> tuple[int | None, str]:
        found = explained(plugin, exchange(**request))
        self.assertTrue(found.sure)
        return found.reply and found.reply.status, found.words

    def test_what_is_left(self) -> None:
        """What is left is told and for how long; where it is nothing, the answer is that of a client."""
        plugin = self.plugin(count=2, time_window=60, rejected_code=429, rejected_msg="slow down")
        self.assertEqual(self.said(plugin), (None, "all 2 left"))
        self.statuses(plugin, 1)
        self.world.counters.now += 28.5
        self.assertEqual(self.said(plugin), (None, "1 of 2 left for 31.5 s"))
        self.statuses(plugin, 1)
        self.assertEqual(self.said(plugin), (429, "none of 2 left for 31.5 s"))
        self.assertEqual(explained(plugin, exchange()).reply, access(plugin, exchange()))
        self.assertEqual(self.said(plugin, client_ip="192.0.2.1"), (None, "all 2 left"))

    def test_counts_nothing(self) -> None:
        """A thousand explanations leave the counters, and the keys that are remembered, where they are."""
        local = LocalCounters.make(100, lambda: self.world.counters.now, processes=2)
        services = evolve(self.world.services(), counters=lambda settings: local)
        for more in ({}, {"window_type": "sliding"}):
            plugin: Any = limit_count.plugin.make({"count": 3, "time_window": 60, **more}, services)
            self.statuses(plugin, 1)
            before = local._memory.words.tobytes(), dict(plugin.only.keys)
            for number in range(500):
                self.assertIsNone(explained(plugin, exchange()).reply)
                self.assertIsNone(explained(plugin, exchange(client_ip=f"192.0.2.{number % 250}")).reply)
            self.assertEqual((local._memory.words.tobytes(), dict(plugin.only.keys)), before)
            self.assertEqual(self.statuses(plugin, 3), [200, 200, 503])

    def test_same_counter(self) -> None:
        """Whatever the key and the numbers are made of, it is the counter of a request like this one."""
        plugin = self.plugin(
            count="$http_count", time_window=60, key="$http_a$http_b", key_type="var_combination"
        )
        like = {"headers": [("a", "x" * 200), ("b", "2"), ("count", "3")]}
        self.statuses(plugin, 2, **like)
        self.assertEqual(self.said(plugin, **like), (None, "1 of 3 left for 60 s"))
        self.assertEqual(self.said(plugin)[0], 500)

    def test_rules(self) -> None:
        """Of several rules each is told, up to the one that refuses."""
        plugin = self.plugin(rules=RulesTests.RULES)
        user = {"headers": [("user", "u"), ("tenant", "t")]}
        self.assertEqual(self.said(plugin, **user), (None, "all 1 left; all 3 left"))
        self.statuses(plugin, 1, headers=[("tenant", "t")])
        self.assertEqual(self.said(plugin, **user), (None, "all 1 left; 2 of 3 left for 60 s"))
        self.statuses(plugin, 1, **user)
        self.assertEqual(self.said(plugin, **user), (503, "none of 1 left for 10 s"))

    def test_counters_that_answer_later(self) -> None:
        """Counters behind a line are waited for; where they cannot be had, that is told."""
        self.world.lag = True
        plugin = self.plugin(count=2, time_window=60)
        said = Deferred.fromCoroutine(plugin.explain(exchange(), "access"))
        self.assertNoResult(said)
        self.world.answers[0].callback(None)
        self.assertEqual(self.successResultOf(said), Explanation(None, "all 2 left"))
        self.world.lag, self.world.counters.down = False, True
        self.assertEqual(self.said(self.plugin(count=2, time_window=60)), (500, "the counters are down"))
        self.assertEqual(
            self.said(self.plugin(count=2, time_window=60, allow_degradation=True)),
            (None, "the counters are down; allow_degradation lets it pass"),
        )

    def test_beside_workflow(self) -> None:
        """Where workflow has a limit of the same name for this request, this one keeps out of it."""
        plugin = self.plugin(count=1, time_window=60)
        self.statuses(plugin, 1)
        made = exchange()
        made.context[SKIPPED] = {"limit-count"}
        self.assertEqual(explained(plugin, made).reply, None)
