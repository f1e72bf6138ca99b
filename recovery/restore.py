"""Restoring a region from the vault: named steps in one order, each safe to do again.

Nothing of the lost region is asked for anything. What was decided and done is kept in a file of the target region: a
restore that was killed at any point goes on in the step it was in, to the same snapshot, and ends in the same state.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.errors import RestoreRefused
from contracts.settings import Settings
from recovery.machine import Machine
from recovery.point import Point, as_plan
from recovery.run import Progress, Restore, silent
from recovery.steps import STEPS, check_keys, decide, look_first
from recovery.vault import Vault

#: Steps that are done again when a restore is gone on with: they only look, and the others need what they see.
ALWAYS = ("preflight", "choose", "keys", "fence")


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
    control_is_lost: bool = False,
    progress: Progress = silent,
) -> Done:
    """Restore the region `s.region` to `point`.

    A restore to the same point that did not end is gone on with. Raises RestoreRefused before anything is changed,
    NoRecoveryPoint, Tampered, RecoveryError, and what the stores raise.
    """
    path = state_file(s)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        state = _read(path)
        if state is None or state.get("ended_at") or state["asked"] != point.asked:
            state = {"asked": point.asked, "reason": reason, "began_at": _now(), "steps": {}}
        run = Restore(
            s=s, machine=machine, vault=Vault.of(s), point=point, reason=reason, although_alive=although_alive,
            control_is_lost=control_is_lost, progress=progress, plan=state.get("plan"),
        )  # fmt: skip
        for name, step in STEPS.items():
            run.step = name
            if name in state["steps"] and name not in ALWAYS:
                run.tell("done before")
                continue
            _write(path, state | {"now": name})
            since = time.monotonic()
            run.tell("begins")
            said = step(run)
            state["plan"] = run.plan
            state["steps"][name] = {"said": said, "seconds": round(time.monotonic() - since, 2), "at": _now()}
            run.tell(f"done: {said}")
        state |= {"ended_at": _now(), "now": ""}
        _write(path, state)
    return Done(plan=state["plan"], steps=state["steps"], seconds=time.monotonic() - run.began)


def foresee(s: Settings, machine: Machine, point: Point, *, although_alive: bool = False) -> dict[str, Any]:
    """What a restore would do, without doing any of it. Raises what would refuse it."""
    run = Restore(s=s, machine=machine, vault=Vault.of(s), point=point, although_alive=although_alive)
    found = [look_first(run), decide(run), check_keys(run)]
    snapshot = run.choice.snapshot
    return as_plan(run.choice) | {
        "target": s.region,
        "preflight": "; ".join(found),
        "tables": {table.name: table.rows for table in snapshot.tables},
        "objects": snapshot.objects.count,
        "bytes": snapshot.objects.size + sum(part.size for part in snapshot.parts()),
    }


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RestoreRefused(
                "another restore of this region is under way", remedy="wait until it is done"
            ) from None
        yield


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return None


def _write(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(state, indent=1))
    part.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat()
