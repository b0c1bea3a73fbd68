"""What is measured: the gateway, its peers, and the upstream all of them proxy to."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import sys
import time
from pathlib import Path

from bench.processes import START_S, Server, free_port
from bench.tokens import KEY, SECRET, USERNAME

ROOT = Path(__file__).resolve().parents[1]
ANSWER = json.dumps({"answer": "x" * 300})
LARGE = 64 * 1024
TOKEN = "bench-admin-token"


def upstream(directory: Path, core: int) -> Server:
    """nginx with fixed answers: small JSON, and 64 KiB under ``/large``; content is read and dropped."""
    port = free_port()
    (directory / "www").mkdir()
    (directory / "www" / "large").write_bytes(b"x" * LARGE)
    config = f"""
user root; daemon off; worker_processes 1; pid {directory}/upstream.pid; error_log {directory}/upstream.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m; client_body_buffer_size 2m;
  client_body_temp_path {directory}/upstream-body;
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {directory}/www; default_type application/json;
    location = /large {{ }}
    location = /sink {{ proxy_pass http://127.0.0.1:{port}/; proxy_pass_request_body off;
                        proxy_set_header Content-Length ""; }}
    location / {{ return 200 '{ANSWER}'; }}
  }}
}}"""
    (directory / "upstream.conf").write_text(config)
    command = ["nginx", "-c", str(directory / "upstream.conf")]
    return Server("upstream", command, port, core=core, directory=directory)


def nginx(directory: Path, core: int, target: int) -> Server:
    """nginx as a plain proxy that checks nothing: a floor."""
    port = free_port()
    config = f"""
user root; daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  upstream nodes {{ server 127.0.0.1:{target}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://nodes; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_request_buffering off; }}
  }}
}}"""
    (directory / "nginx.conf").write_text(config)
    command = ["nginx", "-c", str(directory / "nginx.conf")]
    return Server("nginx", command, port, core=core, directory=directory)


def haproxy(directory: Path, core: int, target: int) -> Server:
    """HAProxy, verifying the same tokens under ``/jwt``."""
    port = free_port()
    (directory / "consumers.map").write_text(f"{KEY} {USERNAME}\n")
    payload = "var(txn.token),jwt_payload_query"
    config = f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  acl guarded path /jwt
  http-request set-var(txn.token) http_auth_bearer if guarded
  http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg') if guarded
  http-request deny deny_status 401 if guarded !{{ var(txn.alg) -m str HS256 }}
  http-request deny deny_status 401 if guarded !{{ var(txn.token),jwt_verify(txn.alg,"{SECRET}") -m int 1 }}
  http-request set-var(txn.left) {payload}('$.exp','int') if guarded
  http-request set-var(txn.now) date() if guarded
  http-request deny deny_status 401 if guarded {{ var(txn.left),sub(txn.now) -m int lt 0 }}
  http-request set-header X-Consumer-Username %[{payload}('$.key'),map({directory}/consumers.map)] if guarded
  default_backend nodes
backend nodes
  server one 127.0.0.1:{target}
"""
    (directory / "haproxy.cfg").write_text(config)
    command = ["haproxy", "-db", "-f", str(directory / "haproxy.cfg")]
    return Server("haproxy", command, port, core=core, directory=directory)


PEERS = {"nginx": nginx, "haproxy": haproxy}


def installed(name: str) -> bool:
    """Whether a program is on the path."""
    return shutil.which(name) is not None


def gateway(directory: Path, core: int, target: int, *, routes: int, environ: dict[str, str]) -> Server:
    """This gateway, everything on, with *routes* routes besides the measured ones. Started and configured."""
    port = free_port()
    variables = {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_GATEWAY_DATA_DIR": str(directory / "gateway"),
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_APISIX_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_TOKEN": TOKEN,
        "GATEWAY_PROXY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_CONTROL_LISTEN": "",
        "GATEWAY_METRICS_LISTEN": "",
        **environ,
    }
    twistd = Path(sys.executable).with_name("twistd")
    command = [
        str(twistd),
        "-n",
        "--pidfile",
        str(directory / "gateway.pid"),
        "gateway",
        "--config",
        str(ROOT / "conf" / "gw.ini"),
    ]
    server = Server("gateway", command, port, core=core, directory=directory, environ=variables).start()
    # It takes connections before it says so: the file comes last.
    ports = directory / "gateway" / "ports.json"
    deadline = time.monotonic() + START_S
    while not ports.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    configure(json.loads(ports.read_text())["admin"], target, routes)
    return server


class Admin:
    """A connection to the gateway's Admin API."""

    def __init__(self, port: int) -> None:
        context = ssl._create_unverified_context()
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put(self, path: str, value: object) -> None:
        """Write one resource of the group ``default``."""
        headers = {"X-API-KEY": TOKEN}
        target = f"/apisix/admin/{path}?gateway_group_id=default"
        self._connection.request("PUT", target, json.dumps(value), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"PUT {path}: {answer.status} {text!r}")


def configure(admin_port: int, target: int, routes: int) -> None:
    """One service, a guarded and an open route, a consumer, and *routes* routes nobody asks for."""
    node = {"host": "127.0.0.1", "port": target, "weight": 1}
    credential = {"name": "bench", "plugins": {"jwt-auth": {"key": KEY, "secret": SECRET}}}
    guarded = {"name": "jwt", "service_id": "bench", "paths": ["/jwt"], "plugins": {"jwt-auth": {}}}
    with Admin(admin_port) as admin:
        admin.put("services/bench", {"name": "bench", "upstream": {"nodes": [node]}})
        admin.put(f"consumers/{USERNAME}", {"username": USERNAME})
        admin.put(f"consumers/{USERNAME}/credentials/bench", credential)
        admin.put("routes/jwt", guarded)
        admin.put("routes/open", {"name": "open", "service_id": "bench", "paths": ["/*"]})
        for number in range(routes):
            route = {"name": "r", "service_id": "bench", "paths": [f"/unused/{number}/*"]}
            admin.put(f"routes/r{number}", route)
