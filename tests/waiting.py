"""Waits for a condition, for tests that would otherwise sleep for as long as it may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T | None],
    seconds: float,
    *,
    every: float = 0.02,
    otherwise: str | Callable[[], object] = "it does not come to that",
) -> T:
    """Return what `condition` gives once that holds; fail after so many `seconds`, with what `otherwise` says then."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(otherwise() if callable(otherwise) else otherwise)
        time.sleep(every)
    return found
