"""``twistd gateway``: the command line. It checks the settings before a daemon goes into the background."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from twisted.application.service import IService
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
)
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions, UnixAppLogger

from gateway.errors import GatewayError, PluginLoadError, SettingsErrors
from gateway.reload import Source
from gateway.settings import Settings, load_settings

if TYPE_CHECKING:
    from gateway.registry import PluginRegistry

T = TypeVar("T")
log = Logger()


class Options(usage.Options):
    """
    The command line of ``twistd gateway``.

    Attributes:
        settings: The settings, once ``parseOptions`` has returned.
    """

    synopsis = "[options]"
    longdesc = (
        "An API gateway: an Admin API, and a data plane that proxies by its configuration. Settings are "
        "read from an ini file; GATEWAY_<SECTION>_<KEY> in the environment overrides a key."
    )
    optParameters = (("config", "c", "conf/gw.ini", "The settings file."),)
    optFlags = (("check", None, "Check the settings and the plugins, say what is wrong, and end."),)
    settings: Settings

    def postOptions(self) -> None:
        """Read the settings; ``--check`` ends the process here, and so do settings that are wrong."""
        self.settings = _or_exit(lambda: load_settings(self["config"], os.environ))
        if self["check"]:
            registry = _or_exit(lambda: _plugins(self.settings))
            for text in self.settings.warnings:
                print(f"warning: {text}", file=sys.stderr)
            print(f"configuration is fine ({self['config']}, {len(registry.names)} plugins)")
            raise SystemExit(0)
        _filter_log(self.parent, self.settings.log.level)
        if self.settings.proxy.engine == "lean":
            from gateway.http1.reactor import install

            # Does nothing where somebody has chosen a reactor (twistd --reactor).
            install()


def makeService(options: Options) -> IService:
    """
    Build the gateway.

    Args:
        options: Parsed; they hold the settings.
    Returns:
        The service that ``twistd`` starts and stops.
    Raises:
        SystemExit: with status 1 after the reasons went to standard error, one a line.
    """
    # The object graph brings the reactor in: not before it is needed.
    from twisted.internet import reactor

    from gateway.app import make_service

    for text in options.settings.warnings:
        log.warn("{text}", text=text)
    source = Source(os.path.abspath(options["config"]), dict(os.environ), _set_log_level)
    service: IService = _or_exit(lambda: make_service(options.settings, reactor, source))
    return service


def _plugins(settings: Settings) -> PluginRegistry:
    from gateway.bootstrap import check_formats
    from gateway.registry import load_plugins

    check_formats(settings)
    return load_plugins(settings.plugins.enabled)


def _or_exit(act: Callable[[], T]) -> T:
    try:
        return act()
    except SettingsErrors as error:
        _exit(error.problems)
    except PluginLoadError as error:
        _exit(str(error).split("; "))
    except GatewayError as error:
        _exit([str(error)])


def _exit(lines: Any) -> NoReturn:
    # Not usage.UsageError: twistd would print its whole help before the reason.
    for line in lines:
        print(f"gateway: {line}", file=sys.stderr)
    raise SystemExit(1)


_twistd: dict[str, Any] = {}
"""twistd's own options and our ``[log] level``, for ``filtered_observer``: twistd calls it without any."""


def _filter_log(parent: Any, level: str) -> None:
    # --logger names a factory, so ours has a name too. What the user chose with it stays, and
    # whatever runs us that is not twistd has its own way to filter.
    if isinstance(parent, ServerOptions) and parent.get("logger") is None:
        _twistd.update(options=parent, level=level)
        parent["logger"] = "gateway.tap.filtered_observer"


def _set_log_level(level: str) -> None:
    """Log from *level* on. Where somebody else made the observer, it is theirs to say."""
    predicate = _twistd.get("predicate")
    if predicate is not None:
        predicate.setLogLevelForNamespace("", LogLevel.levelWithName(level))


def filtered_observer() -> Any:
    """
    Make the log observer twistd would make by itself, without the events below ``[log] level``.

    Returns:
        A provider of ``twisted.logger.ILogObserver``.
    """
    # The one place that knows twistd's files, rotation by SIGUSR1 and syslog.
    made = UnixAppLogger({**_twistd["options"], "logger": None})._getLogObserver()
    stock = made if ILogObserver.providedBy(made) else LegacyLogObserverWrapper(made)
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.levelWithName(_twistd["level"]))
    _twistd["predicate"] = predicate
    return FilteringLogObserver(stock, [predicate])
