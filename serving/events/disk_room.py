"""Keeps a reserve of the disk free: below it, writes that shoppers cause are refused, and people are told.

Database, online store and object store share the disk with the logs, and none of them survives a full one. Once the
reserve was touched, writes are taken again only when there is a quarter more than it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from contracts.errors import ServingError

#: Seconds between two looks at the disk.
LOOK_EVERY_S = 1.0
#: Part of the reserve that must be free before writes are taken again.
_AGAIN = 1.25
_MB = 1 << 20


class DiskFull(ServingError):
    """The disk has no room but its reserve."""


class DiskRoom:
    """Watches the disk that `folder` is on; `reserve_mb` MB of it stay free. May be asked from any thread."""

    def __init__(
        self,
        folder: Path,
        reserve_mb: int,
        *,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._reserve = reserve_mb * _MB
        self._free = free
        self._clock = clock
        self._looked = float("-inf")
        self._full = False
        self.free_mb = 0

    @property
    def full(self) -> bool:
        """Whether writes are refused now."""
        if self._reserve and self._clock() - self._looked >= LOOK_EVERY_S:
            self._looked = self._clock()
            try:
                left = self._free(self._folder)
            except OSError:
                return self._full  # the folder is gone: who writes finds out
            self.free_mb = left // _MB
            self._full = left < self._reserve * (_AGAIN if self._full else 1.0)
        return self._full

    def demand(self) -> None:
        """Raise DiskFull unless there is room for more."""
        if self.full:
            raise DiskFull(
                "the disk is nearly full: no events are taken",
                remedy="send them again later; on-call: `caravan sweep` shows what may go",
            )
