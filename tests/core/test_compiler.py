"""From resources to snapshots: what is served, what is carried over, what is left out."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.certificates import Trust
from gateway.core.compiler import ROUTES_AT_ONCE, Compiler
from gateway.core.secrets import UnresolvedReference
from gateway.core.snapshot import CompiledRoute, Snapshot
from gateway.model.problems import ConfigErrors
from gateway.model.record import Change
from gateway.model.ssl import Ssl
from tests.core.configs import FakePlugins, ask, change, records, route, service


def matched(
    snapshot: Snapshot, path: str, method: str = "GET", host: str = "example.com"
) -> CompiledRoute | None:
    match = snapshot.router.match(ask(snapshot, path, method, host))
    return None if match is None else match.rule.target


CONTENT_VARS = [["post_arg.a", "==", "1"]]


class ContentTests(SynchronousTestCase):
    """Who asks for a request's content is known when a snapshot is made."""

    def test_routes(self) -> None:
        """Routes that are matched by content are known, as long as they are there."""
        compiler = Compiler(FakePlugins(), "default")
        snapshot = compiler.load(
            records(service("s"), route("r", "/x", vars=CONTENT_VARS), route("other", "/y")), 1
        )
        self.assertEqual(snapshot.content_routes, {"r"})
        changed = compiler.apply(snapshot, [route("other", "/y", vars=CONTENT_VARS)], 2)
        self.assertEqual(changed.content_routes, {"r", "other"})
        changed = compiler.apply(changed, [route("r", "/x"), change("route", "other", None)], 3)
        self.assertEqual(changed.content_routes, set())

    def test_chains(self) -> None:
        """So are chains whose plugins name such a variable anywhere in their settings."""
        filtered = {"_meta": {"filter": CONTENT_VARS}}
        snapshot = Compiler(FakePlugins(), "default").load(
            records(
                service("s"),
                route("r", "/x", plugins={"plain": filtered}),
                route("other", "/y", plugins={"plain": {"key": "arg_a"}}),
            ),
            1,
        )
        reads = {id: one.chain.reads_content for id, one in snapshot.routes.items()}
        self.assertEqual(reads, {"r": True, "other": False})


class CompilerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.plugins = FakePlugins()
        self.compiler = Compiler(self.plugins, "default")

    def load(self, *changes: object) -> Snapshot:
        return self.compiler.load(records(*changes), 7)  # type: ignore[arg-type]


