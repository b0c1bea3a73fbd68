"""Plugins that change requests and answers, over real sockets."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

from tests.e2e.gateway_process import LIMIT_S, AdminClient, Answer, EndToEndCase, wait_for
from tests.e2e.raw_upstream import Peer, RawUpstream


def echo(upstream: RawUpstream, peer: Peer) -> None:
    """Answer with the request as it came; below ``/gzip`` compressed, below ``/missing`` with 404."""
    while (head := peer.head()) is not None:
        content = peer.whole(head)
        upstream.heads.append(head)
        body, more = head + b"\r\n\r\n" + content, b""
        target = head.split(b" ")[1]
        if target.startswith(b"/gzip"):
            body, more = gzip.compress(body), b'Content-Encoding: gzip\r\nETag: "1"\r\n'
        status = b"404 Not Found" if target.startswith(b"/missing") else b"200 OK"
        peer.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body))


class Collector(RawUpstream):
    """Takes log entries."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        super().__init__(self.take)

    def take(self, upstream: RawUpstream, peer: Peer) -> None:
        while (head := peer.head()) is not None:
            upstream.heads.append(head)
            self.entries += json.loads(peer.whole(head))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class TransformTests(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes = RawUpstream(echo)
        self.addCleanup(self.nodes.close)
        self.served = self.gateway().start()
        self.admin = self.enterContext(AdminClient(self.served))
        upstream = {"nodes": [{"host": "127.0.0.1", "port": self.nodes.port, "weight": 1}]}
        self.put("services/echo", {"name": "echo", "upstream": upstream})

    def put(self, path: str, document: Any) -> None:
        status, answer = self.admin.call("PUT", f"/apisix/admin/{path}", document)
        self.assertEqual(status, 200, answer)

    def serve(self, path: str, **plugins: Any) -> None:
        """A route for *path* with plugins, its names with ``_`` for ``-``."""
        named = {name.replace("_", "-"): config for name, config in plugins.items()}
        name = path.strip("/*")
        self.put(f"routes/{name}", {"name": name, "service_id": "echo", "paths": [path], "plugins": named})

    def get(self, path: str, **more: Any) -> Answer:
        return self.served.get(path, **more)

    def test_requests(self) -> None:
        """Targets, methods, fields and content reach the upstream as plugins made them."""
        self.serve(
            "/rewrite/*",
            proxy_rewrite={
                "regex_uri": ["^/rewrite/(.*)", "/new/$1"],
                "method": "PUT",
                "host": "other.example",
                "headers": {"set": {"X-Part": "$1", "X-Arg": "$arg_a"}, "remove": ["X-Gone"]},
            },
        )
        answer = self.get("/rewrite/a%20b?a=1%0D%0AX:%202", headers={"X-Gone": "1"})
        lines = answer.body.split(b"\r\n")
        self.assertEqual(lines[0], b"PUT /new/a%20b?a=1%0D%0AX:%202 HTTP/1.1")
        for line in (b"Host: other.example", b"X-Part: a b", b"X-Arg: 1 X: 2"):
            self.assertIn(line, lines)
        self.assertNotIn(b"x-gone", answer.body.lower())

        kind = {"proxy-rewrite": {"headers": {"set": {"X-Kind": "is ${post_arg.kind}"}}}}
        routed = {"name": "posted", "service_id": "echo", "paths": ["/posted"], "plugins": kind}
        self.put("routes/posted", {**routed, "vars": [["post_arg.kind", "==", "a"]]})
        json_type = {"Content-Type": "application/json"}
        large = b'{"kind":"a","pad":"%b"}' % (b"x" * 200_000)
        answer = self.get("/posted", method="POST", body=large, headers=json_type)
        self.assertIn(b"X-Kind: is a", answer.body)
        self.assertTrue(answer.body.endswith(large))
        self.assertEqual(
            self.get("/posted", method="POST", body=b'{"kind":"b"}', headers=json_type).status, 404
        )
        self.assertEqual(self.get("/posted").status, 404)

        schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
        self.serve("/checked", request_validation={"body_schema": schema})
        answer = self.get("/checked", method="POST", body=b'{ "name" : "x", "name": "Jack" }')
        self.assertTrue(answer.body.endswith(b'\r\n\r\n{"name":"Jack"}'), answer.body)
        answer = self.get("/checked", method="POST", body=b"{}")
        self.assertEqual((answer.status, answer.body), (400, b'property "name" is required'))
        before = len(self.nodes.heads)
        limited = {"body_schema": schema, "max_req_body_size": 10}
        self.serve("/limited", request_validation=limited)
        self.assertEqual(self.get("/limited", method="POST", body=b"x" * 11).status, 413)
        self.assertEqual(len(self.nodes.heads), before)

    def test_loggers(self) -> None:
        """Entries arrive together, what is left when the gateway stops; files can be renamed."""
        collector = Collector()
        self.addCleanup(collector.close)
        file = self.served.directory / "requests.json"
        uri = f"http://127.0.0.1:{collector.port}/log"
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(datagrams.close)
        datagrams.bind(("127.0.0.1", 0))
        datagrams.settimeout(LIMIT_S)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        listener.settimeout(LIMIT_S)
        content = {"include_req_body": True, "include_resp_body": True, "max_resp_body_bytes": 4}
        self.serve(
            "/logged",
            syslog={
                "host": "127.0.0.1",
                "port": datagrams.getsockname()[1],
                "sock_type": "udp",
                "batch_max_size": 1,
            },
            tcp_logger={"host": "127.0.0.1", "port": listener.getsockname()[1], "batch_max_size": 2},
            http_logger={"uri": uri, "batch_max_size": 2, "auth_header": "Basic abc", **content},
            file_logger={
                "path": str(file),
                "log_format": {"uri": "$request_uri", "who": {"ip": "$remote_addr"}},
            },
        )
        answer = self.get("/logged?jwt=secret", method="POST", body=b"sent")
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        self.get("/logged?n=2")
        wait_for(lambda: len(collector.entries) == 2, "both entries")
        self.assertTrue(datagrams.recv(65536).startswith(b"<46>1 "))
        with listener.accept()[0] as connection:
            connection.settimeout(LIMIT_S)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        self.assertEqual(len(json.loads(received)), 2)
        self.assertIn(b"authorization: basic abc", collector.heads[0].lower())
        first = collector.entries[0]
        self.assertEqual(first["request"]["uri"], "/logged?jwt=***")
        self.assertEqual((first["request"]["body"], first["response"]["body"]), ("sent", "POST"))
        self.assertEqual((first["route_id"], first["upstream"]), ("logged", f"127.0.0.1:{self.nodes.port}"))
        wait_for(lambda: file.exists() and file.read_text().count("\n") == 2, "two lines")
        (one, _) = map(json.loads, file.read_text().splitlines())
        wanted = {
            "uri": "/logged?jwt=***",
            "who": {"ip": "127.0.0.1"},
            "route_id": "logged",
            "service_id": "echo",
        }
        self.assertEqual(one, wanted)
        file.rename(f"{file}.1")
        self.get("/logged?n=3")
        wait_for(file.exists, "the new file")
        self.served.end()
        self.assertEqual([entry["request"]["uri"] for entry in collector.entries[2:]], ["/logged?n=3"])

    def test_answers(self) -> None:
        """Answers come as plugins made them: the upstream's, the gateway's own, and their own."""
        self.serve(
            "/gzip/*",
            response_rewrite={
                "filters": [{"regex": "GET (\\S+)", "replace": "[$1]"}],
                "headers": {"set": {"X-Status": "$status"}},
            },
        )
        answer = self.get("/gzip/x", headers={"Accept-Encoding": "gzip"})
        self.assertTrue(answer.body.startswith(b"[/gzip/x] HTTP/1.1"), answer.body)
        self.assertEqual(answer.headers["x-status"], "200")
        self.assertEqual({"content-encoding", "etag"} & set(answer.headers), set())

        self.serve("/missing", response_rewrite={"body": '{"code":"none"}', "status_code": 200})
        answer = self.get("/missing")
        self.assertEqual((answer.status, answer.json), (200, {"code": "none"}))
        self.assertEqual(self.get("/missing", method="HEAD").body, b"")

        self.serve(
            "/abort",
            fault_injection={"abort": {"http_status": 503, "body": "broken"}},
            response_rewrite={"status_code": 500, "body": "rewritten"},
        )
        answer = self.get("/abort")
        self.assertEqual((answer.status, answer.body), (500, b"rewritten"))

        self.serve("/moved", redirect={"uri": "/new$uri", "ret_code": 301, "append_query_string": True})
        answer = self.get("/moved?a=1")
        self.assertEqual((answer.status, answer.headers["location"]), (301, "/new/moved?a=1"))

        schema = {"type": "object", "properties": {"id": {"type": "integer"}, "n": {"example": "Jack"}}}
        self.serve("/mock", mocking={"response_schema": schema, "delay": 0})
        answer = self.get("/mock")
        self.assertEqual((answer.status, set(answer.json), answer.json["n"]), (200, {"id", "n"}, "Jack"))
        self.assertIn("x-mock-by", answer.headers)

        log = self.served.data_dir / "access.log"
        self.served.end()
        ends = [
            line.split('"')[2].split()[0] + " " + line.split()[-2] for line in log.read_text().splitlines()
        ]
        self.assertIn("500 plugin:fault-injection", ends)
        self.assertEqual(json.dumps(ends).count("500"), 1)
