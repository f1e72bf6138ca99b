"""Restores a region from the vault, in named steps in a fixed order, each safe to repeat.

The lost region is not asked for anything. What was decided and done is kept in a file of the target region: a restore
that was killed resumes in the step it was in, to the same snapshot, and ends in the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.errors import NotFound, RestoreRefused, SettingsError, Tampered
from contracts.region import other
from contracts.settings import Settings
from recovery.file_lock import alone
from recovery.machine import Machine
from recovery.restore import restore_state
from recovery.restore.context import Progress, Restore, RestoreOptions, Step, silent
from recovery.restore.health import answering
from recovery.restore.recovery_point import Plan, Point, as_plan
from recovery.restore.restore_state import ALWAYS, RestoreState, StepRecord
from recovery.restore.steps import STEPS, check_keys, decide, look_first
from recovery.vault.vault import Vault, kept_here

#: Steps that read every byte of the snapshot: damage is found here, and an older snapshot is taken.
READING = ("database", "artifacts", "erasures")


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a restore has done: the plan, once one is made, what each step says it did, and its time in seconds."""

    plan: Plan | None
    steps: dict[str, StepRecord]
    seconds: float


def restore(
    s: Settings,
    machine: Machine,
    point: Point,
    options: RestoreOptions,
    *,
    progress: Progress = silent,
    steps: Mapping[str, Step] = STEPS,
) -> Done:
    """Restore the region `s.region` to `point`, in full or only up to the step `options.through`.

    An unfinished restore to the same recovery point is resumed if it began within `RESUMABLE_FOR_S` seconds; so is one
    of the same name, even if it has ended. Raises RestoreRefused before anything is changed, NoRecoveryPoint, Tampered,
    RecoveryError, and what the stores raise.
    """
    if options.through and options.through not in steps:
        raise SettingsError(f"a restore has no step {options.through}", remedy=f"name one of {', '.join(steps)}")
    file = restore_state.path(s)
    with alone(file.with_suffix(".lock"), _another(file, options.name, progress)):
        state = _begin_or_resume(file, point, options)
        run = Restore(
            s=s, machine=machine, vault=Vault.of(kept_here(s)), point=point, options=options, progress=progress,
            plan=state.plan, epoch_before=state.epoch, damaged=dict(state.damaged),
        )  # fmt: skip
        run.vault.unreadable.update(state.unreadable)
        while not _all_read(run, state, file, _up_to(options.through, steps)):
            pass
        if set(steps) <= set(state.steps) and not state.ended_at:
            state.ended_at = datetime.now(UTC).isoformat()
        state.now = ""
        state.write(file)
    return Done(plan=state.plan, steps=state.steps, seconds=time.monotonic() - run.began)


def _begin_or_resume(file: Path, point: Point, options: RestoreOptions) -> RestoreState:
    """Return the state of the restore to go on with: the one in `file` if it is this one, else a new one."""
    state = RestoreState.read(file)
    if state is None or not state.resumes(point, options):
        state = RestoreState.begin(point, options, epoch=state.unfinished_epoch if state else None)
    if not state.has_replaced():  # nothing depends on what was decided then, and the vault may have more by now
        state.plan = None
    return state


def _all_read(run: Restore, state: RestoreState, file: Path, steps: Mapping[str, Step]) -> bool:
    """Run the steps; return False when the snapshot proved damaged and an older one must be chosen.

    Raises the damage when no other snapshot may be chosen: the caller named this one.
    """
    try:
        _run_steps(run, state, file, steps)
    except (Tampered, NotFound) as error:
        if run.step not in READING or run.point.snapshot or run.chosen is None:
            raise
        run.tell(f"damaged: {error.what}; choosing again")
        if run.vault.unreadable <= set(state.unreadable):  # else it is a new file, which the choice will avoid
            run.damaged[run.chosen.snapshot.id] = error.what
        state.forget_choice(damaged=run.damaged, unreadable=run.vault.unreadable)
        run.plan = run.chosen = None
        return False
    return True


def _run_steps(run: Restore, state: RestoreState, file: Path, steps: Mapping[str, Step]) -> None:
    """Run the steps that are not done, and record each."""
    for name, step in steps.items():
        run.step = name
        if name in state.steps and name not in ALWAYS:
            run.tell("done before")
            continue
        state.write(file, now=name)
        since = time.monotonic()
        run.tell("begins")
        said = step(run)
        state.plan = run.plan
        state.epoch = (run.plan or {}).get("epoch", state.epoch)
        state.record(name, said, time.monotonic() - since)
        run.tell(f"done: {said}")
        state.write(file)


def foresee(s: Settings, machine: Machine, point: Point, options: RestoreOptions) -> dict[str, Any]:
    """Return the plan of a restore without doing any of it. Raises what would refuse the restore."""
    state = RestoreState.read(restore_state.path(s))
    run = Restore(
        s=s, machine=machine, vault=Vault.of(kept_here(s)), point=point, options=options,
        epoch_before=state.unfinished_epoch if state else None,
    )  # fmt: skip
    found = [look_first(run), decide(run), check_keys(run)]
    snapshot = run.choice.snapshot
    return {
        **as_plan(run.choice),
        "target": s.region,
        "alive": answering(s, other(s.region)),
        "preflight": "; ".join(found),
        "tables": {table.name: table.rows for table in snapshot.tables},
        "objects": snapshot.objects.count,
        "bytes": snapshot.objects.size + sum(part.size for part in snapshot.parts()),
    }


def _up_to(through: str, steps: Mapping[str, Step]) -> dict[str, Step]:
    """Return the steps up to and including `through`; all of them when it is empty."""
    names = list(steps)
    return {name: steps[name] for name in (names[: names.index(through) + 1] if through else names)}


def _another(file: Path, name: str, progress: Progress) -> Callable[[str], None]:
    """Return what to do while another process restores this region: wait for the same restore, else refuse.

    An Airflow task that was killed may leave its restore running; the retry must neither fail nor disturb it.
    """
    began = time.monotonic()

    def in_the_way(who: str) -> None:
        state = RestoreState.read(file)
        if not name or state is None or state.name != name:
            raise RestoreRefused(f"another restore of this region is under way ({who})", remedy="wait until it is done")
        progress("", f"another process is at this very restore; waiting for it ({who})", time.monotonic() - began)

    return in_the_way
