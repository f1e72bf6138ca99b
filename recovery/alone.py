"""One process at a time does a job that goes on where it was left; the kernel lets go when that process dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def alone(lock: Path, in_the_way: Callable[[], None], *, every: float = 2.0) -> Iterator[None]:
    """Hold `lock`. While another process has it, `in_the_way` is called every so many seconds; it may raise."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        while not _taken(file):
            in_the_way()
            time.sleep(every)
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
