"""Callers without key or token, in any number, arm and name: no verdict on a release changes because of them.

Case `seed + n` is made from that number alone: lines of the edge's log and of the engines' log, good and bad, of
callers whom the shop or a token names, and among them those of others, who claim the same shoppers and the same
requests. A canary judged over some minutes, and a shadow, are judged once without the others and once with them.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from monitoring.canary_judge import CanaryVerdict, Decision, advance, begin, judge
from monitoring.canary_policy import CanaryPolicy, CanaryStep
from monitoring.guardrails import Outcomes
from monitoring.outcomes import OutcomeReader, Watched
from monitoring.shadow import ShadowComparison, ShadowReader
from tests.faults.outcome import Outcome

WATCHED = Watched(canary="b" * 64, champion="a" * 64, since=0.0, budget_ms=150, deadline_ms=1000, catalog={"a", "b"})
#: Lines span this many seconds; the canary is looked at in between, and once when all is settled.
SPAN, LOOKS = 500.0, (150.0, 300.0, 450.0, 900.0)
#: Steps that some ten shoppers pass, so that all kinds of verdicts occur.
POLICY = CanaryPolicy(
    steps=tuple(CanaryStep(share=share, minimum_shoppers=3, minimum_s=0, maximum_s=900) for share in (1, 5, 25, 50)),
    warm_up_s=0,
    proof=False,
)


@dataclass
class Lines:
    """What the edge and the engines wrote."""

    edge: list[dict[str, Any]] = field(default_factory=list)
    engine: list[dict[str, Any]] = field(default_factory=list)

    def __add__(self, other: Lines) -> Lines:
        return Lines(self.edge + other.edge, self.engine + other.engine)


@dataclass(frozen=True)
class Judged:
    """Everything that the controller decides by."""

    outcomes: tuple[Outcomes, ...]
    verdicts: tuple[CanaryVerdict, ...]
    shadow: ShadowComparison


def run(seed: int, count: int) -> Outcome:
    """Judge `count` releases with and without the others' lines."""
    outcome = Outcome(count=count)
    for case in range(seed, seed + count):
        with tempfile.TemporaryDirectory() as folder:
            alone, both = one(case, Path(folder))
        if alone != both:
            outcome.failures.append(f"seed {case}: {_difference(alone, both)}")
    return outcome


def one(seed: int, folder: Path) -> tuple[Judged, Judged]:
    """The same release without and with the others."""
    draw = np.random.default_rng(seed)
    harm = draw.choice([0.05, 0.05, 0.5])
    known = drawn(draw, str(draw.choice(["shop", "shopper"])), int(draw.integers(60, 300)), harm)
    others = drawn(draw, "nobody", int(draw.integers(1, 400)), float(draw.random()))
    return judged(folder / "alone", known), judged(folder / "both", known + others)


def drawn(draw: np.random.Generator, caller: str, count: int, harm: float) -> Lines:
    """Lines of shoppers and requests that both kinds of callers may claim to be; `harm`: the canary's share of bad."""
    lines = Lines()
    for number in range(count):
        at, who = float(draw.uniform(0, SPAN)), f"s-{draw.integers(200)}"
        arm = str(draw.choice(["control", "canary"]))
        bad = draw.random() < (harm if arm == "canary" else 0.05)
        code, waited = int(draw.choice([500, 504, 0, 200])) if bad else 200, int(draw.choice([2, 40, 400, 4000]))
        release = WATCHED.canary if arm == "canary" else WATCHED.champion
        lines.edge.append({
            "time": datetime.fromtimestamp(at, UTC).isoformat(), "shopper": who, "arm": arm, "caller": caller,
            "read": "1", "release": release, "path": str(draw.choice(["/recommend", "/search", "/similar/i"])),
            "code": code, "flags": str(draw.choice(["-", "-", "DC", "UT"])) if bad else "-", "sent_ms": 1,
            "waited_ms": waited if bad else 2, "duration_ms": waited + 1,
        })  # fmt: skip
        about = {"t": at, "id": f"r-{number}", "shopper": who, "arm": arm, "caller": caller}
        answer = {
            "kind": "recommend", "items": [] if bad else ["a", "b"][: int(draw.integers(1, 3))], "ms": 1.0,
            "fallback": "x" if bad and draw.integers(2) else None, "stale": bool(bad and draw.integers(2)),
        }  # fmt: skip
        did = {"kind": "events", "actions": {"add_to_cart": 1, "click": 1, "purchase": int(draw.integers(2))}}
        lines.engine.append({**about, "shadow": False, "release": release, **answer})
        if draw.integers(2):
            lines.engine.append({**about, "shadow": False, "release": release, **did})
        for shadow, answered_by in ((False, WATCHED.champion), (True, WATCHED.canary)):
            mirrored = {**about, "id": f"m-{number}", "arm": "rest", "shadow": shadow, "release": answered_by}
            lines.engine.append({**mirrored, **answer})
    return lines


def judged(folder: Path, lines: Lines) -> Judged:
    """What the readers of both logs and the judge make of them, look by look, while the logs grow."""
    log, answers = folder / "access.log", folder / "answers"
    (answers / "1970-01-01").mkdir(parents=True)
    engine_log = answers / "1970-01-01" / "engine-0000-000000.jsonl"
    edge, engine = sorted(lines.edge, key=lambda line: line["time"]), sorted(lines.engine, key=lambda line: line["t"])
    reader = OutcomeReader(WATCHED, log, answers)
    state = begin(POLICY, release=WATCHED.canary, at=0.0)
    outcomes, verdicts, before = [], [], 0.0
    for now in LOOKS:
        _append(log, [line for line in edge if before <= time_of(line) < now])
        _append(engine_log, [line for line in engine if before <= line["t"] < now])
        before = now
        outcomes.append(reader.read_outcomes(POLICY, now=now))
        state, verdict = judge(POLICY, state, outcomes[-1], now=now)
        verdicts.append(verdict)
        if verdict.decision is Decision.ADVANCE:
            state = advance(POLICY, state, outcomes[-1], at=now)
    shadow = ShadowReader(answers, WATCHED.champion, WATCHED.canary, 0.0).compare(newest=1000, now=SPAN + 10)
    return Judged(tuple(outcomes), tuple(verdicts), shadow)


def _append(path: Path, lines: list[dict[str, Any]]) -> None:
    with path.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def time_of(line: dict[str, Any]) -> float:
    """When the edge wrote it, in seconds since 1970."""
    return datetime.fromisoformat(line["time"]).timestamp()


def _difference(alone: Judged, both: Judged) -> str:
    told = [f"{a.decision} became {b.decision}" for a, b in zip(alone.verdicts, both.verdicts, strict=True) if a != b]
    return "; ".join(told) or ("the shadow's figures differ" if alone.shadow != both.shadow else "the counts differ")
