"""Waiting for a condition, for tests that would otherwise sleep for as long as it may take."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float, *, every: float = 0.02) -> None:
    """Return once `condition` holds; fail after so many `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(every)