class RouteTests(CompilerTestCase):
    def test_a_route_serves(self) -> None:
        """A route with its service is in the table, with the service's upstream and no limits of its own."""
        snapshot = self.load(service("s"), route("r", "/x"))
        got = matched(snapshot, "/x")
        assert got is not None
        assert got.upstream is not None
        self.assertIsNone(got.timeout)
        self.assertEqual((snapshot.revision, got.id, got.service_name), (7, "r", "s"))
        self.assertEqual([node.key for node in got.upstream.upstream.nodes], ["127.0.0.1:8080"])
        self.assertEqual(got.upstream.upstream.timeout.read_s, 60.0)

    def test_prefix_and_hosts_come_from_the_service(self) -> None:
        """The service's path_prefix comes first, its hosts apply, and the prefix is stripped."""
        snapshot = self.load(service("s", path_prefix="/api", hosts=["a.example"]), route("r", "/x"))
        got = matched(snapshot, "/api/x", host="a.example")
        assert got is not None
        self.assertEqual(got.strip_prefix, "/api")
        self.assertIsNone(matched(snapshot, "/x", host="a.example"))
        self.assertIsNone(matched(snapshot, "/api/x", host="b.example"))

    def test_whole_paths(self) -> None:
        """Paths that the apisix dialect wrote are whole: they get no prefix, and lose it on the way on."""
        whole = change("route", "r", {"uris": ["/api/x", "/y"], "service_id": "s"})
        snapshot = self.load(service("s", path_prefix="/api"), whole)
        got = matched(snapshot, "/api/x")
        assert got is not None
        self.assertEqual(got.strip_prefix, "/api")
        self.assertIsNotNone(matched(snapshot, "/y"))
        self.assertIsNone(matched(snapshot, "/api/api/x"))

    def test_prefix_kept(self) -> None:
        """With strip_path_prefix false the upstream sees the whole path."""
        snapshot = self.load(service("s", path_prefix="/api", strip_path_prefix=False), route("r", "/x"))
        got = matched(snapshot, "/api/x")
        assert got is not None
        self.assertIsNone(got.strip_prefix)

    def test_route_timeout_wins(self) -> None:
        """A route's timeout replaces the upstream's as a whole."""
        snapshot = self.load(service("s"), route("r", "/x", timeout={"connect": 1, "send": 2, "read": 3}))
        got = matched(snapshot, "/x")
        assert got is not None
        assert got.timeout is not None
        self.assertEqual((got.timeout.connect_s, got.timeout.send_s, got.timeout.read_s), (1, 2, 3))

    def test_tunnels(self) -> None:
        """``enable_websocket``: the route's if it says something, else the service's (contract §5)."""
        for of_service, of_route, tunnels in (
            (None, None, False),
            (True, None, True),
            (True, False, False),
            (False, True, True),
        ):
            shared = {} if of_service is None else {"enable_websocket": of_service}
            got = matched(
                self.load(service("s", **shared), route("r", "/x", enable_websocket=of_route)), "/x"
            )
            assert got is not None
            self.assertEqual(got.tunnels, tunnels)

    def test_disabled_service(self) -> None:
        """The routes of a disabled service, or of none, are not in the table."""
        self.assertIsNone(matched(self.load(service("s", status=0), route("r", "/x")), "/x"))
        self.assertIsNone(matched(self.load(route("r", "/x")), "/x"))

    def test_other_groups_are_not_served(self) -> None:
        """Resources of another gateway group do not exist for this data plane."""
        snapshot = self.load(service("s"), change("route", "r", route("r", "/x").value, group="other"))
        self.assertIsNone(matched(snapshot, "/x"))

    def test_plugins_are_merged(self) -> None:
        """The route's copy of a plugin hides the service's; the others are inherited."""
        snapshot = self.load(
            service("s", plugins={"tag": {"value": 1}, "stop": {"status": 403}}),
            route("r", "/x", plugins={"tag": {"value": 2}}),
        )
        got = matched(snapshot, "/x")
        assert got is not None
        self.assertEqual(
            [(p.name, p.use.origin) for p in got.chain.plugins], [("stop", "service/s"), ("tag", "route/r")]
        )


