"""Shows how far a long run has come: a bar on a terminal, a line every few seconds in a task log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24
LINE_EVERY_S, REDRAW_EVERY_S = 5.0, 0.2


class ProgressBar:
    """Draws at most one line per interval, on standard output unless another `stream` is given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._interval = REDRAW_EVERY_S if self._terminal else LINE_EVERY_S
        self._drawn = self._since = time.monotonic()
        self._events = 0
        self._open = False

    def step(self, label: str, done: int, total: int, loss: float, events: int) -> None:
        """Count one batch of `events` interactions, the `done`-th of `total`."""
        self._events += events
        now = time.monotonic()
        if now - self._drawn < self._interval and done < total:
            return
        elapsed = max(1e-6, now - self._since)
        filled = int(WIDTH * done / max(1, total))
        line = (
            f"{label} [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total}"
            f"  loss {loss:.4f}  {self._events / elapsed:,.0f} events/s"
        )
        self._events, self._since, self._drawn = 0, now, now
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._open = self._terminal
        self._stream.flush()

    def say(self, line: str) -> None:
        """Write a line of its own."""
        self._stream.write(f"\r\x1b[K{line}\n" if self._open else f"{line}\n")
        self._open = False
        self._stream.flush()
