"""Measures how many milliseconds of one answer each stage took."""

from __future__ import annotations

from time import perf_counter


class StageWatch:
    """A stopwatch of one request, with laps by stage, in milliseconds."""

    __slots__ = ("_last", "_start", "ms")

    def __init__(self) -> None:
        self._start = self._last = perf_counter()
        self.ms: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End the lap of `stage`, which began with the end of the last one."""
        now = perf_counter()
        self.ms[stage] = round((now - self._last) * 1000.0, 3)
        self._last = now

    def total(self) -> dict[str, float]:
        """Return all laps, and `total`."""
        self.ms["total"] = round((perf_counter() - self._start) * 1000.0, 3)
        return self.ms
