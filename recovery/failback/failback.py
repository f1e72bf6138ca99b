"""Fails back: rebuilds the former region from the active one, which then hands over in a planned switch.

The long work is done while the active region serves. Then that region is drained: it still answers, and takes no
writes. A last snapshot carries what changed since, the other region is restored to exactly that, and the next epoch is
its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from artifacts import fence
from contracts.errors import RecoveryError, RestoreRefused
from contracts.recovery import FAILBACK_STEPS, RESTORE_STEPS, FailbackStep
from contracts.region import other
from contracts.settings import Settings
from recovery.failback import reconcile as bringing
from recovery.failback.failback_state import FailbackState, StepDone
from recovery.file_lock import hold
from recovery.machine import Machine
from recovery.region_lease.lease import Lease, RegionLease
from recovery.restore import restore as restoring
from recovery.restore.context import Progress, silent
from recovery.restore.options import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.snapshots import create as taking
from recovery.snapshots.create import Taken

#: Lease durations within which the active region's lease daemon must have told it that it is drained.
DRAIN_TIMEOUT_LEASES = 2.0


@dataclass(kw_only=True)
class Failback:
    """One failback in progress: `target` is to be the active region again."""

    target: Settings
    machine: Machine
    others: Machine
    reason: str
    state: FailbackState
    progress: Progress = silent
    began: float = field(default_factory=time.monotonic)
    step: str = ""

    @property
    def active(self) -> Settings:
        """Return the settings of the region that serves now."""
        return self.target.of_region(other(self.target.region))

    def tell(self, what: str) -> None:
        self.progress(self.step, what, time.monotonic() - self.began)


#: Does one step and returns what it did.
Step = Callable[[Failback], str]


def give_up(target: Settings) -> str:
    """Let the region that was drained take writes again; return what was done."""
    with closing(RegionLease.of(target)) as active:
        held = active.look()
        if held is None or held.region == target.region or not held.draining:
            return "nothing is drained"
        active.drain(held.region, held.epoch, draining=False)
    return f"{held.region} takes writes again"


def look(run: Failback) -> str:
    """Refuse unless the other region is the active one, and start the stores of this one. Raises RestoreRefused."""
    held = _look(run.target)
    if held.region == run.target.region:
        raise RestoreRefused(f"{held.region} is the active region already", remedy="there is nothing to fail back")
    run.machine.start("s3", "redis", "postgres")
    return f"{held.region} is the active region, epoch {held.epoch}"


def reconcile(run: Failback) -> str:
    """Copy to the active region what this region had accepted and the other one lacks, before anything else."""
    return str(bringing.reconcile(run.target, run.active, actor="recovery", tell=run.tell))


def copy(run: Failback) -> str:
    """Copy the bulk of the data, while the active region serves and takes writes."""
    return _describe(run, _snapshot(run))


def drain(run: Failback) -> str:
    """Stop writes until the switch is done, and wait until the region itself reports it. Raises RecoveryError."""
    with closing(RegionLease.of(run.target)) as active:
        held = active.look()
        assert held is not None  # noqa: S101 - looked at before
        active.drain(held.region, held.epoch)
    until = time.monotonic() + DRAIN_TIMEOUT_LEASES * run.target.lease_seconds
    while (right := fence.read_right(run.active)) is None or right.standing != "draining":
        if time.monotonic() > until:
            raise RecoveryError(
                f"{run.active.region} does not hear that it is drained", remedy="see `caravan logs keeper`"
            )
        time.sleep(0.2)
    return f"{held.region} answers, and takes no writes"


def last_copy(run: Failback) -> str:
    """Copy exactly what changed since, and no more: shoppers' events wait meanwhile."""
    taken = _snapshot(run, daily=False)
    run.state.snapshot = taken.snapshot.id
    return _describe(run, taken)


def protect(run: Failback) -> str:
    """Take the first snapshot of the region that serves now, into the store of the other one."""
    taken = taking.create(run.target, run.machine, progress=lambda _step, what: run.tell(what))
    return f"{taken.snapshot.id} is in the store of {other(run.target.region)}"


