from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import upstream
from gateway.model.schema import fill_scalars
from gateway.model.timeout import Timeout
from gateway.model.upstream import SCHEMA, STREAM_SCHEMA, KeepalivePool, Node, Upstream
from tests import certs
from tests.model.shapes import NODE, UPSTREAM_DEFAULTS, announced, faults, refused

CERT, KEY = "c" * 128, "k" * 64


class SchemaTests(SynchronousTestCase):
    """Admin API contract §3.3, field by field."""

    def _check(self, member: str, good: list[Any], bad: list[Any]) -> None:
        self.assertEqual(refused(SCHEMA, {}, member, good), [])
        self.assertEqual(refused(SCHEMA, {}, member, bad), bad)

    def test_nothing_is_required(self) -> None:
        """An upstream may be empty."""
        self.assertEqual(faults(SCHEMA, {}), [])

    def test_unknown(self) -> None:
        """A member that nobody knows is refused: it is most likely misspelt."""
        self.assertEqual(faults(SCHEMA, {"node": []}), [("/node", "additionalProperties")])

    def test_words(self) -> None:
        """Members that take one of a few words take no other."""
        for member, words in (
            ("scheme", ["http", "https", "grpc", "grpcs"]),
            ("type", ["roundrobin", "chash", "least_conn", "ewma"]),
            ("hash_on", ["vars", "header", "cookie", "consumer", "vars_combinations"]),
            ("pass_host", ["pass", "node", "rewrite"]),
            ("discovery_type", ["kubernetes", "nacos", "consul"]),
        ):
            self._check(member, words, ["", "other", words[0].upper(), None, 1, "$env://A"])

    def test_numbers(self) -> None:
        """Numbers have the documented limits."""
        self._check("retries", [0, 65535], [-1, 65536, 1.5, "1", True])
        self._check("retry_timeout", [0, 0.5, 10**6], [-1, -0.1, "1", float("inf")])

    def test_keepalive_pool(self) -> None:
        """A pool keeps at least one connection, for at least one request."""
        self._check(
            "keepalive_pool",
            [{}, {"size": 1, "idle_timeout": 0, "requests": 1}, {"idle_timeout": 0.5}],
            [{"size": 0}, {"requests": 0}, {"idle_timeout": -1}, {"size": 1.5}, {"other": 1}, 320],
        )

    def test_nodes_as_array(self) -> None:
        """Nodes have a host and a weight; ports are 1 to 65535, weights 0 to 65535."""
        self._check(
            "nodes",
            [
                [],
                [NODE],
                [{**NODE, "weight": 0, "priority": -1, "metadata": {"zone": "a"}}],
                [{**NODE, "weight": 65535, "port": 65535}],
                [{**NODE, "host": host} for host in ("127.0.0.1", "[::1]", "[2001:db8::1]", "a-b_c.test")],
            ],
            [
                [{"host": "a", "port": 80}],
                [{"port": 80, "weight": 1}],
                *(
                    [{**NODE, "host": host}]
                    for host in ("", "::1", "a b", "a:80", "http://a", "a\n", "$env://A", "*.a")
                ),
                *([{**NODE, "port": port}] for port in (0, 65536, "80", 1.5, True, None)),
                *([{**NODE, "weight": weight}] for weight in (-1, 65536, 0.5, "1", None)),
                [{**NODE, "priority": 0.5}],
                [{**NODE, "other": 1}],
                ["a:80"],
                "a:80",
                None,
            ],
        )

    def test_nodes_as_map(self) -> None:
        """``{"host:port": weight}`` is understood too."""
        self._check(
            "nodes",
            [{}, {"a.test:80": 1}, {"a.test": 0, "[::1]:80": 65535, "127.0.0.1:1": 1}],
            [
                {"a:80": -1},
                {"a:80": 65536},
                {"a:80": "1"},
                {"a:": 1},
                {"": 1},
                {"a b:80": 1},
                {"a:80\n": 1},
                {"::1": 1},
            ],
        )

    def test_node_problems(self) -> None:
        """What is wrong with a node is told where it is, and once, in both forms."""
        nodes = [NODE] * 11 + [{"host": "a", "port": 0}]
        self.assertEqual(
            faults(SCHEMA, {"nodes": nodes}),
            [("/nodes/11/weight", "required"), ("/nodes/11/port", "minimum")],
        )
        self.assertEqual(faults(SCHEMA, {"nodes": {"a:80": -1}}), [("/nodes/a:80", "minimum")])
        self.assertEqual(faults(SCHEMA, {"nodes": {"a b": 1}}), [("/nodes/a b", "additionalProperties")])
        self.assertEqual(faults(SCHEMA, {"nodes": "a:80"}), [("/nodes", "type")])

    def test_tls(self) -> None:
        """A client certificate comes with its key, or by id."""
        self._check(
            "tls",
            [{}, {"client_cert": CERT, "client_key": KEY, "verify": True}, {"client_cert_id": "c1"}],
            [
                {"client_cert": CERT},
                {"client_key": KEY},
                {"client_cert": "short", "client_key": KEY},
                {"client_cert": CERT, "client_key": "short"},
                {"verify": 1},
                {"other": 1},
            ],
        )
        self._check("ca_certificates", [[], ["ca-1"]], [["a/b"], "ca-1"])
        self._check("client_certificate", ["c1"], ["", 1])
        self._check("tls_verify", [True, False], ["true", None])

    def test_texts(self) -> None:
        """Texts have the documented limits."""
        self._check("name", ["a"], ["", 1])
        self._check("key", ["arg_x"], ["", 1])
        self._check("upstream_host", ["a.test"], ["", "a\r\nx: y", "$env://\r\nx: y"])
        self._check("service_name", ["a"], ["", "x" * 257])
        self._check("discovery_args", [{}, {"namespace_id": "x"}], [[], "a"])

    def test_active_checks(self) -> None:
        """Active checks have the documented limits (contract §5.8)."""
        good: list[dict[str, Any]] = [
            {},
            {
                "type": "tcp",
                "timeout": 0.5,
                "concurrency": 1,
                "host": "a.test",
                "port": 1,
                "http_path": "/health",
            },
            {
                "http_method": "HEAD",
                "http_req_body": "x",
                "https_verify_certificate": False,
                "req_headers": ["a: b"],
            },
            {"healthy": {"interval": 1, "http_statuses": [200, 599], "successes": 254}},
            {
                "unhealthy": {
                    "interval": 9,
                    "http_statuses": [500],
                    "http_failures": 1,
                    "tcp_failures": 254,
                    "timeouts": 1,
                }
            },
        ]
        bad: list[Any] = [
            {"type": "udp"},
            {"timeout": 0},
            {"concurrency": 0},
            {"port": 0},
            {"port": 65536},
            {"http_method": "FETCH"},
            {"req_headers": []},
            {"req_headers": ["a: b", "a: b"]},
            {"healthy": {"interval": 0}},
            {"healthy": {"successes": 0}},
            {"healthy": {"successes": 255}},
            {"healthy": {"http_statuses": [199]}},
            {"healthy": {"http_statuses": [200, 200.0]}},
            {"healthy": {"http_failures": 1}},
            {"unhealthy": {"http_failures": 0}},
            {"unhealthy": {"http_statuses": [600]}},
            {"unhealthy": {"timeouts": 255}},
            {"other": 1},
        ]
        self._check("checks", [{"active": value} for value in good], [{"active": value} for value in bad])

    def test_passive_checks(self) -> None:
        """Passive checks come beside active ones only; their counters may be 0, which is off."""
        self._check(
            "checks",
            [
                {"active": {}, "passive": {}},
                {"active": {}, "passive": {"healthy": {"successes": 0}, "type": "http"}},
            ],
            [
                {},
                {"passive": {}},
                {"active": {}, "passive": {"unhealthy": {"timeouts": 255}}},
                {"active": {}, "passive": {"unhealthy": {"interval": 1}}},
                {"active": {}, "other": {}},
            ],
        )

    def test_stream(self) -> None:
        """A stream service's upstream differs in its schemes; ``pass_host`` is put up with."""
        self.assertEqual(refused(STREAM_SCHEMA, {}, "scheme", ["tcp", "tls", "udp", "http"]), ["http"])
        self.assertEqual(
            faults(STREAM_SCHEMA, {"pass_host": "pass", "nodes": [NODE], "keepalive_pool": {"size": 1}}), []
        )


