"""The command line of ``twistd gateway``, without starting anything."""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.application.service import IServiceMaker, Service
from twisted.logger import FilteringLogObserver, LogLevel, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from gateway import registry, tap
from gateway.errors import PluginLoadError, SettingsErrors, StoreUnavailable
from gateway.settings import settings_from


class Case(SynchronousTestCase):
    """What the tests below share."""

    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        for name in [name for name in tap.os.environ if name.startswith("GATEWAY_")]:
            self.patch(tap.os, "environ", {k: v for k, v in tap.os.environ.items() if k != name})

    def config(self, content: str) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_text(content)
        return str(path)

    def parse(self, content: str, *arguments: str) -> tap.Options:
        options = tap.Options()
        options.parseOptions(["--config", self.config(content), *arguments])
        return options

    def status(self, content: str, *arguments: str) -> Any:
        return self.assertRaises(SystemExit, self.parse, content, *arguments).code


class OptionsTests(Case):
    """``Options``."""

    def test_default_file(self) -> None:
        """Without --config the settings are in conf/gw.ini below the working directory."""
        self.assertEqual(tap.Options()["config"], "conf/gw.ini")

    def test_settings(self) -> None:
        """The file's settings are read when the command line is; -c is short for --config."""
        self.assertEqual(self.parse("[proxy]\nmax_headers = 7\n").settings.proxy.max_headers, 7)
        options = tap.Options()
        options.parseOptions(["-c", self.config("")])
        self.assertEqual(options.settings, settings_from({}))

    def test_environment(self) -> None:
        """The environment overrides the file."""
        self.patch(tap.os, "environ", {"GATEWAY_PROXY_MAX_HEADERS": "9"})
        self.assertEqual(self.parse("[proxy]\nmax_headers = 7\n").settings.proxy.max_headers, 9)

    def test_problems(self) -> None:
        """Wrong settings are told one a line on standard error, the exit status is 1."""
        self.assertEqual(self.status("[proxy]\nworkers = x\nnope = 1\n"), 1)
        self.assertEqual(
            self.err.getvalue().splitlines(),
            [
                "gateway: [proxy] nope: no such key",
                "gateway: [proxy] workers: must be a whole number or auto, not 'x'",
            ],
        )
        self.assertEqual(self.out.getvalue(), "")

    def test_missing_file(self) -> None:
        """A file that is not there is told."""
        options = tap.Options()
        self.assertEqual(
            self.assertRaises(SystemExit, options.parseOptions, ["--config", "gone.ini"]).code, 1
        )
        self.assertIn("gateway: gone.ini: no such file", self.err.getvalue())


class CheckTests(Case):
    """``--check``."""

    def plugins(self, load: Any) -> None:
        self.patch(registry, "load_plugins", load)

    def test_fine(self) -> None:
        """Good settings and plugins: it says so, and the exit status is 0."""
        self.plugins(lambda enabled: registry.PluginRegistry(()))
        self.assertEqual(self.status("", "--check"), 0)
        self.assertIn("configuration is fine", self.out.getvalue())
        self.assertEqual(self.err.getvalue(), "")

    def test_nothing_is_made(self) -> None:
        """A check leaves nothing behind: no data directory, no token."""
        self.plugins(lambda enabled: registry.PluginRegistry(()))
        data_dir = Path(self.mktemp()).absolute()
        self.assertEqual(self.status(f"[gateway]\ndata_dir = {data_dir}\n", "--check"), 0)
        self.assertFalse(data_dir.exists())

    def test_warnings(self) -> None:
        """What is probably a mistake is said, and is no failure."""
        self.plugins(lambda enabled: registry.PluginRegistry(()))
        self.assertEqual(self.status("[apisix]\nadmin_key = some-key\n", "--check"), 0)
        self.assertIn("warning: [apisix]", self.err.getvalue())

    def test_access_format(self) -> None:
        """A variable of the access log that means nothing is told, the exit status is 1."""
        self.plugins(lambda enabled: registry.PluginRegistry(()))
        self.assertEqual(self.status("[log]\naccess_format = $status $nonsense\n", "--check"), 1)
        self.assertIn("[log] access_format: ", self.err.getvalue())
        self.assertIn("nonsense", self.err.getvalue())

    def test_plugins(self) -> None:
        """A plugin that is enabled and cannot be loaded is told, the exit status is 1."""

        def load(enabled: Any) -> Any:
            self.assertEqual(enabled, ("a", "b"))
            raise PluginLoadError("plugin a is enabled but not installed; plugin b is broken: x")

        self.plugins(load)
        self.assertEqual(self.status("[plugins]\nenabled = a, b\n", "--check"), 1)
        self.assertEqual(
            self.err.getvalue().splitlines(),
            ["gateway: plugin a is enabled but not installed", "gateway: plugin b is broken: x"],
        )

    def test_problems(self) -> None:
        """Wrong settings fail the check."""
        self.assertEqual(self.status("[proxy]\nworkers = x\n", "--check"), 1)


