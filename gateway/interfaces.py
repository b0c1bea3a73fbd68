"""The seams of the gateway: what plugins and stores provide.

Interfaces are looked up when a snapshot is compiled, never per request. What plugins are given
(``gateway.services``) can be had from here as well: their authors need one module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from zope.interface import Attribute, Interface

from gateway.core.exchange import Exchange, Reply
from gateway.core.explanation import Explanation
from gateway.services import (
    USUAL_KEEP,
    Batch,
    Batches,
    Breakers,
    Clock,
    Counters,
    CountersFailed,
    CounterSource,
    Deliver,
    HttpAnswer,
    HttpCallFailed,
    HttpCalls,
    KeepAlive,
    LineFile,
    LineFiles,
    PluginLog,
    PluginServices,
    PublicApi,
    Quota,
    RequestMetrics,
    Running,
    SendFailed,
    SocketCalls,
    UpstreamMaker,
    Window,
)

__all__ = [
    "USUAL_KEEP",
    "Batch",
    "Batches",
    "Breakers",
    "Clock",
    "CounterSource",
    "Counters",
    "CountersFailed",
    "Deliver",
    "Hook",
    "HttpAnswer",
    "HttpCallFailed",
    "HttpCalls",
    "IAccessPhase",
    "IBeforeProxyPhase",
    "IBodyFilterPhase",
    "IBodyTapPhase",
    "IConfigStore",
    "ICredentialFactory",
    "IExplainedHooks",
    "IHeaderFilterPhase",
    "ILogPhase",
    "INestingFactory",
    "IPluginFactory",
    "IPureHooks",
    "IRewritePhase",
    "ISharedSettings",
    "KeepAlive",
    "LineFile",
    "LineFiles",
    "PluginLog",
    "PluginServices",
    "PublicApi",
    "Quota",
    "RequestMetrics",
    "Running",
    "SendFailed",
    "SocketCalls",
    "UpstreamMaker",
    "Window",
]

Hook = Callable[[Exchange], "Reply | Coroutine[Any, Any, Reply | None] | None"]
"""A hook of the rewrite, access or before_proxy phase: None goes on, a ``Reply`` ends the request.

