"""Restores a region from the vault, in named steps in a fixed order, each safe to repeat.

The lost region is not asked for anything. What was decided and done is kept in a file of the target region: a restore
that was killed resumes in the step it was in, to the same snapshot, and ends in the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.errors import NoRecoveryPoint, NotFound, RestoreRefused, SettingsError, Tampered
from contracts.recovery import RestoreStep
from contracts.region import other
from contracts.settings import Settings
from recovery.file_lock import hold
from recovery.machine import Machine
from recovery.restore import resume
from recovery.restore.context import Progress, Restore, Step, silent
from recovery.restore.health import answering_parts
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Point, as_plan
from recovery.restore.resume import RestoreState, StepDone
from recovery.restore.steps import STEPS, check_keys, decide, look_first
from recovery.vault import holds
from recovery.vault.catalog import Catalog
from recovery.vault.manifest import Snapshot
from recovery.vault.vault import Vault, with_own_vault

#: Steps that read every byte of the snapshot: damage is found here, and an older snapshot is taken.
READING = (RestoreStep.DATABASE, RestoreStep.ARTIFACTS, RestoreStep.ERASURES)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A restore that ended: the plan, what each step says it did and how long it took, in seconds."""

    plan: dict[str, Any]
    steps: dict[str, StepDone]
    seconds: float


def restore(
    s: Settings,
    machine: Machine,
    point: Point,
    options: RestoreOptions,
    *,
    steps: Mapping[str, Step] = STEPS,
    progress: Progress = silent,
) -> Done:
    """Restore the region `s.region` to `point`, in full or only up to the step that the options name.

    An unfinished restore to the same recovery point is resumed if it began within `RESUMED_WITHIN_S` seconds; so is one
    of the same name, even if it has ended. Raises RestoreRefused before anything is changed, NoRecoveryPoint, Tampered,
    RecoveryError, and what the stores raise.
    """
    if options.through and options.through not in steps:
        raise SettingsError(f"a restore has no step {options.through}", remedy=f"name one of {', '.join(steps)}")
    with hold(resume.path_of(s).with_suffix(".lock"), _another(s, options.name, progress)):
        saved = resume.begin(s, point, options)
        run = Restore(
            s=s, machine=machine, vault=Vault.of(with_own_vault(s)), point=point, options=options, progress=progress,
            plan=saved.plan, epoch_before=saved.epoch, damaged=saved.damaged,
        )  # fmt: skip
        run.vault.unreadable.update(saved.unreadable)
        names = _up_to(options.through, list(steps))
        while True:
            try:
                _go(run, saved, {name: steps[name] for name in names})
                break
            except (Tampered, NotFound) as error:
                _choose_again(run, saved, error)
        if set(steps) <= set(saved.steps) and saved.ended_at is None:
            saved.ended_at = resume.now()
            if run.chosen is not None:
                holds.give_back(run.vault, s, at=datetime.now(UTC))
        saved.now = ""
        resume.write_state(s, saved)
    return Done(plan=saved.plan or {}, steps=saved.steps, seconds=time.monotonic() - run.began)


def _go(run: Restore, saved: RestoreState, steps: Mapping[str, Step]) -> None:
    """Run the steps that are not done, and record each."""
    for name, step in steps.items():
        run.step = name
        if name in saved.steps and name not in resume.ALWAYS:
            run.tell("done before")
            continue
        saved.now = name
        resume.write_state(run.s, saved)
        since = time.monotonic()
        run.tell("begins")
        said = step(run)
        if name == RestoreStep.CHOOSE and run.chosen is not None:
            hold_chosen(run.vault, run.s, run.chosen.snapshot)
        saved.plan, saved.epoch = run.plan, (run.plan or {}).get("epoch", saved.epoch)
        saved.steps[name] = {"said": said, "seconds": round(time.monotonic() - since, 2), "at": resume.now()}
        run.tell(f"done: {said}")
        saved.now = ""
        resume.write_state(run.s, saved)


def hold_chosen(vault: Vault, s: Settings, snapshot: Snapshot) -> None:
    """Keep a snapshot from being pruned for as long as a restore may resume; refuse one that has just been removed.

    Raises NoRecoveryPoint.
    """
    lasts = timedelta(seconds=2 * resume.RESUMED_WITHIN_S)  # who prunes may have a clock that is hours ahead
    holds.place(vault, s, snapshot.sequence, at=datetime.now(UTC), lasts=lasts)
    try:
        Catalog(vault, s).read(snapshot.sequence)
    except NotFound:
        raise NoRecoveryPoint(
            f"{snapshot.id} was pruned just now", remedy="the same command again chooses among those that are left"
        ) from None


def _choose_again(run: Restore, saved: RestoreState, error: Tampered | NotFound) -> None:
    """Note what is damaged, so that the steps begin again with another recovery point; raise `error` if they cannot."""
    if run.step not in READING or run.point.snapshot or run.chosen is None:
        raise error
    run.tell(f"damaged: {error.what}; choosing again")
    if run.vault.unreadable <= set(saved.unreadable):  # it is not that file, which choosing avoids
        run.damaged[run.chosen.snapshot.id] = error.what
    saved.steps = {name: done for name, done in saved.steps.items() if name in resume.ALWAYS}
    run.plan = run.chosen = saved.plan = None
    saved.damaged, saved.unreadable = run.damaged, sorted(run.vault.unreadable)


def plan_restore(s: Settings, machine: Machine, point: Point, options: RestoreOptions) -> dict[str, Any]:
    """Return the plan of a restore without doing any of it. Raises what would refuse the restore."""
    run = Restore(
        s=s, machine=machine, vault=Vault.of(with_own_vault(s)), point=point, options=options,
        epoch_before=resume.unfinished_epoch(s),
    )  # fmt: skip
    found = [look_first(run), decide(run), check_keys(run)]
    snapshot = run.choice.snapshot
    return (
        {"asked": point.describe()}
        | as_plan(run.choice)
        | {
            "target": s.region,
            "alive": answering_parts(s, other(s.region)),
            "preflight": "; ".join(found),
            "tables": {table.name: table.rows for table in snapshot.tables},
            "objects": snapshot.objects.count,
            "bytes": snapshot.objects.size + sum(part.size for part in snapshot.parts()),
        }
    )


def _up_to(through: str, names: list[str]) -> list[str]:
    """Return the names of the steps up to and including `through`; all of them when it is empty."""
    return names[: names.index(through) + 1] if through else names


def _another(s: Settings, name: str, progress: Progress) -> Callable[[str], None]:
    """Return what to do while another process restores this region: wait for the same restore, else refuse.

    An Airflow task that was killed may leave its restore running; the retry must neither fail nor disturb it.
    """
    began = time.monotonic()

    def in_the_way(who: str) -> None:
        there = resume.read_state(s)
        if not name or there is None or there.name != name:
            raise RestoreRefused(f"another restore of this region is under way ({who})", remedy="wait until it is done")
        progress("", f"another process is at this very restore; waiting for it ({who})", time.monotonic() - began)

    return in_the_way