class IncrementalTests(CompilerTestCase):
    def test_only_the_change_is_compiled(self) -> None:
        """One changed route leaves every other compiled route, plugin and upstream as it was."""
        first = self.load(
            service("s", plugins={"tag": {"value": 0}}), *(route(f"r{n}", f"/{n}") for n in range(50))
        )
        self.plugins.bound.clear()
        second = self.compiler.apply(first, [route("r7", "/new", plugins={"tag": {"value": 1}})], 8)
        self.assertEqual([use.origin for use in self.plugins.bound], ["route/r7"])
        self.assertIs(second.routes["r8"], first.routes["r8"])
        self.assertIs(second.routes["r7"].upstream, first.routes["r7"].upstream)
        self.assertIsNone(matched(second, "/7"))
        self.assertEqual(matched(second, "/new"), second.routes["r7"])

    def test_the_old_snapshot_is_untouched(self) -> None:
        """A request under way keeps what it started with."""
        first = self.load(service("s"), route("r", "/x"))
        self.compiler.apply(first, [change("route", "r", None), change("service", "s", None)], 8)
        self.assertIsNotNone(matched(first, "/x"))
        self.assertIn("s", first.sources.services)

    def test_a_changed_service_reaches_its_routes(self) -> None:
        """A service's new upstream and prefix are served by all its routes, and by no others."""
        first = self.load(service("s"), service("t"), route("r", "/x"), route("q", "/y", "t"))
        second = self.compiler.apply(first, [service("s", path_prefix="/p")], 8)
        self.assertIsNotNone(matched(second, "/p/x"))
        self.assertIsNone(matched(second, "/x"))
        self.assertIs(second.routes["q"], first.routes["q"])

    def test_the_picker_survives_what_does_not_concern_it(self) -> None:
        """A new description of the service does not start its turn anew; new nodes do."""
        first = self.load(service("s"), route("r", "/x"))
        second = self.compiler.apply(first, [service("s", desc="words")], 8)
        self.assertIs(second.routes["r"].upstream, first.routes["r"].upstream)
        node = {"host": "127.0.0.2", "port": 1, "weight": 1}
        third = self.compiler.apply(second, [service("s", upstream={"nodes": [node]})], 9)
        self.assertIsNot(third.routes["r"].upstream, second.routes["r"].upstream)

    def test_a_moved_route(self) -> None:
        """A route that moves to another service follows that one's changes only."""
        first = self.load(service("s"), service("t"), route("r", "/x"))
        second = self.compiler.apply(first, [route("r", "/x", "t")], 8)
        third = self.compiler.apply(second, [service("s", path_prefix="/p")], 9)
        self.assertIs(third.routes["r"], second.routes["r"])

    def test_refused_changes_change_nothing(self) -> None:
        """What cannot be served is refused with its place, and the last snapshot still serves."""
        first = self.load(service("s"), route("r", "/x"))
        error = self.assertRaises(
            ConfigErrors, self.compiler.apply, first, [route("r", "/x", plugins={"refused": {}})], 8
        )
        self.assertEqual([problem.pointer for problem in error.problems], ["/route/r"])
        self.assertIsNotNone(matched(first, "/x"))

    def test_refused_before_a_route_has_them(self) -> None:
        """Plugins that come with something else than a route are tried when they are written."""
        first = self.load(service("s"), route("r", "/x"))
        for kind, more in (
            ("consumer", {"username": "jack"}),
            ("consumer_group", {}),
            ("plugin_config", {}),
            ("service", {"name": "t"}),
        ):
            bad = change(kind, "jack", {**more, "plugins": {"refused": {}}})
            error = self.assertRaises(ConfigErrors, self.compiler.apply, first, [bad], 8)
            self.assertEqual([problem.pointer for problem in error.problems], [f"/{kind}/jack"])
            off = change(kind, "jack", {**more, "plugins": {"refused": {"_meta": {"disable": True}}}})
            self.assertEqual(self.compiler.apply(first, [off], 8).revision, 8)
            self.assertEqual(self.load(service("s"), bad).quarantined, {})

    def test_a_bad_expression(self) -> None:
        """An expression that cannot be compiled is named by its member."""
        first = self.load(service("s"))
        error = self.assertRaises(
            ConfigErrors, self.compiler.apply, first, [route("r", "/x", vars=[["a", "===", "b"]])], 8
        )
        self.assertEqual([problem.pointer for problem in error.problems], ["/route/r/vars"])

    def test_very_many_routes(self) -> None:
        """Routes enter the router some at a time, and it is the same router in the end."""
        many = [route(f"r{n}", f"/{n}/*") for n in range(2 * ROUTES_AT_ONCE + 1)]
        first = self.load(service("s"), *many)
        second = self.compiler.apply(
            first, [*(route(c.id, f"/new/{c.id}") for c in many[1:]), change("route", "r0", None)], 8
        )
        for number in (0, 1, ROUTES_AT_ONCE, len(many) - 1):
            before = matched(first, f"/{number}/x")
            assert before is not None
            self.assertEqual(before.id, f"r{number}")
            self.assertIsNone(matched(second, f"/{number}/x"))
            after = matched(second, f"/new/r{number}")
            self.assertEqual(None if after is None else after.id, f"r{number}" if number else None)
        self.assertEqual((len(second.router), len(second.routes)), (2 * ROUTES_AT_ONCE, 2 * ROUTES_AT_ONCE))

    def test_changes_elsewhere(self) -> None:
        """Tokens and other groups move the revision and nothing else."""
        first = self.load(service("s"), route("r", "/x"))
        second = self.compiler.apply(first, [change("token", "t", {}, group="")], 8)
        self.assertEqual(second.revision, 8)
        self.assertIs(second.router, first.router)

    def test_what_is_gone_is_forgotten(self) -> None:
        """A removed resource's plugins are not kept for ever."""
        first = self.load(service("s"), route("r", "/x", plugins={"tag": {}}))
        removal = [change("route", "r", None)]
        second = self.compiler.apply(first, removal, 8)
        self.compiler.forget(removal)
        self.compiler.apply(second, [route("r", "/x", plugins={"tag": {}})], 9)
        self.assertEqual([use.origin for use in self.plugins.bound], ["route/r", "route/r"])


