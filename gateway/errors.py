"""
Every exception the gateway raises on purpose:

    GatewayError
     ├─ SettingsErrors       gw.ini or the environment is wrong; all problems together
     ├─ PluginLoadError      an enabled plugin is missing, broken or provided twice
     ├─ StoreUnavailable     the configuration store cannot be reached or written
     └─ RevisionConflict     somebody else committed first
    ConfigErrors             a document is not acceptable (a ValueError; gateway.model.problems)

The data plane raises none of them: there, outcomes are values (``gateway.core.exchange.Reply``).
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.problems import ConfigErrors as ConfigErrors
from gateway.model.problems import Problem as Problem


class GatewayError(Exception):
    """The root of the tree."""


class SettingsErrors(GatewayError):
    """
    Settings are wrong.

    Attributes:
        problems: One line each, ``[section] key: what is wrong``; never empty.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class PluginLoadError(GatewayError):
    """The enabled plugins cannot all be had; the text names each and why. The gateway does not start."""


class StoreUnavailable(GatewayError):
    """The store cannot be used now; the text says what was tried and what to do."""


class RevisionConflict(GatewayError):
    """
    The store moved on since the writer looked.

    Attributes:
        expected: The revision the writer had seen. actual: The store's.
    """

    def __init__(self, expected: int, actual: int) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"expected revision {expected}, the store is at {actual}")
