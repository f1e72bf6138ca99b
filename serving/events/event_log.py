"""Writes the event log: append-only JSON lines, on disk before they are acknowledged.

One thread writes. All lines that wait when it wakes go out in one write and one fsync (group commit), so durability
costs one disk flush per batch, not per event. Segments `<day>/<engine>-<time>-<n>.jsonl` change with the UTC day of
arrival and at a size, and are never opened again: a line torn by a crash can only be the last of its segment, and was
never acknowledged.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TypeVar

from contracts.errors import ServingError

log = logging.getLogger(__name__)

T = TypeVar("T")

SEGMENT_BYTES = 64 * 1024 * 1024
#: Longest time that lines stay in memory when no one waits for them.
LAZY_WRITE_S = 0.2
#: Lines in memory beyond this are refused: the disk does not keep up.
BACKLOG_BYTES = 64 * 1024 * 1024


def mark_started(future: Future[T]) -> Future[T]:
    """Make `future` one that cannot be cancelled: a caller who gives up waiting does not undo the work."""
    future.set_running_or_notify_cancel()
    return future


@dataclass
class _Pending:
    lines: bytes
    urgent: bool
    since: float = field(default_factory=monotonic)
    done: Future[None] = field(default_factory=lambda: mark_started(Future()))


class EventLog:
    """The log of one engine below `directory`. `append` may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        engine: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._sync = sync
        self._pending: deque[_Pending] = deque()
        self._backlog = 0
        self._oldest: float | None = None
        self._wake = threading.Condition()
        self._closing = False
        self._file: int | None = None
        self._day = ""
        self._size = 0
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    def append(self, lines: bytes, *, urgent: bool = True) -> Future[None]:
        """Write whole `lines`; the future ends when they are on disk, or with ServingError when they are not.

        Lines that are not urgent may wait up to LAZY_WRITE_S for others.
        """
        entry = _Pending(lines, urgent)
        with self._wake:
            if self._closing or self._backlog + len(lines) > BACKLOG_BYTES:
                why = "is closed" if self._closing else "is too far behind"
                entry.done.set_exception(ServingError(f"the event log {why}", remedy="send the events again later"))
                return entry.done
            self._pending.append(entry)
            self._backlog += len(lines)
            if urgent or len(self._pending) == 1:
                self._wake.notify()
        return entry.done

    @property
    def lag(self) -> float:
        """Age in seconds of the oldest lines that are not on disk; 0 when all are."""
        with self._wake:
            oldest = self._oldest if self._oldest is not None else self._pending[0].since if self._pending else None
        return 0.0 if oldest is None else monotonic() - oldest

    def close(self) -> None:
        """Write the waiting lines, then stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._write(b"".join(entry.lines for entry in batch))
            except OSError as error:
                log.error("the event log cannot be written: %s", error)
                problem = ServingError(f"the events could not be written: {error.strerror}", remedy="send them again")
                for entry in batch:
                    entry.done.set_exception(problem)
            else:
                for entry in batch:
                    entry.done.set_result(None)
            with self._wake:
                self._oldest = None
        self._close_segment()

    def _next_batch(self) -> list[_Pending]:
        """Return all waiting lines, as soon as a caller waits for one of them; empty when the log is closed."""
        with self._wake:
            while not self._closing:
                if any(entry.urgent for entry in self._pending):
                    break
                left = None
                if self._pending:
                    left = self._pending[0].since + LAZY_WRITE_S - monotonic()
                    if left <= 0:
                        break
                self._wake.wait(left)
            batch = list(self._pending)
            self._pending.clear()
            self._backlog = 0
            self._oldest = batch[0].since if batch else None
            return batch

    def _write(self, data: bytes) -> None:
        segment = self._open_segment()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(segment, view) :]
            self._sync(segment)
        except OSError:
            # lines that may be half on disk were not acknowledged; later ones go to a new segment
            self._close_segment()
            raise
        self._size += len(data)

    def _open_segment(self) -> int:
        """Return the segment of today, opened where there is none or a full one."""
        now = self._clock().astimezone(UTC)
        day = now.date().isoformat()
        if self._file is None or day != self._day or self._size >= self._segment_bytes:
            self._close_segment()
            folder = self._directory / day
            folder.mkdir(parents=True, exist_ok=True)
            # by the time, so that a region that was restored to its past never takes a name again
            number, name = 0, f"{self._engine}-{now:%H%M%S%f}"
            while True:
                path = folder / f"{name}-{number:02d}.jsonl"
                try:
                    self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
                    break
                except FileExistsError:  # another engine of this name
                    number += 1
            for parent in (folder, self._directory):
                _sync_folder(parent)
            self._day, self._size = day, 0
        return self._file

    def _close_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _sync_folder(path: Path) -> None:
    """Put a folder's entries on disk: only then do its new files survive a crash."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
