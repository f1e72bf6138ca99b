"""Fences a region: one that may not write any more is refused, also when it slept while it lost the right to.

The right is a lease with an end and an epoch (recovery/region_lease/lease.py). In the region it is kept twice, and
each writer asks the one at hand: a small file, for the engines' intake and the controller, whose end is measured by a
clock that goes on while a process or the whole machine sleeps; and a row in the region's database, which a trigger
reads before any row of the ledger is written. A region without either never had a lease: it is alone, and may write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine, text

from artifacts import state_file
from contracts.errors import Fenced
from contracts.settings import Settings

#: SQLSTATE with which the trigger refuses.
REFUSED = "CF001"
#: active: may write. draining: still answers, takes no writes. passive: another region is the active one.
RegionStanding = Literal["active", "draining", "passive"]

_STAMP = """
INSERT INTO region_fence (id, region, epoch, valid_until, told_at)
VALUES (1, :region, :epoch, CAST(:asked AS timestamptz) + make_interval(secs => :seconds),
        CASE WHEN :seconds > 0 THEN CAST(:asked AS timestamptz) END)
ON CONFLICT (id) DO UPDATE SET region = excluded.region, epoch = excluded.epoch, valid_until = excluded.valid_until,
    told_at = COALESCE(excluded.told_at, region_fence.told_at)
WHERE region_fence.epoch <= excluded.epoch
"""


def boottime() -> float:
    """Return the seconds since the machine started, those it was asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot() -> str:
    """Return the id of this start of the machine: `boottime` of another one says nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, kw_only=True)
class Right:
    """What a region may do, as of its last renewal; `until` in seconds of `boottime` of the start `boot`."""

    region: str
    epoch: int
    standing: RegionStanding
    until: float
    boot: str

    def lasts(self, now: float) -> bool:
        return self.boot == boot() and now < self.until


def path(s: Settings) -> Path:
    return s.paths.lease


def write_right(s: Settings, right: Right) -> None:
    """Replace the region's right, in one step."""
    state_file.write(path(s), asdict(right))


def read_right(s: Settings) -> Right | None:
    """Read the region's right; None if it never had a lease. A file that cannot be read is a right that has ended."""
    facts = state_file.read(path(s))
    if facts is None and not path(s).exists():
        return None
    try:
        return Right(**(facts or {}))
    except TypeError:
        return Right(region=s.region, epoch=0, standing="passive", until=0.0, boot="")


def stamp(engine: Engine, region: str, epoch: int, seconds: float) -> None:
    """Let rows of this epoch be written for so long from now, by the database's own clock; not at all at 0.

    A stamp of an epoch that is over changes nothing: a keeper may not know yet of the one that a restore began.
    Time spent waiting for the database is taken off: a process that slept in it must not renew a right that has ended.
    """
    until = boottime() + seconds
    with engine.begin() as connection:
        asked = connection.execute(text("SELECT clock_timestamp()")).scalar()
        left = max(until - boottime(), 0.0)
        connection.execute(text(_STAMP), {"region": region, "epoch": epoch, "seconds": left, "asked": asked})


class Fence:
    """Asked before a write is accepted, and once more before it is acknowledged."""

    def __init__(self, s: Settings, clock: Callable[[], float] = boottime) -> None:
        self._s = s
        self._clock = clock

    def demand(self) -> None:
        """Raise Fenced unless this region may write now."""
        right = read_right(self._s)
        if right is None or (right.standing == "active" and right.lasts(self._clock())):
            return
        if right.standing == "active":
            why, remedy = (
                "its lease ran out",
                "start the control group, which renews it, or write to the other region",
            )
        else:
            why, remedy = f"it is {right.standing}", "send it to the active region; `caravan region` names it"
        raise Fenced(f"the region {self._s.region} takes no writes: {why}", remedy=remedy)

    def answers(self) -> bool:
        """Say whether shoppers should be sent here."""
        right = read_right(self._s)
        return right is None or (right.standing != "passive" and right.lasts(self._clock()))