class QuarantineTests(CompilerTestCase):
    def test_one_bad_route(self) -> None:
        """At load a resource that cannot be compiled is off, named, and takes nothing down with it."""
        snapshot = self.load(service("s"), route("bad", "/b", plugins={"refused": {}}), route("r", "/x"))
        self.assertIsNone(matched(snapshot, "/b"))
        self.assertIsNotNone(matched(snapshot, "/x"))
        self.assertEqual(list(snapshot.quarantined), [("default", "route", "bad")])

    def test_a_document_of_another_time(self) -> None:
        """A stored document that is not what it must be today is quarantined too."""
        snapshot = self.load(service("s"), change("route", "bad", {"paths": 7}), route("r", "/x"))
        self.assertEqual(list(snapshot.quarantined), [("default", "route", "bad")])
        self.assertIsNotNone(matched(snapshot, "/x"))

    def test_mended(self) -> None:
        """Writing it anew takes it out of quarantine."""
        first = self.load(service("s"), route("bad", "/b", plugins={"refused": {}}))
        second = self.compiler.apply(first, [route("bad", "/b")], 8)
        self.assertEqual(second.quarantined, {})
        self.assertIsNotNone(matched(second, "/b"))

    def test_damaged_records(self) -> None:
        """A record whose secrets cannot be read is never served: its sealed text could be known to others."""
        consumer = change("consumer", "jack", {"username": "jack"})
        credential = change("credential", "jack/c", {"name": "c", "plugins": {"auth": {"key": "$sealed$"}}})
        key = credential.key
        snapshot = self.compiler.load(records(consumer, credential), 1, [key, ("other", "credential", "x/y")])
        self.assertEqual((dict(snapshot.identities), list(snapshot.quarantined)), ({}, [key]))

    def test_a_bad_global_rule(self) -> None:
        """A global rule that cannot be bound is off; the other rules run."""
        snapshot = self.load(
            change("global_rule", "refused", {"plugins": {"refused": {}}}),
            change("global_rule", "tag", {"plugins": {"tag": {}}}),
        )
        self.assertEqual([plugin.name for plugin in snapshot.global_chain.plugins], ["tag"])
        self.assertEqual(list(snapshot.quarantined), [("default", "global_rule", "refused")])