class MakeServiceTests(Case):
    """``makeService``."""

    def app(self, make_service: Any) -> None:
        module: Any = ModuleType("gateway.app")
        module.make_service = make_service
        self.patch(sys, "modules", {**sys.modules, "gateway.app": module})

    def test_built_from_the_settings(self) -> None:
        """The application is built from the settings that were checked, with the process's reactor."""
        import twisted.internet

        service = Service()
        given: list[Any] = []

        def make_service(*arguments: Any) -> Service:
            given.extend(arguments)
            return service

        self.app(make_service)
        options = self.parse("")
        self.assertIs(tap.makeService(options), service)
        self.assertEqual(given[:2], [options.settings, twisted.internet.reactor])
        # And from where they can be read again.
        self.assertEqual(given[2].path, os.path.abspath(options["config"]))
        self.assertEqual(given[2].load(), options.settings)

    def test_reasons_without_a_traceback(self) -> None:
        """What stops the start is told one a line, the exit status is 1."""
        for error, lines in (
            (SettingsErrors(["[gateway] data_dir: a", "[admin] token: b"]), 2),
            (PluginLoadError("plugin a is broken"), 1),
            (StoreUnavailable("another gateway holds var/gateway.db"), 1),
        ):
            self.err.truncate(0)
            self.err.seek(0)

            def make_service(*arguments: Any, error: Exception = error) -> Any:
                raise error

            self.app(make_service)
            options = self.parse("")
            self.assertEqual(self.assertRaises(SystemExit, tap.makeService, options).code, 1)
            written = self.err.getvalue().splitlines()
            self.assertEqual(len(written), lines)
            self.assertTrue(all(line.startswith("gateway: ") for line in written), written)

    def test_bugs_keep_their_traceback(self) -> None:
        """An error nobody foresaw is not hidden."""

        def make_service(*arguments: Any) -> Any:
            raise ZeroDivisionError

        self.app(make_service)
        self.assertRaises(ZeroDivisionError, tap.makeService, self.parse(""))

    def test_warnings_are_logged(self) -> None:
        """What the settings warn about is in the log."""
        self.app(lambda *arguments: Service())
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        tap.makeService(self.parse("[apisix]\nadmin_key = some-key\n"))
        texts = [event.get("text", "") for event in events if event.get("log_namespace") == "gateway.tap"]
        self.assertEqual(len(texts), 1)
        self.assertIn("[apisix]", texts[0])


class LogLevelTests(Case):
    """``[log] level`` under twistd."""

    def logged(self, content: str, *arguments: str) -> str:
        options = ServerOptions()
        path = str(Path(self.mktemp()).absolute())
        options.parseOptions(["--logfile", path, *arguments, "gateway", "--config", self.config(content)])
        observer = options["logger"]()
        self.assertIsInstance(observer, FilteringLogObserver)
        for level in LogLevel.iterconstants():
            event = {"log_level": level, "log_namespace": "a.b", "log_format": f"one {level.name}"}
            observer({**event, "log_time": 0.0})
        return Path(path).read_text()

    def test_least_level(self) -> None:
        """What is below the level is not written; the log file is the one twistd was told."""
        written = self.logged("[log]\nlevel = warn\n")
        self.assertEqual(
            [word for word in ("debug", "info", "warn", "error") if word in written], ["warn", "error"]
        )
        self.assertIn("one debug", self.logged("[log]\nlevel = debug\n"))

    def test_own_logger_stays(self) -> None:
        """A log observer named with --logger is used as it is."""
        options = ServerOptions()
        options.parseOptions(
            ["--logger", "twisted.logger.LogPublisher", "gateway", "--config", self.config("")]
        )
        from twisted.logger import LogPublisher

        self.assertIs(options["logger"], LogPublisher)


class PluginTests(Case):
    """What twistd finds."""

    def test_found(self) -> None:
        """twistd has a subcommand called gateway, once, and it is this module's."""
        makers: Any = getPlugins(IServiceMaker)  # type: ignore[type-abstract]
        found = [maker for maker in makers if maker.tapname == "gateway"]
        self.assertEqual(len(found), 1)
        self.assertEqual((found[0].options, found[0].makeService), (tap.Options, tap.makeService))