class DefaultTests(SynchronousTestCase):
    """Admin API contract §6.4: what clients add before they compare, the server adds, and nothing else."""

    def test_announced(self) -> None:
        """The defaults announced are exactly those of the enterprise gateway."""
        self.assertEqual(announced(SCHEMA), UPSTREAM_DEFAULTS)
        left_out = ("pass_host", "keepalive_pool", "discovery_args")
        stream = {name: value for name, value in UPSTREAM_DEFAULTS.items() if name not in left_out}
        self.assertEqual(announced(STREAM_SCHEMA), {**stream, "scheme": "tcp"})

    def test_stored_scalars(self) -> None:
        """An upstream without members gets the scalar defaults and no object or array."""
        scalars = {
            name: value for name, value in UPSTREAM_DEFAULTS.items() if not isinstance(value, (dict, list))
        }
        self.assertEqual(fill_scalars(SCHEMA, {}), scalars)

    def test_stored_in_objects(self) -> None:
        """Objects that are present get theirs: nodes, time limits, the pool."""
        given = {
            "nodes": [NODE, {**NODE, "priority": 2}],
            "timeout": {"read": 5},
            "keepalive_pool": {},
            "discovery_args": {},
        }
        filled = fill_scalars(SCHEMA, given)
        self.assertEqual(filled["nodes"], [{**NODE, "priority": 0}, {**NODE, "priority": 2}])
        self.assertEqual(filled["timeout"], {"connect": 60, "send": 60, "read": 5})
        self.assertEqual(filled["keepalive_pool"], UPSTREAM_DEFAULTS["keepalive_pool"])
        self.assertEqual(filled["discovery_args"], {})

    def test_kept_as_sent(self) -> None:
        """Node maps, labels, TLS settings and health checks are kept as they were sent."""
        given = {
            "nodes": {"a:80": 1},
            "labels": {"a": "b"},
            "tls": {"client_cert_id": "c"},
            "checks": {"active": {"healthy": {}}, "passive": {}},
        }
        filled = fill_scalars(SCHEMA, given)
        self.assertEqual({name: filled[name] for name in given}, given)

    def test_stream(self) -> None:
        """A stream upstream gets no ``pass_host`` and an empty pool stays empty."""
        filled = fill_scalars(STREAM_SCHEMA, {"keepalive_pool": {}})
        self.assertNotIn("pass_host", filled)
        self.assertEqual((filled["keepalive_pool"], filled["scheme"]), ({}, "tcp"))


class ParseTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """An empty upstream is a complete value."""
        self.assertEqual(
            Upstream.parse({}),
            Upstream(
                name="default",
                scheme="http",
                type="roundrobin",
                nodes=(),
                hash_on="vars",
                key=None,
                retries=None,
                retry_timeout_s=0.0,
                timeout=Timeout(60.0, 60.0, 60.0),
                keepalive_pool=KeepalivePool(320, 60.0, 1000),
                pass_host="pass",
                upstream_host=None,
                tls_verify=False,
                checks=None,
            ),
        )

    def test_array(self) -> None:
        """Nodes keep their order; a port that is left out is the scheme's."""
        nodes = [{**NODE, "priority": 3}, {"host": "b.test", "weight": 0}, {"host": "[::1]", "weight": 2}]
        for scheme, port in (("http", 80), ("https", 443), ("grpc", 80), ("grpcs", 443)):
            self.assertEqual(
                Upstream.parse({"scheme": scheme, "nodes": nodes}).nodes,
                (Node("a.test", 80, 1, 3), Node("b.test", port, 0), Node("::1", port, 2)),
            )

    def test_map(self) -> None:
        """The map form says the same."""
        nodes = {"a.test:8080": 1, "b.test": 2, "[::1]:81": 3, "[::1]": 4, "127.0.0.1:82": 5}
        self.assertEqual(
            Upstream.parse({"nodes": nodes}).nodes,
            (
                Node("a.test", 8080, 1),
                Node("b.test", 80, 2),
                Node("::1", 81, 3),
                Node("::1", 80, 4),
                Node("127.0.0.1", 82, 5),
            ),
        )

    def test_whole_numbers(self) -> None:
        """80.0 is the integer 80, in the node's name too."""
        document: dict[str, Any] = {
            "nodes": [{"host": "a", "port": 80.0, "weight": 2.0, "priority": 1.0}],
            "retries": 2.0,
            "keepalive_pool": {"size": 3.0, "requests": 4.0},
        }
        self.assertEqual(faults(SCHEMA, document), [])
        parsed = Upstream.parse(document)
        self.assertEqual(parsed.nodes[0].key, "a:80")
        self.assertEqual(
            repr((parsed.nodes[0].weight, parsed.nodes[0].priority, parsed.retries)), "(2, 1, 2)"
        )
        self.assertEqual(repr((parsed.keepalive_pool.size, parsed.keepalive_pool.requests)), "(3, 4)")
        self.assertEqual(repr(Upstream.parse({"nodes": {"a:80": 2.0}}).nodes[0].weight), "2")

    def test_node_keys(self) -> None:
        """A node is known as ``host:port``, IPv6 in brackets."""
        self.assertEqual([Node("a", 80, 1).key, Node("::1", 80, 1).key], ["a:80", "[::1]:80"])

    def test_verification(self) -> None:
        """Certificates are verified if the newer setting says so, else the older one."""
        told: list[tuple[dict[str, Any], bool]] = [
            ({}, False),
            ({"tls": {"verify": True}}, True),
            ({"tls_verify": True}, True),
            ({"tls_verify": False, "tls": {"verify": True}}, False),
        ]
        for document, verify in told:
            self.assertIs(Upstream.parse(document).tls_verify, verify)

    def test_checks(self) -> None:
        """Health checks come with every default (contract §5.8); passive ones only if there are any."""
        checks = Upstream.parse({"checks": {"active": {"healthy": {"successes": 9}}}}).checks
        assert checks is not None
        self.assertNotIn("passive", checks)
        active = checks["active"]
        self.assertEqual(active["healthy"], {"interval": 1, "http_statuses": [200, 302], "successes": 9})
        self.assertEqual(
            active["unhealthy"],
            {
                "interval": 1,
                "http_statuses": [429, 404, 500, 501, 502, 503, 504, 505],
                "http_failures": 5,
                "tcp_failures": 2,
                "timeouts": 3,
            },
        )
        self.assertEqual(
            {name: active[name] for name in ("type", "timeout", "concurrency", "http_method", "http_path")},
            {"type": "http", "timeout": 1, "concurrency": 10, "http_method": "GET", "http_path": "/"},
        )
        self.assertEqual((active["http_req_body"], active["https_verify_certificate"]), ("", True))
        passive = Upstream.parse({"checks": {"active": {}, "passive": {}}}).checks["passive"]  # type: ignore[index]
        self.assertEqual(
            passive,
            {
                "type": "http",
                "healthy": {
                    "http_statuses": [200, 201, 202, 203, 204, 205, 206, 207, 208, 226, *range(300, 309)],
                    "successes": 5,
                },
                "unhealthy": {
                    "http_statuses": [429, 500, 503],
                    "tcp_failures": 2,
                    "timeouts": 7,
                    "http_failures": 5,
                },
            },
        )


