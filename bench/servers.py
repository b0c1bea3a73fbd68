"""What is measured: the gateway, its peers, and the upstream all of them proxy to."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

from bench.processes import START_S, Server, free_port
from bench.tokens import KEY, SECRET, USERNAME

ROOT = Path(__file__).resolve().parents[1]
ANSWER = json.dumps({"answer": "x" * 300})
LARGE = 64 * 1024
TOKEN = "bench-admin-token"


def certificate(directory: Path) -> tuple[Path, Path]:
    """A throw-away certificate for localhost and its key; both in one file, too: ``both.pem``."""
    names = directory / "localhost.crt", directory / "localhost.key"
    if not names[0].exists():
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-out", str(names[0]), "-keyout", str(names[1])),
            ],
            check=True,
            capture_output=True,
        )
        (directory / "both.pem").write_bytes(names[0].read_bytes() + names[1].read_bytes())
    return names


def upstream(directory: Path, core: int | None) -> Server:
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
    location /files/ {{ root {directory}; }}
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
    port, tls_port = free_port(), free_port()
    crt, key = certificate(directory)
    config = f"""
user root; daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 64m;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  upstream nodes {{ server 127.0.0.1:{target}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls_port} ssl backlog=4096; ssl_certificate {crt}; ssl_certificate_key {key};
    location / {{ proxy_pass http://nodes; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_request_buffering off; }}
  }}
}}"""
    (directory / "nginx.conf").write_text(config)
    command = ["nginx", "-c", str(directory / "nginx.conf")]
    return Server("nginx", command, port, tls_port=tls_port, core=core, directory=directory)


def haproxy(directory: Path, core: int, target: int) -> Server:
    """HAProxy, verifying the same tokens under ``/jwt``."""
    port, tls_port = free_port(), free_port()
    certificate(directory)
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
  bind 127.0.0.1:{tls_port} ssl crt {directory}/both.pem backlog 4096
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
    return Server("haproxy", command, port, tls_port=tls_port, core=core, directory=directory)


def envoy(directory: Path, core: int, target: int) -> Server:
    """Envoy, verifying the same tokens under ``/jwt``; it looks no consumer up."""
    port, tls_port = free_port(), free_port()
    crt, key = certificate(directory)
    names = "type.googleapis.com/envoy."
    filters = names + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    secret = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    provider = {
        "forward": True,
        "claim_to_headers": [{"header_name": "X-Consumer-Username", "claim_name": "key"}],
        "local_jwks": {"inline_string": json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": secret}]})},
    }
    tokens = {
        "@type": names + "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"path": "/jwt"}, "requires": {"provider_name": "bench"}}],
    }
    router = {"@type": names + "extensions.filters.http.router.v3.Router"}
    hosts = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
    }
    manager = {
        "name": "http",
        "typed_config": {
            "@type": filters,
            "stat_prefix": "in",
            "codec_type": "HTTP1",
            "route_config": {"virtual_hosts": [hosts]},
            "http_filters": [
                {"name": "envoy.filters.http.jwt_authn", "typed_config": tokens},
                {"name": "envoy.filters.http.router", "typed_config": router},
            ],
        },
    }

    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    tls = {
        "@type": names + "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [
                {"certificate_chain": {"filename": str(crt)}, "private_key": {"filename": str(key)}}
            ]
        },
    }
    chain = {"filters": [manager]}
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    limits = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    cluster = {
        "name": "up",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(target)}}]}],
        },
    }
    config = {
        "static_resources": {
            "listeners": [
                {"name": "plain", "address": address(port), "filter_chains": [chain]},
                {
                    "name": "tls",
                    "address": address(tls_port),
                    "filter_chains": [{**chain, "transport_socket": socket}],
                },
            ],
            "clusters": [cluster],
        }
    }
    (directory / "envoy.json").write_text(json.dumps(config))
    command = [program("envoy") or "envoy", "-c", str(directory / "envoy.json"), "--concurrency", "1"]
    command += ["-l", "error", "--disable-hot-restart"]
    return Server("envoy", command, port, tls_port=tls_port, core=core, directory=directory)


PEERS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}


def program(name: str) -> str | None:
    """Where a program is: ``BENCH_<NAME>`` says it, or the path; None if it is not installed."""
    return os.environ.get(f"BENCH_{name.upper()}") or shutil.which(name)


def installed(name: str) -> bool:
    """Whether a program is there."""
    return program(name) is not None


def gateway(
    directory: Path,
    core: int | None,
    target: int,
    *,
    routes: int = 0,
    environ: dict[str, str] | None = None,
    name: str = "gateway",
) -> Server:
    """This gateway, everything on, with *routes* routes besides the measured ones. Started and configured."""
    port, tls_port = free_port(), free_port()
    crt, key = certificate(directory)
    data = directory / name
    variables = {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_GATEWAY_DATA_DIR": str(data),
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_APISIX_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_TOKEN": TOKEN,
        "GATEWAY_PROXY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_PROXY_TLS_LISTEN": f"127.0.0.1:{tls_port}",
        "GATEWAY_PROXY_TLS_CERTIFICATE": str(crt),
        "GATEWAY_PROXY_TLS_PRIVATE_KEY": str(key),
        "GATEWAY_CONTROL_LISTEN": "",
        "GATEWAY_METRICS_LISTEN": "",
        **(environ or {}),
    }
    twistd = Path(sys.executable).with_name("twistd")
    command = [
        str(twistd),
        "-n",
        "--pidfile",
        str(directory / f"{name}.pid"),
        "gateway",
        "--config",
        str(ROOT / "conf" / "gw.ini"),
    ]
    server = Server(
        name, command, port, tls_port=tls_port, core=core, directory=directory, environ=variables
    ).start()
    # It takes connections before it says so: the file comes last.
    ports = data / "ports.json"
    deadline = time.monotonic() + START_S
    while not ports.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    configure(admin_port(directory, name), target, routes)
    return server


def admin_port(directory: Path, name: str = "gateway") -> int:
    """Where a gateway's Admin API listens."""
    port: int = json.loads((directory / name / "ports.json").read_text())["admin"]
    return port


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
        if answer.status not in (200, 201):
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
