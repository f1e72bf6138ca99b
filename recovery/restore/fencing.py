"""Denies the other region its writes before anything is restored, and opens the restored one afterwards."""

from __future__ import annotations

import time
from contextlib import closing

from artifacts import fence
from artifacts.database import engine as region_database
from artifacts.database import migrate
from artifacts.fence import RegionStanding, Right
from contracts.errors import RestoreRefused, StoreUnavailable
from contracts.region import other
from contracts.settings import Settings
from recovery.region_lease.lease import RegionLease
from recovery.restore.context import Restore

#: Seconds for which a restore without the control group may write; its lease daemon asks for a lease once it can.
UNTIL_CONTROL_IS_BACK = 10 * 365 * 86400.0
#: Seconds for which a restored database takes rows before a planned switch is done.
SWITCH = 1800.0
#: Seconds within which the global edge certainly sees that a region answers.
SEEN = 3.0


def active_epoch(s: Settings) -> int | None:
    """Return the epoch in which the region is active, or None: from the region lease, else from what it was last told.

    What it was told may be old: a region that was lost and is not up yet still believes it is active.
    """
    try:
        with closing(RegionLease.of(s)) as active:
            held = active.look()
        if held is not None:
            return held.epoch if held.region == s.region else None
    except StoreUnavailable:
        pass
    right = fence.read_right(s)
    return right.epoch if right is not None and right.standing == "active" else None


def fence_off(run: Restore) -> str:
    """Take the region lease and begin a new epoch: from here on the other region cannot write."""
    assert run.plan is not None  # noqa: S101 - chosen before
    if run.options.rehearsal:
        return "a rehearsal: the lease stays where it is"
    run.machine.start("keeper")
    try:
        with closing(RegionLease.of(run.s)) as active:
            if run.options.planned:
                return _drained(run, active)
            held = active.take_over(run.s.region, actor="recovery", reason=run.options.reason, tell=run.tell)
    except StoreUnavailable:
        run.plan["epoch"] = _without_control(run)
        return f"without the control group: epoch {run.plan['epoch']}"
    run.plan["epoch"] = held.epoch
    return f"{run.s.region} is the active region, epoch {held.epoch}"


def _drained(run: Restore, active: RegionLease) -> str:
    assert run.plan is not None  # noqa: S101 - chosen before
    held = active.look()
    if held is not None and held.region == run.s.region and held.epoch == run.plan.get("epoch"):
        return f"{run.s.region} is the active region already, epoch {held.epoch}"
    if held is None or not held.draining:
        raise RestoreRefused(
            f"{other(run.s.region)} still takes writes", remedy="a planned switch begins with `caravan fail-back`"
        )
    run.plan["epoch"] = held.epoch + 1
    return f"{held.region} takes no writes; epoch {held.epoch + 1} begins with the last step"


def hand_over(run: Restore) -> None:
    """Make the restored region the active one: the last step of a planned switch."""
    if not run.options.planned:
        return
    assert run.plan is not None  # noqa: S101 - chosen before
    away, epoch = other(run.s.region), int(run.plan["epoch"])
    # shoppers first: both regions answer, and neither takes writes, until the global edge has seen this one
    _tell(run.s, epoch - 1, "draining")
    time.sleep(SEEN)
    with closing(RegionLease.of(run.s)) as active:
        active.hand_over(away, run.s.region, epoch - 1, actor="recovery", reason=run.options.reason)
    _tell(run.s, epoch, "active")


def _tell(s: Settings, epoch: int, standing: RegionStanding) -> None:
    """Write what the region's lease daemon would tell it at its next look."""
    until = fence.boottime() + s.lease_seconds / 2
    fence.write_right(s, Right(region=s.region, epoch=epoch, standing=standing, until=until, boot=fence.boot()))


def _without_control(run: Restore) -> int:
    """Return the epoch that begins although nobody can deny the other region its lease. Raises RestoreRefused."""
    right, away = fence.read_right(run.s), other(run.s.region)
    known = max(run.choice.snapshot.epoch, right.epoch if right else 0)
    if known == 0:
        run.tell(f"leases were never in use: see to it that {away} stays down")
        return 0
    if not run.options.control_is_lost:
        raise RestoreRefused(
            f"the control group does not answer, so {away} cannot be denied its lease",
            remedy=f"start it; or, when it is lost too and {away} has been silent for {run.s.lease_seconds:.0f} s, "
            "`caravan recover --control-is-lost`",
        )
    if right is not None and right.standing == "active":
        return right.epoch
    lasting = Right(
        region=run.s.region, epoch=known + 1, standing="active", until=fence.boottime() + UNTIL_CONTROL_IS_BACK,
        boot=fence.boot(),
    )  # fmt: skip
    fence.write_right(run.s, lasting)
    return known + 1


def open_database(run: Restore) -> None:
    """Allow rows of the new epoch: the fence in the restored database is still that of the lost region."""
    epoch = (run.plan or {}).get("epoch")
    if not epoch:
        return
    right, database = fence.read_right(run.s), region_database(run.s)
    lasts = right.until - fence.boottime() if right and right.epoch == epoch else run.s.lease_seconds
    if run.options.planned:
        lasts = SWITCH  # its keeper tells it only once the epoch has begun
    migrate(database)  # the snapshot may be of a version without a fence
    fence.stamp(database, run.s.region, epoch, lasts)
