"""Overviews as they come in a canary's life, for frames and tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from artifacts.ledger import CurrentRelease, Move
from contracts.release import Note, State
from monitoring.canary_judge import Decision, begin, judge
from monitoring.canary_policy import CanaryPolicy
from monitoring.guardrails import Outcomes, Tally
from releases.overview import Overview, Subject
from releases.rollout.canary_record import Memory
from releases.rollout.region import EngineReadiness
from releases.rollout.routing_wait import Beat
from serving.edge.edge import TrafficSplit

NOW = datetime(2026, 5, 4, 3, 12, 5, tzinfo=UTC)
TOMORROW = "2026-05-05T02:33:05+00:00"
CHAMPION, CANARY, FORMER = "c0ffee" + "1" * 58, "beef01" + "2" * 58, "decade" + "3" * 58


def row(to: State | Note, *, sequence: int = 1, actor: str = "controller", reason: str = "said", **more: Any) -> Move:
    about: dict[str, Any] = {
        "sequence": sequence, "at": NOW - timedelta(minutes=40 - sequence), "source": "shop", "digest": CANARY,
        "version": 7, "from_state": None, "to_state": to, "actor": actor, "reason": reason, "evidence": {},
        "region": "primary", "epoch": 0, "previous_hash": "", "hash": "",
    }  # fmt: skip
    return Move(**{**about, **more})


def outcomes(policy: CanaryPolicy, *, errors: int = 1, late: str = "", shoppers: int = 412) -> Outcomes:
    """Counts of a step under way; `errors` of the canary's shoppers failed, the log of `late` lags behind."""
    tallies = {}
    for guardrail in policy.guardrails:
        events = {"clicks": (301, 297), "carts": (88, 91), "purchases": (24, 22), "errors": (1, errors)}
        control, canary = events.get(guardrail.name, (0, 0))
        until = NOW.timestamp() - (400 if guardrail.name == late else 1)
        tallies[guardrail.name] = Tally(
            control_shoppers=shoppers + 6, control_events=control, canary_shoppers=shoppers, canary_events=canary,
            complete_until=until,
        )  # fmt: skip
    return Outcomes(control_shoppers=shoppers + 6, canary_shoppers=shoppers, tallies=tallies)


def running(state: State = "canary_25", *, share: int = 25, **counts: Any) -> Overview:
    """A canary in the middle of its way, judged by the default policy."""
    policy = CanaryPolicy()
    began = NOW - timedelta(minutes=22)
    remembered = begin(policy, release=CANARY, at=began.timestamp())
    remembered, verdict = judge(
        policy, replace(remembered, step=2), outcomes(policy, **counts), now=NOW.timestamp()
    )  # fmt: skip
    over = verdict.decision is Decision.ABORT
    known = Memory(
        source="shop", digest=CANARY, policy="default", champion=CHAMPION, began_at=began, canary=remembered,
        verdict=verdict.as_kept(),
    )  # fmt: skip
    arms = TrafficSplit(control=share, rest=100 - 2 * share, canary=share, salt=CANARY[:16])
    release = CurrentRelease(source="shop", digest=CANARY, state="rolled_back" if over else state, sequence=9)
    return Overview(
        at=NOW, region="primary", source="shop", champion=CHAMPION, former=FORMER,
        split=TrafficSplit() if over else arms,
        engines={
            "champion": EngineReadiness(serves=CHAMPION), "control": EngineReadiness(serves=CHAMPION),
            "canary": EngineReadiness(serves=CANARY), "former": EngineReadiness(reason="no answer (ConnectError)"),
        },
        beat=Beat(at=NOW.timestamp() - 0.4, doing=f"{state}: hold"),
        frozen=None,
        subject=Subject(
            release=release, since=began, over=over,
            why="abort: errors: 19 canary and 1 control shoppers" if over else "150 shoppers",
            known=known, policy=policy,
        ),
        moves=[
            row("gated", sequence=1, actor="nightly", reason="passed the gate: Against the champion the …"),
            row("asked", sequence=2, actor="nightly", reason="approval requested", evidence={"until": TOMORROW}),
            row("approval", sequence=3, actor="reviewer", reason="better on new items", evidence={"approval": True}),
            row("approved", sequence=3, actor="reviewer", reason="better on new items"),
            row("shadow", sequence=5, reason="the canary's engine has beef01222222, that of the control c0ffee11"),
            row("canary_25", sequence=18, reason="251 shoppers in this step, no harm shown (nearest: carts)"),
        ],
    )  # fmt: skip