class ProblemTests(SynchronousTestCase):
    """Data-plane contract §7: what a schema cannot say."""

    def _told(self, document: dict[str, Any]) -> list[tuple[str, str]]:
        self.assertEqual(faults(SCHEMA, document), [])
        return [(problem.pointer, problem.message) for problem in upstream.problems(document)]

    def test_fine(self) -> None:
        """A usual upstream has no problems."""
        self.assertEqual(self._told({"nodes": [NODE], "type": "chash", "key": "uri"}), [])
        self.assertEqual(self._told({"type": "chash", "hash_on": "consumer"}), [])
        self.assertEqual(self._told({"pass_host": "rewrite", "upstream_host": "a.test"}), [])
        self.assertEqual(self._told({"service_name": "a", "discovery_type": "nacos"}), [])

    def test_hash_key(self) -> None:
        """Hashing needs a key, unless it hashes the consumer."""
        self.assertEqual(self._told({"type": "chash"}), [("/key", "missing key")])
        self.assertEqual(self._told({"type": "chash", "hash_on": "header"}), [("/key", "missing key")])

    def test_rewritten_host(self) -> None:
        """Rewriting the Host needs one."""
        text = "`upstream_host` can't be empty when `pass_host` is `rewrite`"
        self.assertEqual(self._told({"pass_host": "rewrite"}), [("/upstream_host", text)])

    def test_discovery(self) -> None:
        """Nodes are listed or discovered, not both, and discovery needs a name and a type."""
        both = {"nodes": [NODE], "service_name": "a", "discovery_type": "nacos"}
        self.assertEqual(
            self._told(both), [("/service_name", "only one of nodes or service_name is allowed")]
        )
        self.assertEqual([pointer for pointer, _ in self._told({"service_name": "a"})], ["/discovery_type"])
        self.assertEqual(
            [pointer for pointer, _ in self._told({"discovery_type": "nacos"})], ["/service_name"]
        )

    def test_ports_in_a_map(self) -> None:
        """A port in the map form is 1 to 65535."""
        self.assertEqual(
            self._told({"nodes": {"a:0": 1, "b:65535": 1, "c:65536": 1, "[::1]:99999": 1}}),
            [
                ("/nodes/a:0", "invalid port 0"),
                ("/nodes/c:65536", "invalid port 65536"),
                ("/nodes/[::1]:99999", "invalid port 99999"),
            ],
        )

    def test_certificate(self) -> None:
        """A client certificate is given or named, not both."""
        mine = certs.pair("gateway.test")
        tls = {"client_cert": mine.cert, "client_key": mine.key, "client_cert_id": "c"}
        self.assertEqual([pointer for pointer, _ in self._told({"tls": tls})], ["/tls/client_cert_id"])

    def test_bad_certificate(self) -> None:
        """One that is given is tried, like those of an ssl."""
        told = self._told({"tls": {"client_cert": CERT, "client_key": KEY}})
        self.assertEqual([pointer for pointer, _ in told], ["/tls/client_cert", "/tls/client_key"])
        self.assertIn("failed to parse cert", told[0][1])
