"""Lets one process at a time run a resumable job; the kernel releases the lock when that process dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO


@contextmanager
def hold(lock: Path, in_the_way: Callable[[str], None], *, every: float = 2.0) -> Iterator[None]:
    """Hold `lock`; while another process has it, call `in_the_way` every `every` seconds with who that process is.

    `in_the_way` may raise to end the wait. The holder does work that must not run twice, so the lock is never taken
    over: whoever waits for a process that was suspended is told which process to end.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        while not _taken(file):
            file.seek(0)
            in_the_way(file.read().strip() or "unknown")
            time.sleep(every)
        file.truncate(0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}")
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
