"""What a plugin says that it would do with a request (``gateway.interfaces.IExplainedHooks``)."""

from __future__ import annotations

from attrs import frozen

from gateway.core.exchange import Reply


@frozen
class Explanation:
    """
    What a plugin would do with a request.

    Attributes:
        reply: The answer it would give; None if it would let the request pass.
        words: A line for people: why, how much is left, until when. Never a secret.
        sure: Whether that is what would happen. If it is not, because of chance or because somebody else
            would have to be asked, the rest is explained as for a request that passes.
    """

    reply: Reply | None
    words: str
    sure: bool = True


def in_seconds(seconds: float) -> str:
    """A span of time for people: ``600 s``, ``31.5 s``, ``0.25 s``."""
    if seconds >= 100:
        return f"{seconds:.0f} s"
    text = f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"
    return f"{text.rstrip('0').rstrip('.')} s"