It is a plain function; where it has to wait it is ``async``."""


class IPluginFactory(Interface):
    """
    A plugin: its name, its settings' schema, and how to make an instance for one configuration.

    A module of ``gateway.plugins`` holds one as a module-level object that also provides
    ``twisted.plugin.IPlugin``; other distributions name one in the entry point group
    ``gateway.plugins``.
    """

    name = Attribute("The plugin's name in configuration: str, such as ``jwt-auth``.")
    version = Attribute("Its version: str, such as ``0.1``.")
    priority = Attribute("Its place within each phase: int; larger runs first.")
    kind = Attribute("``auth`` for plugins that say who a request comes from, else ``general``: str.")
    schema = Attribute("JSON Schema (draft 7) of its settings on routes, services and global rules: dict.")
    metadata_schema = Attribute("JSON Schema of its plugin metadata, or None.")
    secret_fields = Attribute("Names of top-level settings that are encrypted at rest: tuple of str.")

    def check(config: Mapping[str, Any]) -> None:
        """
        Check what the schema cannot say.

        Args:
            config: Settings that fit the schema; references (``$env://…``) are not resolved.
        Raises:
            ValueError: with the words for the user.
        """

    def make(config: Mapping[str, Any], services: PluginServices) -> object:
        """
        Make an instance for one configuration. Called when a snapshot is compiled.

        Args:
            config: Settings that passed the schema and ``check``, references resolved.
        Returns:
            An object that provides one or more of the phase interfaces.
        """


class ICredentialFactory(Interface):
    """What an auth plugin's factory provides besides ``IPluginFactory``."""

    credential_schema = Attribute("JSON Schema of its settings on a credential or consumer: dict.")
    credential_secret_fields = Attribute("Names of those settings that are encrypted at rest: tuple of str.")
    key_field = Attribute("Name of the setting that must be unique in the group, such as ``key``: str.")

    def check_credential(config: Mapping[str, Any]) -> None:
        """Check what the schema cannot say; raises ValueError with the words for the user."""

    def credential(config: Mapping[str, Any]) -> object:
        """
        Prepare a credential for use: import keys, decode secrets.

        Args:
            config: Settings that passed the schema and ``check_credential``, references resolved.
        Returns:
            A value the plugin's instances find as ``Identity.credential``.
        Raises:
            ValueError: the credential cannot be used; it is left out of the index.
        """


class INestingFactory(Interface):
    """What the factory of a plugin provides besides ``IPluginFactory`` if others stand in its settings."""

    nested_kind = Attribute("The kind they must be of, ``auth`` say: str; None if it does not matter.")
    nested_fault = Attribute("What a writer is told of one that is refused: str with {name} and {text}.")

    def nested(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """
        Find them, so that a writer is told what is wrong with them.

        Args:
            config: Settings that fit the schema and passed ``check``.
        Returns:
            Name and settings of each. ``make`` binds them with ``PluginServices.nested``.
        """


class IRewritePhase(Interface):
    """The first phase; authentication happens here."""

    def rewrite(exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """Return None to go on, or a ``Reply`` to end the request. May be ``async``."""


class IAccessPhase(Interface):
    """The second phase: every plugin's rewrite has run, the consumer's plugins are merged in."""

    def access(exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """As ``IRewritePhase.rewrite``."""


class IBeforeProxyPhase(Interface):
    """Just before each try at a node, retries included."""

    def before_proxy(exchange: Exchange) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """As ``IRewritePhase.rewrite``."""


class IHeaderFilterPhase(Interface):
    """The answer's head is known, nothing of it is sent yet."""

    def header_filter(exchange: Exchange) -> None:
        """Change ``exchange.status`` and ``exchange.response_fields``. Must not wait."""


class IBodyFilterPhase(Interface):
    """The answer's content passes by."""

    def body_filter(exchange: Exchange, data: bytes, last: bool) -> bytes:
        """
        Return what to send instead of *data*.

        Args:
            data: The next piece; may be empty when *last*.
            last: Whether nothing follows.
        """


class IBodyTapPhase(Interface):
    """The answer's content passes by as it is sent. Nothing of it can be changed."""

    def body_tap(exchange: Exchange, data: bytes) -> None:
        """Take note of a piece of content. Must not wait, and must bound what it keeps."""


class ILogPhase(Interface):
    """The request has ended, whatever way; ``exchange.outcome`` is set."""

    def log(exchange: Exchange) -> None:
        """Take note. Must not wait; errors are logged and otherwise ignored."""


class IPureHooks(Interface):
    """
    A marker: the instance's rewrite and access hooks touch nothing but the exchange.

    ``explain`` runs such hooks for real; of others it asks those that provide ``IExplainedHooks``, and lists
    the rest.
    """


class IExplainedHooks(Interface):
    """An instance that can say what its rewrite and access hooks would do with a request."""

    def explain(exchange: Exchange, phase: str) -> Explanation | Awaitable[Explanation]:
        """
        Say what a hook would do, and do nothing: count nothing, change nothing outside the exchange, ask
        nobody unless that is a read that harms nobody and has a time limit. May be ``async``.

        Args:
            exchange: Of nobody's request. It may be changed as the hook would change it.
            phase: Which hook is asked about, ``rewrite`` or ``access``.
        """


class IConfigStore(Interface):
    """
    Where configuration is kept: a log of revisions and the current view.

    All methods but ``describe`` return a Deferred. One process writes at a time.
    """

    def open() -> Any:
        """
        Open, creating what is missing. Fires with None.

        Raises:
            StoreUnavailable: it cannot be opened; the message says what to do.
        """

    def close() -> Any:
        """Let go of every resource. Fires with None. Closing twice is harmless."""

    def load() -> Any:
        """Read the current view. Fires with a ``StoreView``."""

    def commit(
        changes: Any, *, author: str, reason: str | None, at: float, expected: int | None = None
    ) -> Any:
        """
        Make *changes* in one atomic, durable step: all of them or none, and not lost once answered.

        Args:
            changes: A sequence of ``Change``; at least one; no key twice. A removal of what
                does not exist is an error.
            author: Who made them. reason: What they said about it.
            at: Unix time in seconds. ``Record.created_at`` is kept when a record is replaced.
            expected: If given, the revision the caller has seen last.
        Returns:
            Fires with the new ``Revision``: one above the last, ``before`` filled in.
        Raises:
            RevisionConflict: the store is not at *expected*; nothing was written.
            StoreUnavailable: nothing was written, or it is unknown and ``load`` will tell.
        """

    def history(
        *,
        group: str | None = None,
        kind: str | None = None,
        id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Any:
        """
        Read past revisions, newest first. Fires with a list of ``Revision``.

        Args:
            group, kind, id: Only revisions with a change that matches all given.
            before: Only revisions with a smaller number.
        """

    def as_of(revision: int) -> Any:
        """Read the view as it was at *revision*. Fires with a ``StoreView``; LookupError if there is none."""

    def describe() -> str:
        """Where it keeps things, in words for a log line; no secrets."""


class ISharedSettings(Interface):
    """What a plugin's factory provides besides ``IPluginFactory`` if places may share what it keeps."""

    def shared_name(config: Mapping[str, Any]) -> str | None:
        """
        Under which name a place shares.

        Args:
            config: Settings that fit the schema.
        Returns:
            All places with the same name must have the same settings; None for a place of its own.
        """
