"""Small parts of a compiled route: whether it tunnels, and the expressions in its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.expressions import ExpressionError, compile_expression
from gateway.core.merge import PluginUse
from gateway.core.regex_limits import compiling_for
from gateway.model.problems import ConfigErrors, Problem
from gateway.model.route import Route
from gateway.model.service import Service


def tunnels(route: Route, service: Service | None) -> bool:
    """``enable_websocket``: the route's if it says something, else the service's (data-plane contract §5)."""
    if route.enable_websocket is not None:
        return route.enable_websocket
    return service is not None and service.enable_websocket


def predicate(raw: Sequence[Any] | None, member: str, owner: str = "") -> Callable[..., bool] | None:
    """
    The expression of a route.

    Args:
        member: What it is called, for the error. owner: Whose it is.
    Raises:
        ConfigErrors: it cannot be evaluated.
    """
    if not raw:
        return None
    try:
        with compiling_for(f"{member} of {owner}"):
            return compile_expression(list(raw))
    except ExpressionError as error:
        text = f"failed to validate the '{member}' expression: {error}"
        raise ConfigErrors([Problem((member,), "expression", text)]) from error


def filter_of(use: PluginUse) -> Callable[..., bool] | None:
    """``_meta.filter`` of a plugin; None if there is none."""
    meta = use.config.get("_meta")
    raw = meta.get("filter") if isinstance(meta, Mapping) else None
    if not isinstance(raw, list):
        return None
    try:
        with compiling_for(f"_meta.filter of plugin {use.name} of {use.origin}"):
            return compile_expression(raw) if raw else None
    except ExpressionError:
        # A filter that cannot be evaluated lets the plugin run (data-plane contract §6).
        return None