def _restored(name: str) -> Step:
    """Return a function that runs one step of the restore to the last copy."""

    def step(run: Failback) -> str:
        assert run.state.snapshot is not None  # noqa: S101 - the step `last_copy` comes before
        options = RestoreOptions(
            mode=RestoreMode.PLANNED, reason=run.reason, through=name, name=f"failback-{run.state.from_epoch}",
            although_alive=True,
        )  # fmt: skip
        done = restoring.restore(
            run.target, run.machine, Point.parse(run.state.snapshot), options,
            progress=lambda _step, what, _seconds: run.tell(what),
        )  # fmt: skip
        return done.steps[name]["said"]

    return step


_FUNCTIONS: dict[str, Step] = {
    FailbackStep.LOOK: look,
    FailbackStep.RECONCILE: reconcile,
    FailbackStep.COPY: copy,
    FailbackStep.DRAIN: drain,
    FailbackStep.LAST_COPY: last_copy,
    FailbackStep.PROTECT: protect,
    **{name: _restored(name) for name in RESTORE_STEPS},
}
#: The steps of a failback, in order.
STEPS: Mapping[str, Step] = {name: _FUNCTIONS[name] for name in FAILBACK_STEPS}


def fail_back(
    target: Settings,
    machine: Machine,
    others: Machine,
    *,
    reason: str,
    through: str = "",
    progress: Progress = silent,
    steps: Mapping[str, Step] = STEPS,
) -> FailbackState:
    """Make `target.region` the active one again; return what each step did. A repeated run resumes where it stopped.

    Raises RestoreRefused, RecoveryError, and what the stores raise. Before the step `open` nothing is lost by stopping:
    `give_up` lets the active region take writes again.
    """
    file, began = target.paths.failback, time.monotonic()

    def wait(who: str) -> None:
        progress("", f"another process is at this failback; waiting for it ({who})", time.monotonic() - began)

    with hold(file.with_suffix(".lock"), wait):
        state = _begin_or_resume(file, _look(target), target, reason)
        run = Failback(target=target, machine=machine, others=others, reason=reason, state=state, progress=progress)
        for name, step in steps.items():
            run.step = name
            _run_unless_done(run, step, file)
            if name == through:
                return state
        state.ended_at = time.time()
        state.write(file)
    return state


def _begin_or_resume(file: Path, present: Lease, target: Settings, reason: str) -> FailbackState:
    """Return the state of the failback to go on with: the one in `file` unless it is over, else a new one."""
    state = FailbackState.read(file)
    if state is not None and not state.ended_at:
        has_switched = present.region == target.region
        given_up = FailbackStep.DRAIN in state.steps and not has_switched and not present.draining
        if not given_up and state.from_epoch == present.epoch - has_switched:
            return state
    return FailbackState(from_epoch=present.epoch, reason=reason)


def _run_unless_done(run: Failback, step: Step, file: Path) -> None:
    """Run the step `run.step` and record it, unless it is recorded already."""
    if run.step in run.state.steps:
        run.tell("done before")
        return
    since = time.monotonic()
    run.tell("begins")
    said = step(run)
    run.state.steps[run.step] = StepDone(said=said, seconds=round(time.monotonic() - since, 2))
    run.tell(f"done: {said}")
    run.state.write(file)


def _snapshot(run: Failback, *, daily: bool = True) -> Taken:
    return taking.create(run.active, run.others, daily=daily, progress=lambda _step, what: run.tell(what))


def _describe(run: Failback, taken: Taken) -> str:
    return f"{taken.snapshot.id} of {run.active.region}, {taken.moved / 1e6:.1f} MB moved"


def _look(s: Settings) -> Lease:
    with closing(RegionLease.of(s)) as active:
        held = active.look()
    if held is None:
        raise RestoreRefused("no region holds the lease", remedy="start the control group: `caravan up`")
    return held