class ConsumerTests(CompilerTestCase):
    def consumer(self, name: str, **more: object) -> object:
        return change("consumer", name, {"username": name, **more})

    def credential(self, consumer: str, id: str, key: str, **more: object) -> object:
        return change(
            "credential", f"{consumer}/{id}", {"name": id, "plugins": {"auth": {"key": key, **more}}}
        )

    def test_keys_lead_to_consumers(self) -> None:
        """A credential's key leads to its consumer, its id and what the plugin made of it."""
        snapshot = self.load(self.consumer("jack"), self.credential("jack", "c1", "k1"))
        identity = snapshot.identities["auth"]["k1"]
        self.assertEqual((identity.consumer.username, identity.credential_id), ("jack", "c1"))
        self.assertEqual(identity.credential, {"key": "k1"})

    def test_credentials_on_the_consumer(self) -> None:
        """An auth plugin on the consumer is a credential without an id, and not a plugin to run."""
        snapshot = self.load(self.consumer("jack", plugins={"auth": {"key": "k"}, "tag": {}}))
        self.assertIsNone(snapshot.identities["auth"]["k"].credential_id)
        self.assertEqual(list(snapshot.consumers["jack"].plugins), ["tag"])

    def test_a_removed_credential_is_gone(self) -> None:
        """Removing a credential, or its consumer, takes its key out of the index and leaves others."""
        first = self.load(
            self.consumer("jack"), self.credential("jack", "a", "ka"), self.credential("jack", "b", "kb")
        )
        second = self.compiler.apply(first, [change("credential", "jack/a", None)], 8)
        self.assertEqual(list(second.identities["auth"]), ["kb"])
        third = self.compiler.apply(second, [change("consumer", "jack", None)], 9)
        self.assertEqual((dict(third.identities["auth"]), dict(third.consumers)), ({}, {}))
        self.assertEqual(sorted(first.identities["auth"]), ["ka", "kb"])

    def test_identities_are_kept(self) -> None:
        """A change to one consumer leaves every other identity the same object, so caches stay valid."""
        first = self.load(
            self.consumer("a"),
            self.consumer("b"),
            self.credential("a", "c", "ka"),
            self.credential("b", "c", "kb"),
        )
        second = self.compiler.apply(first, [self.credential("a", "c", "new")], 8)  # type: ignore[list-item]
        self.assertIs(second.identities["auth"]["kb"], first.identities["auth"]["kb"])
        self.assertEqual(sorted(second.identities["auth"]), ["kb", "new"])

    def test_unusable_credentials_fail_closed(self) -> None:
        """A credential that cannot be prepared is left out and named; the consumer's others work."""
        snapshot = self.load(
            self.consumer("jack"),
            self.credential("jack", "bad", "x", broken=True),
            self.credential("jack", "good", "y"),
        )
        self.assertEqual(list(snapshot.identities["auth"]), ["y"])
        self.assertEqual(list(snapshot.notices), [("default", "credential", "jack/bad")])

    def test_the_first_owner_keeps_a_key(self) -> None:
        """Should two credentials share a key all the same, the first counts and the second is named."""
        snapshot = self.load(
            self.consumer("a"),
            self.consumer("b"),
            self.credential("a", "c", "k"),
            self.credential("b", "c", "k"),
        )
        self.assertEqual(snapshot.identities["auth"]["k"].consumer.username, "a")
        self.assertEqual(list(snapshot.notices), [("default", "credential", "b/c")])

    def test_custom_id(self) -> None:
        """The label custom_id becomes a field value that cannot end its line."""
        snapshot = self.load(self.consumer("jack", labels={"custom_id": "a\r\nX-Admin: 1"}))
        self.assertEqual(snapshot.consumers["jack"].wire_custom_id, b"aX-Admin: 1")


