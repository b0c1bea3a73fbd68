"""A real gateway and a real upstream, each a child process on ports of the system's choice.

Everything here blocks: the children do the work, and no reactor runs in this process. What is waited
for is a fact (a file, a line, the end of a process), with a limit; nothing waits for time to pass.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.limits import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.01


def twistd() -> list[str]:
    """The command that starts ``twistd`` in this interpreter's environment."""
    script = Path(sys.executable).with_name("twistd")
    return (
        [str(script)]
        if script.exists()
        else [sys.executable, "-c", "import twisted.scripts.twistd as t; t.run()"]
    )


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a child: no GATEWAY_ variable of the user's, and this checkout first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def wait_for(fact: Callable[[], Any], what: str, explain: Callable[[], str] = lambda: "") -> Any:
    """Return what *fact* returns once that is true; AssertionError after ``LIMIT_S``."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {LIMIT_S:g} s for {what}\n{explain()}")
        time.sleep(POLL_S)
    return found


class GatewayProcess:
    """
    ``twistd gateway`` in a directory of its own.

    Attributes:
        directory: Its working directory. data_dir: Where it writes.
        pid: Of the process that serves, while it runs.
        ports: ``ports.json``, once it has started.
        descriptors: What it inherits.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: str = "",
        environ: Mapping[str, str] | None = None,
        daemon: bool = False,
        config: Path | None = None,
    ) -> None:
        """
        Args:
            settings: The ini file's text. config: Another file to use instead.
            environ: ``GATEWAY_`` variables besides those that choose free ports.
        """
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = self.directory / "var"
        self.config = config or self.directory / "gw.ini"
        if config is None:
            self.config.write_text(settings)
        self.environ = {
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
            "GATEWAY_APISIX_LISTEN": "127.0.0.1:0",
            "GATEWAY_PROXY_LISTEN": "127.0.0.1:0",
            "GATEWAY_PROXY_TLS_LISTEN": "",
            "GATEWAY_CONTROL_LISTEN": "",
            "GATEWAY_METRICS_LISTEN": "",
            **(environ or {}),
        }
        self.daemon = daemon
        self.pidfile = self.directory / "gateway.pid"
        self.logfile = self.directory / "gateway.log"
        self.output = self.directory / "output.txt"
        self.ports: dict[str, int] = {}
        self.pid = 0
        self.descriptors: tuple[int, ...] = ()
        self._child: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        """The command line that starts it."""
        mode = ["--logfile", str(self.logfile)] if self.daemon else ["-n"]
        return [
            *twistd(),
            *mode,
            "--pidfile",
            str(self.pidfile),
            "gateway",
            "--config",
            str(self.config),
            *arguments,
        ]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Start it and wait for the command to end: for ``--check``, daemons, and starts that must fail."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env=environment(self.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def start(self) -> GatewayProcess:
        """Start it and return once it listens."""
        ports = self.data_dir / "ports.json"
        before = _identity(ports)
        if self.daemon:
            ended = self.run()
            self.output.write_text(ended.stdout + ended.stderr)
            if ended.returncode != 0:
                raise AssertionError(f"the daemon did not start: {ended.returncode}\n{self.logs()}")
            self.pid = int(
                wait_for(lambda: self.pidfile.exists() and self.pidfile.read_text(), "the pid file")
            )
        else:
            with self.output.open("ab") as output:
                self._child = subprocess.Popen(
                    self.command(),
                    cwd=self.directory,
                    env=environment(self.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=self.descriptors,
                )
            self.pid = self._child.pid

        def listening() -> bool:
            if not self.running():
                raise AssertionError(f"the gateway ended before it listened\n{self.logs()}")
            now = _identity(ports)
            return now is not None and now != before

        wait_for(listening, "ports.json", self.logs)
        self.ports = json.loads(ports.read_text())
        return self

    def running(self) -> bool:
        """Whether the process that serves is there."""
        if self._child is not None:
            return self._child.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        # A daemon's parent is gone; where nobody reaps it, its remains are not running.
        try:
            return ") Z " not in Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return True

    def end(self, number: int = signal.SIGTERM) -> int | None:
        """Send a signal and return once the process is gone: its status, if we are its parent."""
        if self.pid and self.running():
            os.kill(self.pid, number)
            wait_for(lambda: not self.running(), "the gateway to end", self.logs)
        self.pid = 0
        return None if self._child is None else self._child.returncode

    def cleanup(self) -> None:
        """Leave no process behind, whatever the test did."""
        if self.pid and self.running():
            os.kill(self.pid, signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def logs(self) -> str:
        """Everything it wrote, for somebody who looks for the reason of a failure."""
        parts = []
        for path in (self.output, self.logfile):
            if path.exists():
                parts.append(f"--- {path.name}\n{path.read_text(errors='replace')}")
        return "\n".join(parts)

    @property
    def token(self) -> str:
        """The admin token: as given, or as the gateway wrote it."""
        return self.environ.get("GATEWAY_ADMIN_TOKEN") or (self.data_dir / "admin-token").read_text().strip()

    def admin(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """As ``AdminClient.call``, on a fresh connection."""
        with AdminClient(self) as client:
            return client.call(method, path, body)

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request to the data plane on a fresh connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["proxy"], timeout=LIMIT_S)
        try:
            return exchange(connection, method, path, body=body, headers=headers or {})
        finally:
            connection.close()


class Answer:
    """A response: ``status``, ``headers`` (lower-case names, last value), ``body``."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
) -> Answer:
    """One request on a connection that stays open."""
    connection.request(method, path, body=body, headers=dict(headers))
    response = connection.getresponse()
    return Answer(response.status, response.getheaders(), response.read())


class AdminClient:
    """One kept connection to the Admin API."""

    def __init__(self, gateway: GatewayProcess) -> None:
        context = ssl.create_default_context(cafile=str(gateway.data_dir / "admin.crt"))
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", gateway.ports["admin"], timeout=LIMIT_S, context=context
        )
        self._headers = {"X-API-KEY": gateway.token, "Content-Type": "application/json"}

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One call for the group ``default``. Returns status and JSON body."""
        content = None if body is None else json.dumps(body).encode()
        answer = exchange(
            self._connection,
            method,
            f"{path}?gateway_group_id=default",
            body=content,
            headers=self._headers,
        )
        return answer.status, json.loads(answer.body) if answer.body else None


class UpstreamProcess:
    """httpbin on a port of the system's choice."""

    def __init__(self, command: list[str] | None = None) -> None:
        """
        Args:
            command: Starts it; says ``http://127.0.0.1:<port>`` once it listens.
        """
        self.command = command or [
            sys.executable,
            "-m",
            "flask",
            "--app",
            "httpbin:app",
            "run",
            "--port",
            "0",
        ]
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> UpstreamProcess:
        """Start it and return once it listens."""
        self._child = subprocess.Popen(
            self.command,
            env=environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._child.stdout is not None
        said = b""
        descriptor = self._child.stdout.fileno()
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(rb"http://127\.0\.0\.1:([0-9]+)\s", said)):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(descriptor, 1 << 16) if ready else b""
            said += data
            if not data:
                self.cleanup()
                raise AssertionError(f"httpbin did not start: {said.decode(errors='replace')}")
        self.port = int(found.group(1))
        # Its log must not fill the pipe; nobody reads it from here on.
        self._drain = subprocess.Popen(["cat"], stdin=self._child.stdout, stdout=subprocess.DEVNULL)
        return self

    def cleanup(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            if self._child.stdout is not None:
                self._child.stdout.close()
        if (drain := getattr(self, "_drain", None)) is not None:
            drain.wait()


class EndToEndCase(SynchronousTestCase):
    """Tests with real processes. When one fails, what its gateways logged is printed."""

    def setUp(self) -> None:
        self.gateways: list[GatewayProcess] = []
        for tool in ("curl", "openssl"):
            self.assertIsNotNone(shutil.which(tool), f"these tests need {tool}; it is not installed")

    def run(self, result: Any) -> Any:
        fine = result.wasSuccessful()
        returned = super().run(result)
        if fine and not result.wasSuccessful():
            for gateway in self.gateways:
                print(f"\n=== {self.id()}: {gateway.directory}\n{gateway.logs()}", file=sys.stderr)
        return returned

    def gateway(self, **more: Any) -> GatewayProcess:
        """A gateway in a fresh directory, not started."""
        made = GatewayProcess(more.pop("directory", None) or Path(self.mktemp()), **more)
        self.gateways.append(made)
        self.addCleanup(made.cleanup)
        return made

    def upstream(self, command: list[str] | None = None) -> UpstreamProcess:
        """A started httpbin."""
        made = UpstreamProcess(command)
        self.addCleanup(made.cleanup)
        return made.start()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
