"""Why a request of the Admin API is refused, whatever the dialect; renderers find the words."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.problems import Problem


class Refusal(Exception):
    """The root: the request is understood and not done. Nothing was written."""


class NotFound(Refusal):
    """
    What the path names is not there.

    Attributes:
        what: ``resource``, ``consumer``, ``gateway group`` …
    """

    def __init__(self, what: str = "resource") -> None:
        self.what = what
        super().__init__(f"{what} not found")


class Invalid(Refusal):
    """
    The document is not acceptable.

    Attributes:
        kind: The kind of resource it should be.
        problems: Every problem found; paths are relative to the document.
    """

    def __init__(self, kind: str, problems: Sequence[Problem]) -> None:
        self.kind = kind
        self.problems = tuple(problems)
        super().__init__(kind)


class BadParameter(Refusal):
    """
    A query parameter is missing or cannot be used.

    Attributes:
        name: Its name. reason: What is wrong with it.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f'parameter "{name}" in query has an error: {reason}')


class BadBody(Refusal):
    """The content cannot be read; the text says why."""


class Forbidden(Refusal):
    """The request makes no sense for this resource, such as deleting what is built in."""


class Stale(Refusal):
    """A precondition does not hold: the resource changed, or is (not) there."""

    def __init__(self) -> None:
        super().__init__("the resource is not at the revision that If-Match or If-None-Match names")


class NotAllowed(Refusal):
    """
    The path is known, the method is not for it.

    Attributes:
        allowed: The methods that are.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__("method not allowed")


class TooLarge(Refusal):
    """
    The content is longer than the limit.

    Attributes:
        limit: In bytes. size: Bytes of the content, as far as it is known.
    """

    def __init__(self, limit: int, size: int = 0) -> None:
        self.limit = limit
        self.size = size
        super().__init__(f"invalid request body: more than {limit} bytes")


class UnsupportedType(Refusal):
    """The content says that it is no JSON."""

    def __init__(self, type: str) -> None:
        super().__init__(f"content of the type {type[:100]} is not understood: send application/json")


class Unauthorized(Refusal):
    """No valid credential came with the request."""

    def __init__(self) -> None:
        super().__init__("unauthorized")


class Denied(Refusal):
    """The sender is known, and may not do this."""


class TooMany(Refusal):
    """
    Too many attempts failed; the next one has to wait.

    Attributes:
        wait_s: For how long.
    """

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__("too many failed attempts")
