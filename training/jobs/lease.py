"""Leases a folder to one training process: claims with rising numbers, renewed by signs of life, else running out.

A lock of the kernel stays with a process that was stopped (SIGSTOP, a frozen machine) for as long as it exists, and a
process that waits for it cannot even say for which. Here the waiting process names the holder, and takes its place
once no sign of life has come for the lease's time, which is counted and not read off a clock. A holder that wakes up
late finds a newer claim than its own, and writes nothing any more.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from contracts.errors import TakenOver

PREFIX = "claim-"
#: Between two lines about the same wait, and between two looks at the claim.
TELL_EVERY_S, LOOK_EVERY_S = 15.0, 0.2


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that made a claim. Its number means something only on the same `machine`."""

    process: int
    began: float
    host: str
    machine: str
    since: str
    attempt: str

    @classmethod
    def this(cls, attempt: str) -> Holder:
        return cls(
            process=os.getpid(), began=psutil.Process().create_time(), host=socket.gethostname(), machine=_machine(),
            since=datetime.now(UTC).isoformat(timespec="seconds"), attempt=attempt,
        )  # fmt: skip

    @property
    def died(self) -> bool:
        """Whether it was a process of this machine that has ended."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.process)
            return process.create_time() != self.began or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, which has trained here since {self.since}"


@dataclass(frozen=True, kw_only=True)
class FoundClaim:
    """The newest claim of a folder, and its last sign of life: 0 when it was given back."""

    number: int
    holder: Holder
    sign: int


class Claim:
    """One process's right to write into a folder, until a newer claim is there."""

    def __init__(self, path: Path, number: int, lasts: float) -> None:
        self.path, self.number = path, number
        self._every = min(1.0, lasts / 5)
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Give a sign of life, at most every second. Raises TakenOver when another process has taken over."""
        if time.monotonic() - self._renewed >= self._every:
            self.demand()

    def demand(self) -> None:
        """Give a sign of life. Raises TakenOver unless this claim is the newest."""
        numbers = _numbers(self.path.parent)
        if not numbers or numbers[-1] != self.number:
            raise TakenOver(
                f"another process has taken this training over from process {os.getpid()}, which gave no sign of "
                "life for long; nothing of it is kept",
                remedy="nothing to do: the other process goes on",
            )
        os.utime(self.path)
        self._renewed = time.monotonic()

    def give_back(self) -> None:
        """Let the next process begin at once."""
        with suppress(OSError):
            os.utime(self.path, (0, 0))


def take(
    folder: Path, *, lasts: float, attempt: str, say: Callable[[str], object], every: float = TELL_EVERY_S
) -> Claim:
    """Claim `folder`: wait for its holder, say for which, and take over after `lasts` seconds without a sign of life.

    These are counted here: two clocks, or one that jumps, must not end a lease. `every`: seconds between two lines.
    """
    seen: tuple[int, int] | None = None
    heard = time.monotonic()
    said: float | None = None
    while True:
        found = newest(folder)
        if found is None or found.sign == 0 or found.holder.died:
            if (claim := _make(folder, (found.number if found else 0) + 1, lasts, attempt)) is not None:
                return claim
            continue
        if (found.number, found.sign) != seen:
            seen, heard = (found.number, found.sign), time.monotonic()
        silent = time.monotonic() - heard
        if silent >= lasts:
            say(f"takes over from {found.holder}: no sign of life for {silent:.0f} s")
            if (claim := _make(folder, found.number + 1, lasts, attempt)) is not None:
                return claim
            continue
        if said is None or time.monotonic() - said >= every:
            last = f", without a sign of life for {silent:.0f} s" if said is not None else ""
            say(f"waits for {found.holder}{last}; takes over when there is none for {lasts:.0f} s")
            said = time.monotonic()
        time.sleep(min(LOOK_EVERY_S, lasts / 5))


def newest(folder: Path) -> FoundClaim | None:
    """Read the newest claim of `folder`, of any process; None where there is none."""
    while numbers := _numbers(folder):
        path = _path(folder, numbers[-1])
        with suppress(FileNotFoundError):  # a newer one has just come, and removed it: look again
            return FoundClaim(
                number=numbers[-1], holder=Holder(**json.loads(path.read_text())), sign=path.stat().st_mtime_ns
            )
    return None


def _make(folder: Path, number: int, lasts: float, attempt: str) -> Claim | None:
    """Make a claim under this number, whole from the start; None when another process was faster."""
    path, draft = _path(folder, number), folder / f".{PREFIX}{uuid.uuid4().hex}.tmp"
    draft.write_text(json.dumps(asdict(Holder.this(attempt))))
    try:
        os.link(draft, path)
    except FileExistsError:
        return None
    finally:
        draft.unlink()
    numbers = _numbers(folder)
    if numbers[-1:] != [number]:  # the folder went on while this one slept, and its number had become free again
        path.unlink(missing_ok=True)
        return None
    for older in numbers[:-1]:
        _path(folder, older).unlink(missing_ok=True)
    return Claim(path, number, lasts)


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX))


def _path(folder: Path, number: int) -> Path:
    return folder / f"{PREFIX}{number:06d}"


def _machine() -> str:
    """Name the place where a process number is of one process: a host and its name space; containers have their own."""
    return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
