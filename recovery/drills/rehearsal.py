"""Rehearses a failover: restores the passive region as if the active one were lost, and compares their answers.

The region lease stays where it is, and the restored region stays closed. Nothing is taken from the active region but
its answers to compare with, and no shopper notices, unless the fault says so (recovery/drills/faults.py). The result is
scored, written as a page and kept beside the snapshots.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from artifacts import fence
from artifacts.database import engine as region_database
from artifacts.ledger import Ledger
from artifacts.tables import fence as fence_table
from contracts.errors import ArtifactError, CaravanError, RecoveryError, RestoreRefused, StoreUnavailable
from contracts.recovery import Fault, RestoreStep
from contracts.region import other
from contracts.settings import Settings
from monitoring.alerts import tell as alert
from recovery.drills import probe_queries
from recovery.drills.faults import FAULTS, inject
from recovery.drills.report import Score, read_scores, write_score
from recovery.failback.reconcile import reconcile
from recovery.file_lock import hold
from recovery.machine import Machine
from recovery.region_lease.lease import RegionLease
from recovery.restore import resume, suspended
from recovery.restore.context import Progress, silent
from recovery.restore.options import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore import restore
from recovery.shipping import event_log
from recovery.snapshots.create import create
from recovery.vault.catalog import Catalog
from recovery.vault.vault import Vault, with_own_vault

#: Seconds after which the last rehearsal is too old: one a week, and a day to repair a failed one.
OVERDUE = 8 * 86400.0
#: Seconds within which the replicator certainly sends what was acknowledged before: two of its looks at the event log.
SENT = 6.0


def rehearse(
    target: Settings,
    machine: Machine,
    others: Machine,
    *,
    fault: str = Fault.NOTHING,
    count: int = 200,
    human_actions: int = 1,
    progress: Progress = silent,
) -> tuple[Score, Path]:
    """Restore `target.region` and compare answers; return the score, which lists what is wrong, and the page's path.

    Raises RestoreRefused when the region is the active one, and what a restore raises, after alerting.
    """
    active = target.of_region(other(target.region))
    right = fence.read_right(target)
    if right is not None and right.standing != "passive":
        raise RestoreRefused(
            f"{target.region} is the active region: a rehearsal would replace it",
            remedy=f"rehearse the region {active.region} instead",
        )
    with hold(suspended.path(active).with_suffix(".lock"), _another):
        if again := suspended.start_again(active, others):
            progress("rehearsal", f"started {', '.join(again)}: a rehearsal that was killed had stopped them", 0.0)
        try:
            if _has_its_own(target):
                machine.start("s3", "redis", "postgres")
                brought = reconcile(target, active, actor="rehearsal", tell=lambda _what: None)
                progress("rehearsal", f"{target.region} was the active region: {brought} first", 0.0)
            score = _rehearsed(active, target, machine, others, fault, count, human_actions, progress)
        except CaravanError as error:
            alert(active, part="recovery", severity="critical", text=f"the rehearsal failed: {error.what}")
            raise
    page = write_score(score, folder(target))
    if failures := score.failures():
        alert(active, part="recovery", severity="critical", text=f"the rehearsal failed: {failures[0]} (see {page})")
    with suppress(ArtifactError):
        vault = Vault.of(with_own_vault(target))
        for path in (page, page.with_suffix(".json")):
            vault.store.put(f"rehearsals/{path.name}", path.read_bytes())
    return score, page


def _has_its_own(target: Settings) -> bool:
    """Check whether the region was active since its last restore: what it accepted then may be nowhere else."""
    if fence.read_right(target) is None:
        return False  # there never was a lease
    try:
        with closing(RegionLease.of(target)) as active:
            epochs = active.history()
    except StoreUnavailable:
        return True  # doing it again adds nothing
    ends = [after["since"] for one, after in pairwise(epochs) if one["region"] == target.region]
    last = resume.read_state(target)
    if not ends or last is None or not resume.has_replaced(last):
        return bool(ends)
    return bool(datetime.fromisoformat(last.began_at) < max(ends))


def _another(who: str) -> None:
    """Refuse a second rehearsal: it must not start what the running one has stopped. Raises RestoreRefused."""
    raise RestoreRefused(f"another rehearsal is under way ({who})", remedy="wait until it is done")


def folder(s: Settings) -> Path:
    """Return the folder of the pages: beside both regions, so that neither region's snapshots include it."""
    return s.home / "rehearsals"


