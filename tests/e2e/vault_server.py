"""A key-value engine of Vault, as far as a gateway asks it: ``python -m tests.e2e.vault_server FILE``.

It answers from a JSON file, name → members, which is read for each request, so that a test can change it.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "root"


class Handler(BaseHTTPRequestHandler):
    """Answers ``GET /v1/kv/<name>``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """One secret."""
        secrets = json.loads(Path(sys.argv[1]).read_text())
        found = secrets.get(self.path.removeprefix("/v1/kv/"))
        status, body = (200, {"data": found}) if found else (404, {"errors": []})
        if self.headers.get("X-Vault-Token") != TOKEN:
            status, body = 403, {"errors": ["permission denied"]}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port} ", flush=True)
    server.serve_forever()
