"""Work in small steps, so that whoever does it may do something else in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Each ``next`` does a step of a millisecond or so; what is made is the generator's return value."""


def at_once(steps: Steps[T]) -> T:
    """Do all of it, and return what was made. Raises what a step raises."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            made: T = ended.value
            return made