class FakeCertificates:
    """A certificate source that notes what it loaded, and refuses some."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, ssl: Ssl) -> object:
        cert = ssl.pairs[0].cert
        if cert == "bad":
            raise ValueError("no certificate")
        if cert.startswith("$"):
            raise UnresolvedReference("no such secret")
        self.loaded.append(ssl.id)
        return cert

    def load_authority(self, pem: str) -> object:
        if pem == "bad":
            raise ValueError("no certificate")
        return f"authority {pem}"


def ssl(id: str, cert: str, *snis: str, **more: object) -> Change:
    return change("ssl", id, {"cert": cert, "key": "key", "snis": list(snis), **more})


class CertificateTests(CompilerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = FakeCertificates()
        self.compiler = Compiler(self.plugins, "default", certificates=self.source)

    def shown(self, snapshot: Snapshot, name: str) -> object:
        served = snapshot.certificates.find(name)
        return None if served is None else served.loaded

    def test_served(self) -> None:
        """An ssl is served by the snapshot that has it, and no longer by one that has it not."""
        snapshot = self.load(ssl("a", "A", "a.test"))
        self.assertEqual(self.shown(snapshot, "a.test"), "A")
        gone = self.compiler.apply(snapshot, [change("ssl", "a", None)], 8)
        self.assertEqual((self.shown(gone, "a.test"), self.shown(snapshot, "a.test")), (None, "A"))

    def test_only_what_changed(self) -> None:
        """Others are not loaded again, and without a change of an ssl the table is the same."""
        first = self.load(ssl("a", "A", "a.test"), ssl("b", "B", "b.test"))
        second = self.compiler.apply(first, [ssl("b", "B2", "b.test"), ssl("a", "A", "a.test")], 8)
        self.assertEqual(self.source.loaded, ["a", "b", "b"])
        self.assertEqual((self.shown(second, "a.test"), self.shown(second, "b.test")), ("A", "B2"))
        third = self.compiler.apply(second, [service("s")], 9)
        self.assertIs(third.certificates, second.certificates)

    def test_bad(self) -> None:
        """A bad one is refused when it is written, and alone is off when it was stored."""
        error = self.assertRaises(
            ConfigErrors, self.compiler.apply, self.compiler.empty(), [ssl("x", "bad", "x.test")], 1
        )
        self.assertEqual([p.pointer for p in error.problems], ["/ssl/x"])
        snapshot = self.load(ssl("x", "bad", "x.test"), ssl("a", "A", "a.test"))
        self.assertEqual(snapshot.quarantined, {("default", "ssl", "x"): "ValueError: no certificate"})
        self.assertEqual((self.shown(snapshot, "x.test"), self.shown(snapshot, "a.test")), (None, "A"))

    def test_secret_missing(self) -> None:
        """One whose secret is not to be had is accepted, not served, and named."""
        snapshot = self.compiler.apply(self.compiler.empty(), [ssl("x", "$env://X", "x.test")], 1)
        self.assertIsNone(self.shown(snapshot, "x.test"))
        key = ("default", "ssl", "x")
        self.assertEqual(snapshot.notices, {key: "not served, no such secret"})
        self.assertEqual(self.compiler.apply(snapshot, [ssl("x", "X", "x.test")], 2).notices, {})

    def test_for_upstreams(self) -> None:
        """What upstreams name is found as it is now, or known to be missing; others' is of no concern."""
        tls = {"client_cert_id": "c"}
        more = {"scheme": "https", "nodes": [{"host": "a.test", "weight": 1}], "ca_certificates": ["ca"]}
        named = service("s", upstream={**more, "tls": tls})
        newer = service("t", upstream={**more, "client_certificate": "k"})
        plain = service("p", upstream={"nodes": [{"host": "a.test", "weight": 1}], "tls": tls})
        routes = [route("r", "/x"), route("t", "/t", "t"), route("p", "/p", "p")]
        first = self.load(named, newer, plain, *routes, change("ca_certificate", "ca", {"cert": "CA"}))

        def trust(snapshot: Snapshot, path: str) -> Trust:
            got = matched(snapshot, path)
            assert got is not None
            assert got.upstream is not None
            return snapshot.certificates.trust(got.upstream)

        self.assertEqual(trust(first, "/x").missing, "there is no client certificate in ssl c")
        self.assertEqual(trust(first, "/t").missing, "there is no certificate k")
        got = matched(first, "/p")
        assert got is not None
        assert got.upstream is not None
        self.assertFalse(got.upstream.secured)
        client = change("ssl", "c", {"cert": "C", "key": "key", "type": "client"})
        second = self.compiler.apply(
            first, [client, change("certificate", "k", {"cert": "K", "key": "key"})], 8
        )
        self.assertEqual(trust(second, "/x"), Trust("C", ("authority CA",)))
        self.assertEqual(trust(second, "/t"), Trust("K", ("authority CA",)))
        self.assertIs(trust(second, "/t"), trust(second, "/t"))
        self.assertEqual(trust(first, "/t").missing, "there is no certificate k")
        third = self.compiler.apply(second, [change("ca_certificate", "ca", None)], 9)
        self.assertEqual(trust(third, "/x").missing, "there is no CA certificate ca")
        bad = [change("ca_certificate", "ca", {"cert": "bad"})]
        self.assertRaises(ConfigErrors, self.compiler.apply, third, bad, 10)

    def test_snis(self) -> None:
        """A name, a certificate and authorities, each a resource of its own, are served like an ssl."""
        sni = change(
            "sni",
            "n",
            {"domain": "A.test", "certificate_id": "k", "mtls_enabled": True, "ca_certificates": ["ca"]},
        )
        snapshot = self.load(sni, ssl("s", "S", "b.test"))
        key = ("default", "sni", "n")
        self.assertEqual(snapshot.notices, {key: "not served, there is no certificate k"})
        self.assertIsNone(self.shown(snapshot, "a.test"))
        snapshot = self.compiler.apply(snapshot, [change("certificate", "k", {"cert": "K", "key": "key"})], 8)
        self.assertEqual(snapshot.notices, {key: "not served, there is no CA certificate ca"})
        snapshot = self.compiler.apply(snapshot, [change("ca_certificate", "ca", {"cert": "CA"})], 9)
        served = snapshot.certificates.find("a.test")
        assert served is not None
        assert served.ssl.client is not None
        self.assertEqual((served.loaded, served.ssl.client.ca, snapshot.notices), ("K", "CA", {}))
        self.assertTrue(snapshot.certificates.guarded)
        snapshot = self.compiler.apply(
            snapshot, [change("certificate", "k", {"cert": "K2", "key": "key"})], 10
        )
        self.assertEqual((self.shown(snapshot, "a.test"), self.shown(snapshot, "b.test")), ("K2", "S"))
        bad = [change("certificate", "k", {"cert": "bad", "key": "key"})]
        self.assertRaises(ConfigErrors, self.compiler.apply, snapshot, bad, 11)
        snapshot = self.compiler.apply(snapshot, [change("sni", "n", None)], 11)
        self.assertIsNone(self.shown(snapshot, "a.test"))

    def test_own_pair(self) -> None:
        """A certificate in the upstream itself is loaded with it; a bad one is refused."""

        def with_pair(cert: str) -> Change:
            tls = {"client_cert": cert, "client_key": "key"}
            nodes = [{"host": "a.test", "weight": 1}]
            return service("s", upstream={"scheme": "https", "nodes": nodes, "tls": tls})

        snapshot = self.load(with_pair("C"), route("r", "/x"))
        got = matched(snapshot, "/x")
        assert got is not None
        assert got.upstream is not None
        self.assertEqual(snapshot.certificates.trust(got.upstream), Trust("C"))
        self.assertRaises(ConfigErrors, self.compiler.apply, snapshot, [with_pair("bad")], 8)

    def test_unverified(self) -> None:
        """A TLS upstream whose certificate is not verified is named to the operator."""
        nodes = [{"host": "a.test", "weight": 1}]
        open_one = service("s", upstream={"scheme": "https", "nodes": nodes})
        alone = change("upstream", "u", {"scheme": "grpcs", "nodes": nodes})
        snapshot = self.load(open_one, alone, route("r", "/x"))
        self.assertEqual(
            {key: "not verified" in text for key, text in snapshot.notices.items()},
            {("default", "service", "s"): True, ("default", "upstream", "u"): True},
        )
        closed = service("s", upstream={"scheme": "https", "nodes": nodes, "tls": {"verify": True}})
        self.assertEqual(
            list(self.compiler.apply(snapshot, [closed], 8).notices), [("default", "upstream", "u")]
        )

    def test_two_for_one_name(self) -> None:
        """The newer serves, the older is named; once the newer is gone the older serves again."""
        snapshot = self.load(ssl("old", "O", "a.test"), ssl("new", "N", "a.test"))
        self.assertEqual(self.shown(snapshot, "a.test"), "N")
        self.assertEqual(
            snapshot.notices,
            {("default", "ssl", "old"): "a newer ssl is for a.test too; that one counts"},
        )
        # A change does not make the older one newer.
        again = self.compiler.apply(snapshot, [ssl("old", "O2", "a.test")], 8)
        self.assertEqual(self.shown(again, "a.test"), "N")
        gone = self.compiler.apply(again, [change("ssl", "new", None)], 9)
        self.assertEqual((self.shown(gone, "a.test"), gone.notices), ("O2", {}))
