"""Tells from the ledger's rows how far a release is on its road: each waiting task of `release` asks it.

It needs no Airflow. A step is passed when the release has gone on beyond it. It moves nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from contracts.release import CANARY_SHARE, IN_FLIGHT, NOTES, State

if TYPE_CHECKING:
    from artifacts.ledger import Ledger, Move
    from contracts.settings import Settings

#: The states that the tasks of `release` wait for, in order; each is a task's name.
ROAD: tuple[State, ...] = (*IN_FLIGHT, "champion")
OVER: tuple[State, ...] = ("rejected", "rolled_back")
#: Characters of evidence that a task's log shows.
SHOWN_EVIDENCE = 4000

Outcome = Literal["waiting", "passed", "skipped", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a step has come to, and the row of the ledger that says so (None: nothing was recorded yet)."""

    outcome: Outcome
    move: Move | None = None


def read_progress(moves: list[Move], step: State, *, now: datetime | None = None) -> Look:
    """Tell what `step` has come to, by the rows of one release, oldest first."""
    steps = [move for move in moves if move.to_state not in NOTES]
    if step == "approved":
        return _approved(moves, steps, now or datetime.now(UTC))
    start = max((n for n, move in enumerate(steps) if move.to_state == "approved"), default=None)
    if start is None:
        return Look(outcome="waiting", move=steps[-1] if steps else None)
    since = steps[start:]
    beyond = (step,) if step == "champion" else ROAD[ROAD.index(step) + 1 :]
    left = next((move for move in since if move.to_state in beyond), None)
    if left is not None:
        reached = any(move.to_state == step for move in since)
        return Look(outcome="passed" if reached else "skipped", move=left)
    return Look(outcome="stopped" if since[-1].to_state in OVER else "waiting", move=since[-1])


def _approved(moves: list[Move], steps: list[Move], now: datetime) -> Look:
    """Tell whether people let the release go on. One that was rolled back waits only if it was asked about again."""
    last = steps[-1] if steps else None
    if last is None or last.to_state in ("built", "gated"):
        return Look(outcome="waiting", move=last)
    if last.to_state == "rejected":
        return Look(outcome="stopped", move=last)
    if last.to_state != "rolled_back":
        return Look(outcome="passed", move=next(m for m in reversed(steps) if m.to_state in ROAD))
    asked = next((m for m in reversed(moves) if m.to_state == "asked" and m.sequence > last.sequence), None)
    if asked is None:
        return Look(outcome="stopped", move=last)
    refused = [
        m for m in moves
        if m.sequence > asked.sequence and m.to_state == "approval" and not m.evidence.get("approval")
    ]  # fmt: skip
    if refused:
        return Look(outcome="stopped", move=refused[-1])
    over = now >= datetime.fromisoformat(str(asked.evidence["until"]))
    return Look(outcome="stopped" if over else "waiting", move=asked)


def says(move: Move) -> str:
    """Put one row of the ledger into a sentence."""
    step = move.to_state if move.to_state in NOTES else f"{move.from_state or 'new'} -> {move.to_state}"
    return f"{move.at:%Y-%m-%d %H:%M:%S} {step}, by {move.actor}: {move.reason}"


def evidence(move: Move) -> str:
    """Return the evidence of a row as the ledger has it; empty if there is none."""
    if not move.evidence:
        return ""
    text = json.dumps(move.evidence, sort_keys=True, indent=1, ensure_ascii=False)
    return text if len(text) <= SHOWN_EVIDENCE else text[:SHOWN_EVIDENCE] + " …"


def now_at(ledger: Ledger, source: str, digest: str, s: Settings) -> str:
    """Say in one line where the release is, its share of the shoppers, and the controller's last verdict."""
    from artifacts.database import engine
    from releases.rollout import canary_record

    state = ledger.state(source, digest)
    text = f"{source} {digest[:12]} is {state or 'not in the ledger'}"
    if state in CANARY_SHARE:
        text += f", {CANARY_SHARE[state]} % of the shoppers"
        known = canary_record.load(engine(s), source, digest)
        if known is not None and known.verdict and known.verdict.get("doing"):
            text += f"; {known.verdict['doing']}"
    return text
