"""Restores a region from the vault, in named steps in a fixed order, each safe to repeat.

The lost region is not asked for anything. What was decided and done is kept in a file of the target region: a restore
that was killed resumes in the step it was in, to the same snapshot, and ends in the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifacts import state_file as facts
from contracts.errors import NotFound, RestoreRefused, SettingsError, Tampered
from contracts.region import other
from contracts.settings import Settings
from recovery.file_lock import alone
from recovery.machine import Machine
from recovery.restore.context import Progress, Restore, silent
from recovery.restore.health import answering
from recovery.restore.recovery_point import Point, as_plan
from recovery.restore.steps import STEPS, check_keys, decide, look_first
from recovery.vault.vault import Vault, kept_here

#: Seconds after which an unfinished restore is not resumed: its newest snapshot is no longer the newest.
GONE_ON_WITH = 6 * 3600.0
#: Steps that are repeated when a restore resumes: they only look, and the others need what they see.
ALWAYS = ("preflight", "choose", "keys", "fence")
#: Steps that read every byte of the snapshot: damage is found here, and an older snapshot is taken.
READING = ("database", "artifacts", "erasures")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A restore that ended: the plan, what each step says it did and how long it took, in seconds."""

    plan: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    seconds: float


def state_file(s: Settings) -> Path:
    return s.region_home / "recovery" / "restore.json"


def restore(
    s: Settings,
    machine: Machine,
    point: Point,
    *,
    reason: str,
    although_alive: bool = False,
    although_active: bool = False,
    control_is_lost: bool = False,
    planned: bool = False,
    rehearsal: bool = False,
    through: str = "",
    name: str = "",
    progress: Progress = silent,
) -> Done:
    """Restore the region `s.region` to `point`, in full or only up to the step `through`.

    An unfinished restore to the same recovery point is resumed if it began within `GONE_ON_WITH` seconds; so is one of
    the same `name`, even if it has ended. Raises RestoreRefused before anything is changed, NoRecoveryPoint, Tampered,
    RecoveryError, and what the stores raise.
    """
    if through and through not in STEPS:
        raise SettingsError(f"a restore has no step {through}", remedy=f"name one of {', '.join(STEPS)}")
    path = state_file(s)
    with alone(path.with_suffix(".lock"), _another(path, name, progress)):
        state = facts.read(path)
        kind = "rehearsal" if rehearsal else "planned" if planned else "recovery"
        epoch = None if state is None or state.get("ended_at") else state.get("epoch")
        if state is None or not _goes_on(state, point, name, kind):
            state = {
                "asked": point.asked, "name": name, "kind": kind, "reason": reason, "began_at": _now(), "steps": {},
                "epoch": epoch,
            }  # fmt: skip
        if not replaced(state):  # nothing hangs on what was decided then, and the vault may have more by now
            state.pop("plan", None)
        run = Restore(
            s=s, machine=machine, vault=Vault.of(kept_here(s)), point=point, reason=reason,
            although_alive=although_alive, control_is_lost=control_is_lost, planned=planned, rehearsal=rehearsal,
            although_active=although_active, progress=progress, plan=state.get("plan"),
            epoch_before=state.get("epoch"), damaged=state.get("damaged", {}),
        )  # fmt: skip
        run.vault.unreadable.update(state.get("unreadable", []))
        while True:
            try:
                _go(run, state, path, _up_to(through))
                break
            except (Tampered, NotFound) as error:
                if run.step not in READING or point.snapshot or run.chosen is None:
                    raise
                run.tell(f"damaged: {error.what}; choosing again")
                if run.vault.unreadable <= set(
                    state.get("unreadable", [])
                ):  # it is not that file, which choosing avoids
                    run.damaged[run.chosen.snapshot.id] = error.what
                state["steps"] = {name: said for name, said in state["steps"].items() if name in ALWAYS}
                run.plan = run.chosen = None
                state |= {"plan": None, "damaged": run.damaged, "unreadable": sorted(run.vault.unreadable)}
        if set(STEPS) <= set(state["steps"]):
            state.setdefault("ended_at", _now())
        facts.write(path, state | {"now": ""})
    return Done(plan=state["plan"], steps=state["steps"], seconds=time.monotonic() - run.began)


def _go(run: Restore, state: dict[str, Any], path: Path, names: list[str]) -> None:
    """Run the steps that are not done, and record each."""
    for name in names:
        run.step = name
        if name in state["steps"] and name not in ALWAYS:
            run.tell("done before")
            continue
        facts.write(path, state | {"now": name})
        since = time.monotonic()
        run.tell("begins")
        said = STEPS[name](run)
        state |= {"plan": run.plan, "epoch": (run.plan or {}).get("epoch", state.get("epoch"))}
        state["steps"][name] = {"said": said, "seconds": round(time.monotonic() - since, 2), "at": _now()}
        run.tell(f"done: {said}")
        facts.write(path, state)


def foresee(
    s: Settings, machine: Machine, point: Point, *, although_alive: bool = False, although_active: bool = False
) -> dict[str, Any]:
    """Return the plan of a restore without doing any of it. Raises what would refuse the restore."""
    run = Restore(
        s=s, machine=machine, vault=Vault.of(kept_here(s)), point=point, although_alive=although_alive,
        although_active=although_active, epoch_before=_unfinished_epoch(s),
    )  # fmt: skip
    found = [look_first(run), decide(run), check_keys(run)]
    snapshot = run.choice.snapshot
    return as_plan(run.choice) | {
        "target": s.region,
        "alive": answering(s, other(s.region)),
        "preflight": "; ".join(found),
        "tables": {table.name: table.rows for table in snapshot.tables},
        "objects": snapshot.objects.count,
        "bytes": snapshot.objects.size + sum(part.size for part in snapshot.parts()),
    }


def replaced(state: dict[str, Any]) -> bool:
    """Check whether the restore has begun to replace what the region holds."""
    return bool(set(state["steps"]) - set(ALWAYS)) or state.get("now", "") not in ("", *ALWAYS)


def _unfinished_epoch(s: Settings) -> int | None:
    """Return the epoch that an unfinished restore of the region began, or None."""
    state = facts.read(state_file(s)) or {}
    return None if state.get("ended_at") else state.get("epoch")


def _goes_on(state: dict[str, Any], point: Point, name: str, kind: str) -> bool:
    """Check whether the restore that was begun is the one asked for now."""
    if state["asked"] != point.asked or state.get("kind") != kind:
        return False
    if name and state.get("name") == name:
        return True
    age = datetime.now(UTC) - datetime.fromisoformat(state["began_at"])
    return not state.get("ended_at") and age.total_seconds() < GONE_ON_WITH


def _up_to(through: str) -> list[str]:
    """Return the names of the steps up to and including `through`; all of them when it is empty."""
    names = list(STEPS)
    return names[: names.index(through) + 1] if through else names


def _another(path: Path, name: str, progress: Progress) -> Callable[[str], None]:
    """Return what to do while another process restores this region: wait for the same restore, else refuse.

    An Airflow task that was killed may leave its restore running; the retry must neither fail nor disturb it.
    """
    began = time.monotonic()

    def in_the_way(who: str) -> None:
        if not name or (facts.read(path) or {}).get("name") != name:
            raise RestoreRefused(f"another restore of this region is under way ({who})", remedy="wait until it is done")
        progress("", f"another process is at this very restore; waiting for it ({who})", time.monotonic() - began)

    return in_the_way


def _now() -> str:
    return datetime.now(UTC).isoformat()
