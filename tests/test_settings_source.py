"""Where settings come from: the file's and the environment's texts, and what stands in the wrong place."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.settings_source import Sources, read_environment, read_file, variable_of

KNOWN = {"admin": ("listen", "token"), "proxy": ("listen", "workers"), "log": ("access_format",)}


class FileTests(SynchronousTestCase):
    """``read_file``."""

    def read(self, content: str | bytes) -> Sources:
        self.path = Path(self.mktemp())
        self.path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_file(self.path, KNOWN)

    def texts(self, content: str) -> dict[tuple[str, str], str]:
        sources = self.read(content)
        self.assertEqual(sources.problems, [])
        return {place: given.text for place, given in sources.given.items()}

    def test_values_are_taken_as_they_are(self) -> None:
        """Percent and dollar signs, quotes and colons mean nothing special."""
        line = '$a "%(x)s" %% ${b:c} a=b http://x/#y;z'
        self.assertEqual(self.texts(f"[log]\naccess_format = {line}\n"), {("log", "access_format"): line})

    def test_comments(self) -> None:
        """Comments may stand on their own line or after a space."""
        content = "# one\n; two\n[proxy] ; three\nworkers = 2 # four\nlisten =   ; five\n"
        self.assertEqual(self.texts(content), {("proxy", "workers"): "2", ("proxy", "listen"): ""})

    def test_lists_over_lines(self) -> None:
        """An indented line goes on with the value above it."""
        content = "[proxy]\nlisten = 127.0.0.1:1\n    127.0.0.1:2\n"
        self.assertEqual(self.texts(content), {("proxy", "listen"): "127.0.0.1:1\n127.0.0.1:2"})

    def test_letter_case_of_keys(self) -> None:
        """Keys may be written in any letter case."""
        self.assertEqual(self.texts("[proxy]\nWorkers = 1\n"), {("proxy", "workers"): "1"})

    def test_byte_order_mark(self) -> None:
        """An editor's byte order mark does no harm."""
        self.assertEqual(self.read("\ufeff[proxy]\nworkers = 1\n").problems, [])

    def test_default_section_is_not_special(self) -> None:
        """[DEFAULT] is as unknown as any other section."""
        self.assertIn("[DEFAULT]: no such section", self.read("[DEFAULT]\nworkers = 1\n").problems[0])

    def test_slips_are_all_told(self) -> None:
        """Unknown sections and keys are told together, each with a likely word."""
        sources = self.read(
            "[prox]\nworkers = 1\n[proxy]\nworkrs = 1\ntoken = x\nzzz = 1\n[admin]\nlisten = a:1\n"
        )
        self.assertEqual(
            sources.problems,
            [
                "[prox]: no such section; did you mean [proxy]?",
                "[proxy] workrs: no such key; did you mean workers?",
                "[proxy] token: no such key; it belongs in [admin]",
                "[proxy] zzz: no such key",
            ],
        )
        self.assertEqual(
            {place: one.text for place, one in sources.given.items()}, {("admin", "listen"): "a:1"}
        )

    def test_broken_lines_are_named_and_not_repeated(self) -> None:
        """A line that is no setting is named by its number; its text may be a secret and is not shown."""
        sources = self.read("[admin]\ntoken hunter2\n[proxy]\nworkrs = 1\njunk\n")
        self.assertEqual(
            sources.problems,
            [
                f"{self.path}, line 2: is not 'key = value'",
                f"{self.path}, line 5: is not 'key = value'",
                "[proxy] workrs: no such key; did you mean workers?",
            ],
        )

    def test_repeats(self) -> None:
        """A key or a section that is there twice is a problem, and the rest is checked all the same."""
        sources = self.read("[proxy]\nworkers = 1\nworkers = 2\nworkrs = 1\n")
        self.assertEqual(
            sources.problems,
            [
                f"[proxy] workers: is given twice ({self.path}, line 3)",
                "[proxy] workrs: no such key; did you mean workers?",
            ],
        )
        sources = self.read("[proxy]\nworkers = 1\n[proxy]\nlisten = x\n")
        self.assertEqual(sources.problems, [f"[proxy]: is there twice ({self.path}, line 3)"])

    def test_before_the_first_section(self) -> None:
        """A key before any section is named by its line."""
        self.assertEqual(
            self.read("workers = 1\n[proxy]\n").problems,
            [f"{self.path}, line 1: stands before the first [section]"],
        )

    def test_files_that_cannot_be_read(self) -> None:
        """A missing file, a directory and a file that is no text are problems, not tracebacks."""
        self.assertIn(
            "no such file; give another with --config", read_file(Path("gone.ini"), KNOWN).problems[0]
        )
        directory = Path(self.mktemp())
        directory.mkdir()
        self.assertIn("cannot be read", read_file(directory, KNOWN).problems[0])
        self.assertIn("not UTF-8", self.read(b"[proxy]\nworkers = \xff\n").problems[0])


class EnvironmentTests(SynchronousTestCase):
    """``read_environment``."""

    def test_names(self) -> None:
        """A key's variable is GATEWAY_, its section, and the key, in capitals."""
        self.assertEqual(variable_of("log", "access_format"), "GATEWAY_LOG_ACCESS_FORMAT")

    def test_overrides(self) -> None:
        """Known names are taken, an empty one too; they remember where they came from."""
        sources = read_environment(
            {"GATEWAY_PROXY_WORKERS": " 2 ", "GATEWAY_ADMIN_TOKEN": "", "PATH": "/bin"}, KNOWN
        )
        self.assertEqual(sources.problems, [])
        self.assertEqual(
            {place: (one.text, one.variable) for place, one in sources.given.items()},
            {
                ("proxy", "workers"): ("2", "GATEWAY_PROXY_WORKERS"),
                ("admin", "token"): ("", "GATEWAY_ADMIN_TOKEN"),
            },
        )

    def test_slips(self) -> None:
        """A slip in a name is a problem that shows the right one."""
        sources = read_environment({"GATEWAY_PROXY_WORKRS": "2", "GATEWAY_PRXY_WORKERS": "2"}, KNOWN)
        self.assertEqual(
            sources.problems,
            [
                "[proxy] workrs: no such key; did you mean GATEWAY_PROXY_WORKERS?"
                " (from the environment variable GATEWAY_PROXY_WORKRS)",
                "GATEWAY_PRXY_WORKERS: no such setting; did you mean GATEWAY_PROXY_WORKERS?",
            ],
        )

    def test_names_of_others(self) -> None:
        """What a container platform sets for a service called gateway-admin is not ours."""
        sources = read_environment(
            {
                "GATEWAY_SERVICE_HOST": "10.0.0.1",
                "GATEWAY_PORT": "tcp://10.0.0.1:80",
                "GATEWAY_ADMIN_PORT_7443_TCP": "tcp://10.0.0.1:7443",
                "GATEWAY_ADMIN_PORT_7443_TCP_ADDR": "10.0.0.1",
                "GATEWAY_ADMIN_SERVICE_PORT_HTTPS": "7443",
                "GATEWAY_INTERFACE": "CGI/1.1",
            },
            KNOWN,
        )
        self.assertEqual((sources.problems, sources.given), ([], {}))

    def test_secrets_are_not_shown(self) -> None:
        """The texts that were read are in no repr."""
        sources = read_environment({"GATEWAY_ADMIN_TOKEN": "hunter2"}, KNOWN)
        self.assertNotIn("hunter2", repr(sources))
