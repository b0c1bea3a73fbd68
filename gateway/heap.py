"""What Python's garbage collector looks at."""

from __future__ import annotations

import gc


def settle() -> None:
    """
    Keep what there is now out of all further collections: to be called once, before the process serves.

    A full collection holds everything up while it looks at each object; modules, classes and the first
    configuration are many, and stay. What is freed by its count of references is freed all the same.
    """
    gc.collect()
    gc.freeze()