def overdue(s: Settings, now: datetime | None = None) -> str | None:
    """Return what to tell the on-call engineer when the last good rehearsal was too long ago, else None."""
    good = [facts for facts in read_scores(folder(s)) if not facts["failures"]]
    if not good:
        return "no rehearsal has shown yet that this region can be restored"
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(str(good[0]["at"]))
    if age.total_seconds() <= OVERDUE:
        return None
    return f"the last rehearsal that went well was {age.days} days ago"


def _rehearsed(
    active: Settings, target: Settings, machine: Machine, others: Machine, fault: str, count: int,
    human_actions: int, progress: Progress,
) -> Score:  # fmt: skip
    vault, began = Vault.of(with_own_vault(target)), time.monotonic()

    def tell(what: str) -> None:
        progress("rehearsal", what, time.monotonic() - began)

    newest, right = Catalog(vault, active).newest(), fence.read_right(active)
    if newest is None or newest.region != active.region or (right is not None and newest.epoch < right.epoch):
        tell(f"there is no snapshot of {active.region} since it is the active region; taking one")
        create(active, others)
    asked = probe_queries.recorded(active.paths.event_log, count)
    before = probe_queries.answers(active.engine_address, asked)
    tell(f"{len(asked)} recorded questions asked in {active.region}")
    rows, told = Ledger.of(active).history(), _told_at(active)
    events = _event_ids(active)
    time.sleep(SENT)
    with inject(fault, vault, active, others, target) as seen:
        at, since = datetime.now(UTC), time.monotonic()
        options = RestoreOptions(
            mode=RestoreMode.REHEARSAL, reason=f"rehearsal: {FAULTS[fault]}", name=f"rehearsal-{at.timestamp()}",
            although_alive=True,
        )  # fmt: skip
        done = restore(seen, machine, Point.parse("newest"), options, progress=progress)
        full = time.monotonic() - since
    first = full - sum(float(done.steps[name]["seconds"]) for name in (RestoreStep.EDGE, RestoreStep.OPEN))
    after = probe_queries.answers(target.engine_address, asked)
    known = {move.hash for move in Ledger(region_database(target), target.region).history()}
    restored = _told_at(target)
    return Score(
        kind="rehearsal",
        fault=FAULTS[fault],
        at=at,
        region=target.region,
        snapshot=str(done.plan["snapshot"]),
        epoch=0,
        rpo=(told - restored).total_seconds() if told and restored else 0.0,
        first_answer=first,
        full_capacity=full,
        lost_rows=sum(move.hash not in known for move in rows),
        lost_events=len(events - _event_ids(target)),
        asked=len(asked),
        different=sum(one != two for one, two in zip(before, after, strict=True)),
        corrupt=0,  # each part is checked as it is restored, and one that is not its own stops the restore
        human_actions=human_actions,
        steps=done.steps,
        problems=() if told and restored else ("without a lease nobody knows how much would be lost",),
    )


def _event_ids(s: Settings) -> set[str]:
    paths = s.paths.event_log.glob("*/*.jsonl")
    return {str(event["event_id"]) for path in paths for _, event in event_log.events(path)}


def _told_at(s: Settings) -> datetime | None:
    """Return when the region's database was last told that it may be written: how far behind a restored one is."""
    try:
        with region_database(s).connect() as connection:
            found: datetime | None = connection.execute(select(fence_table.c.told_at)).scalar()
            return found
    except SQLAlchemyError as error:
        raise RecoveryError(
            f"the database of {s.region} does not answer", remedy="`caravan status` shows it"
        ) from error
