"""Judges a canary: pure functions from counts and a time to VOID, ABORT, ADVANCE, PROMOTE or HOLD.

    state = begin(policy, release=digest, at=now)
    state, verdict = judge(policy, state, outcomes, now=now)     # as often as you like
    state = advance(policy, state, outcomes, at=now)             # when the traffic has moved to the next step

Counts are totals, so judging the same ones twice changes nothing, and a controller that restarts goes on from
`CanaryState.from_json(state.to_json())`. No clock is read and nothing is written here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from contracts.errors import SettingsError
from monitoring.canary_policy import CanaryPolicy
from monitoring.e_process import log_e_harm, log_e_mismatch, log_e_proof
from monitoring.guardrails import Guardrail, Outcomes, Tally


class Decision(StrEnum):
    """A decision on the canary."""

    VOID = "void"  # the split is broken: the run says nothing; canary to 0
    ABORT = "abort"  # harm is shown: canary to 0, and this digest stays out
    ADVANCE = "advance"  # on to the next step
    PROMOTE = "promote"  # harmlessness is proven
    HOLD = "hold"  # not known yet


FINAL = (Decision.VOID, Decision.ABORT, Decision.PROMOTE)


@dataclass(frozen=True, kw_only=True)
class CanaryState:
    """The judge's memory between two looks. Times in seconds since 1970; peaks are the largest log e so far.

    `tallies` are the last usable counts, `shoppers_at_step` the exposed (control, canary) when the step began.
    """

    release: str
    policy: str
    step: int
    step_started: float
    shoppers_at_step: tuple[float, float] = (0, 0)
    peaks: dict[str, float] = field(default_factory=dict)
    mismatch_peak: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)
    final: Decision | None = None

    def to_json(self) -> str:
        """Return the state as JSON, for the controller to keep."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> CanaryState:
        """Read the state that `to_json` wrote."""
        body: dict[str, Any] = json.loads(text)
        control, canary = body.pop("shoppers_at_step")
        tallies = {name: Tally(**tally) for name, tally in body.pop("tallies").items()}
        final = body.pop("final")
        return cls(
            **body, shoppers_at_step=(control, canary), tallies=tallies, final=Decision(final) if final else None
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The evidence of one guardrail. Events and shoppers per arm; `log_e_*` are natural logarithms, `abort` the peak's.

    `proof` is None where the counts could not be used; `problem` says why.
    """

    guardrail: str
    control_events: float = 0
    control_shoppers: float = 0
    canary_events: float = 0
    canary_shoppers: float = 0
    log_e_abort: float = 0.0
    log_e_proof: float | None = None
    aborts: bool = False
    proven: bool = False
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class CanaryVerdict:
    """The decision, its reasons and the evidence. `overdue`: held past the step's maximum time, so ask a person."""

    decision: Decision
    step: int
    share: float
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    log_e_mismatch: float
    overdue: bool = False

    def as_kept(self) -> dict[str, Any]:
        """Return the verdict as the ledger keeps it."""
        return {
            "decision": str(self.decision),
            "share": self.share,
            "reasons": list(self.reasons),
            "log_e_mismatch": round(self.log_e_mismatch, 4),
            "guardrails": [
                {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(e).items()}
                for e in self.evidence
            ],
        }


def begin(policy: CanaryPolicy, *, release: str, at: float) -> CanaryState:
    """Return the state of a canary whose first step starts `at`. `release`: its digest."""
    return CanaryState(release=release, policy=policy.digest, step=0, step_started=at)


def judge(
    policy: CanaryPolicy, state: CanaryState, outcomes: Outcomes, *, now: float
) -> tuple[CanaryState, CanaryVerdict]:
    """Judge the totals so far; return the state to keep and the verdict. A final decision is never taken back.

    Raises SettingsError when the state belongs to another policy.
    """
    _check_policy(policy, state)
    evidence, peaks, tallies = [], dict(state.peaks), dict(state.tallies)
    for guardrail in policy.guardrails:
        found = _weigh(policy, guardrail, outcomes.tallies.get(guardrail.name), state, now)
        evidence.append(found)
        peaks[guardrail.name] = found.log_e_abort
        if found.log_e_proof is not None:
            tallies[guardrail.name] = outcomes.tallies[guardrail.name]
    lost = outcomes.problem()
    mismatch = state.mismatch_peak
    if lost is None:
        canary, control = outcomes.canary_shoppers or 0, outcomes.control_shoppers or 0
        mismatch = max(mismatch, float(log_e_mismatch(canary, control)))

    decision, reasons = _decide(policy, state, outcomes, evidence, mismatch, lost, now)
    if decision is Decision.HOLD:
        reasons += outcomes.left_out
    step = policy.steps[state.step]
    verdict = CanaryVerdict(
        decision=decision,
        step=state.step,
        share=step.share,
        reasons=tuple(reasons),
        evidence=tuple(evidence),
        log_e_mismatch=mismatch,
        overdue=decision is Decision.HOLD and now - state.step_started > step.maximum_s,
    )
    final = decision if decision in FINAL else None
    return replace(state, peaks=peaks, mismatch_peak=mismatch, tallies=tallies, final=final), verdict


def advance(policy: CanaryPolicy, state: CanaryState, outcomes: Outcomes, *, at: float) -> CanaryState:
    """Return the state in the next step, whose traffic flows since `at`; evidence is kept. The last step stays."""
    _check_policy(policy, state)
    if state.final or state.step + 1 >= len(policy.steps):
        return state
    shoppers = (outcomes.control_shoppers or 0, outcomes.canary_shoppers or 0)
    return replace(state, step=state.step + 1, step_started=at, shoppers_at_step=shoppers)


def _check_policy(policy: CanaryPolicy, state: CanaryState) -> None:
    if state.policy != policy.digest:
        raise SettingsError(
            f"the canary policy has changed since {state.release[:12]} started",
            remedy="judge it by the policy it started with, or start it again",
        )


def _weigh(policy: CanaryPolicy, guardrail: Guardrail, tally: Tally | None, state: CanaryState, now: float) -> Evidence:
    """Weigh the evidence of one guardrail. Late counts can still abort, unusable ones cannot; neither can prove."""
    peak = state.peaks.get(guardrail.name, 0.0)
    problem = "no outcomes" if tally is None else tally.problem(state.tallies.get(guardrail.name))
    if tally is None or problem is not None:
        aborts = peak >= policy.log_abort
        return Evidence(guardrail=guardrail.name, log_e_abort=peak, aborts=aborts, problem=problem)
    k, n_k = float(tally.control_events or 0), float(tally.control_shoppers or 0)
    c, n_c = float(tally.canary_events or 0), float(tally.canary_shoppers or 0)
    worse, other, settled = (c, k, n_c) if guardrail.harm == "more" else (k, c, n_k)
    # a process that stalled once makes many events of one cause, which are no independent coin tosses; and an origin
    # without the shop's key may be one person with many names: without the largest few, the evidence must suffice
    arms = ("canary", "control") if guardrail.harm == "more" else ("control", "canary")
    events_left = tally.canary_stall + getattr(tally, f"{arms[0]}_origin_events")
    other_left, clean_left = getattr(tally, f"{arms[1]}_origin_events"), getattr(tally, f"{arms[0]}_origin_clean")
    peak = max(peak, float(log_e_harm(max(worse - events_left, 0.0), other)))
    about = {"ratio": guardrail.ratio, "delta": guardrail.delta}
    proof = float(log_e_proof(worse, other - other_left, settled - clean_left, **about))
    lag = now - tally.complete_until
    late = f"outcomes are {lag:.0f} s late" if lag > policy.maximum_lag_s else None
    return Evidence(
        guardrail=guardrail.name,
        control_events=k,
        control_shoppers=n_k,
        canary_events=c,
        canary_shoppers=n_c,
        log_e_abort=peak,
        log_e_proof=proof,
        aborts=peak >= policy.log_abort,
        proven=late is None and proof >= policy.log_proof,
        problem=late,
    )


def _describe_counts(found: Evidence) -> str:
    if found.log_e_proof is None:  # its counts cannot be used now
        return f"{found.guardrail}: evidence {found.log_e_abort:.1f} from counts before; now: {found.problem}"
    return f"{found.guardrail}: {found.canary_events:.0f} canary and {found.control_events:.0f} control shoppers"


def _say_no_harm(policy: CanaryPolicy, evidence: list[Evidence]) -> str:
    """Say that no guardrail has reached the line of harm, and which one is nearest to it."""
    nearest = max(evidence, key=lambda e: e.log_e_abort)
    return f"no harm shown (nearest: {nearest.guardrail}, evidence {nearest.log_e_abort:.1f} of {policy.log_abort:.1f})"


def _say_proof(policy: CanaryPolicy, found: Evidence) -> str:
    return f"evidence {found.log_e_proof or 0.0:.1f} of {policy.log_proof:.1f}"


def _decide(
    policy: CanaryPolicy,
    state: CanaryState,
    outcomes: Outcomes,
    evidence: list[Evidence],
    mismatch: float,
    lost: str | None,
    now: float,
) -> tuple[Decision, list[str]]:
    """Decide, and give the reasons; the gravest decision comes first."""
    if state.final:
        return state.final, [f"decided before: {state.final}"]
    if mismatch >= policy.log_mismatch:
        split = f"{outcomes.canary_shoppers} canary and {outcomes.control_shoppers} control shoppers"
        return Decision.VOID, [f"the split is broken: {split} do not come from a fair split"]
    if harmful := [e for e in evidence if e.aborts]:
        # one harm brings others along: a shopper who got no answer does not click either
        suspect = [e for e in evidence if not e.aborts and e.log_e_abort >= policy.log_abort / 2]
        return Decision.ABORT, [_describe_counts(e) for e in harmful] + [
            f"suspect too: {_describe_counts(e)}" for e in suspect
        ]
    if problems := [f"{e.guardrail}: {e.problem}" for e in evidence if e.problem] + ([lost] if lost else []):
        return Decision.HOLD, problems
    step = policy.steps[state.step]
    gained, elapsed = _gained_shoppers(state, outcomes), now - state.step_started
    waiting = _say_unseen(policy, evidence)
    if gained < step.minimum_shoppers:
        waiting.append(f"{gained:.0f} of {step.minimum_shoppers} shoppers in this step")
    if elapsed < step.minimum_s:
        waiting.append(f"{elapsed:.0f} of {step.minimum_s:.0f} seconds in this step")
    if waiting:
        return Decision.HOLD, waiting
    if state.step + 1 < len(policy.steps):
        return Decision.ADVANCE, [f"{gained:.0f} shoppers in this step, {_say_no_harm(policy, evidence)}"]
    return _decide_promotion(policy, evidence)


def _say_unseen(policy: CanaryPolicy, evidence: list[Evidence]) -> list[str]:
    """Name the guardrails that have seen nothing of an arm: what nobody looked at shows no harm, and proves nothing.

    Where no proof is asked for, the times in which carts and purchases are awaited are not waited for.
    """
    found = []
    for guardrail, e in zip(policy.guardrails, evidence, strict=True):
        if not policy.proof and guardrail.follow_up_s > 0:
            continue
        arms = [arm for arm, count in (("control", e.control_shoppers), ("canary", e.canary_shoppers)) if count < 1]
        if arms:
            found.append(f"{e.guardrail}: no shopper of the {' and the '.join(arms)} is settled yet")
        elif policy.proof and guardrail.harm == "less" and guardrail.delta == 0 and e.control_events < 1:
            found.append(f"{e.guardrail}: none in the control yet, so their log may be broken")
    return found


def _decide_promotion(policy: CanaryPolicy, evidence: list[Evidence]) -> tuple[Decision, list[str]]:
    """Decide at the end of the last step, where no harm was shown and the counts can be used."""
    if not policy.proof:
        return Decision.PROMOTE, [f"{_say_no_harm(policy, evidence)}; this policy asks for no proof"]
    if unproven := [f"{e.guardrail}: not proven yet, {_say_proof(policy, e)}" for e in evidence if not e.proven]:
        return Decision.HOLD, unproven
    weakest = min(evidence, key=lambda e: e.log_e_proof or 0.0)
    said = (
        f"all {len(evidence)} guardrails are proven (the weakest: {weakest.guardrail}, {_say_proof(policy, weakest)})"
    )
    return Decision.PROMOTE, [said]


def _gained_shoppers(state: CanaryState, outcomes: Outcomes) -> float:
    """Return how many shoppers the smaller arm has gained in this step."""
    control, canary = state.shoppers_at_step
    return min(float(outcomes.control_shoppers or 0) - control, float(outcomes.canary_shoppers or 0) - canary)
