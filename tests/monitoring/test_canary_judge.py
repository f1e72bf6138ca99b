"""VOID, ABORT, ADVANCE, PROMOTE, HOLD: when, why, and that a restart changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError
from monitoring.canary_judge import CanaryState, CanaryVerdict, Decision, advance, begin, judge
from monitoring.canary_policy import CanaryPolicy, CanaryStep
from monitoring.guardrails import Guardrail, Outcomes, Tally

GUARDRAILS = (
    Guardrail(name="errors"),
    Guardrail(name="timeouts"),
    Guardrail(name="clicks", harm="less", ratio=1.25, delta=0.0),
)
STEPS = tuple(CanaryStep(share=s, minimum_shoppers=100, minimum_s=60, maximum_s=600) for s in (1, 5, 50))
POLICY = CanaryPolicy(guardrails=GUARDRAILS, steps=STEPS)
LAST = len(STEPS) - 1


def outcomes(
    n: int, *, until: float, errors: tuple[int, int] = (0, 0), clicks: tuple[int, int] | None = None
) -> Outcomes:
    """Make outcomes of n shoppers per arm, all settled; pairs are (control, canary) shoppers with the event."""
    k, c = clicks or (n // 5, n // 5)
    pairs = {"errors": errors, "timeouts": (0, 0), "clicks": (k, c)}
    return Outcomes(
        control_shoppers=n,
        canary_shoppers=n,
        tallies={
            name: Tally(control_shoppers=n, control_events=a, canary_shoppers=n, canary_events=b, complete_until=until)
            for name, (a, b) in pairs.items()
        },
    )


def state_at(step: int, policy: CanaryPolicy = POLICY) -> CanaryState:
    return replace(begin(policy, release="d" * 64, at=0.0), step=step)


def look(found: Outcomes, *, step: int = LAST, now: float = 100.0) -> CanaryVerdict:
    return judge(POLICY, state_at(step), found, now=now)[1]


def change(found: Outcomes, name: str, **values: Any) -> Outcomes:
    return replace(found, tallies={**found.tallies, name: replace(found.tallies[name], **values)})


def test_a_clean_release_goes_through_every_step_and_is_promoted() -> None:
    state, now, n, story = state_at(0), 0.0, 0, []
    while state.final is None and now < 10_000:
        now += 60
        n += 150
        found = outcomes(n, until=now)
        state, verdict = judge(POLICY, state, found, now=now)
        story.append(verdict.decision)
        if verdict.decision is Decision.ADVANCE:
            state = advance(POLICY, state, found, at=now)
    assert story[:2] == [Decision.ADVANCE, Decision.ADVANCE]
    assert set(story[2:-1]) == {Decision.HOLD}
    assert story[-1] is Decision.PROMOTE


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_harm_aborts_at_any_step_and_names_the_guardrail(step: int) -> None:
    verdict = look(outcomes(500, until=100, errors=(0, 20)), step=step)
    assert verdict.decision is Decision.ABORT
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith("errors: 20 canary and 0 control")


def test_a_process_that_stood_still_once_is_no_harm_and_one_that_is_slow_is() -> None:
    once = change(outcomes(100, until=100.0, errors=(1, 30)), "errors", canary_stall=29)
    assert look(once).decision is not Decision.ABORT
    again = change(outcomes(100, until=100.0, errors=(1, 60)), "errors", canary_stall=29)
    assert look(again).decision is Decision.ABORT


def test_as_many_failures_in_both_arms_are_no_harm() -> None:
    assert look(outcomes(1000, until=100, errors=(60, 60)), step=0).decision is Decision.ADVANCE


def test_a_release_that_helps_is_no_harm() -> None:
    verdict = look(outcomes(3000, until=100, errors=(90, 5), clicks=(500, 900)))
    assert verdict.decision is Decision.PROMOTE


def test_lost_clicks_abort() -> None:
    verdict = look(outcomes(2000, until=100, clicks=(400, 250)))
    assert (verdict.decision, verdict.reasons[0].split(":")[0]) == (Decision.ABORT, "clicks")


def test_without_a_click_in_either_arm_nothing_is_proven() -> None:
    verdict = look(outcomes(5000, until=100, clicks=(0, 0)))
    assert verdict.decision is Decision.HOLD
    assert [reason.partition(",")[0] for reason in verdict.reasons] == ["clicks: none in the control yet"]


@pytest.mark.parametrize("arm", ["control", "canary"])
def test_no_step_is_left_while_a_guardrail_has_seen_nobody_of_an_arm(arm: str) -> None:
    """With a minimum of one shopper and no time, as a demonstration has: nothing counted is no proof of anything."""
    steps = tuple(replace(step, minimum_shoppers=1, minimum_s=0.0) for step in STEPS)
    policy = replace(POLICY, steps=steps)
    seen = outcomes(1, until=100, clicks=(1, 1))
    assert judge(policy, state_at(0, policy), seen, now=100.0)[1].decision is Decision.ADVANCE
    unseen = change(seen, "timeouts", **{f"{arm}_shoppers": 0})
    verdict = judge(policy, state_at(0, policy), unseen, now=100.0)[1]
    assert (verdict.decision, verdict.reasons) == (
        Decision.HOLD, (f"timeouts: no shopper of the {arm} is settled yet",)
    )  # fmt: skip


def test_no_step_is_left_without_a_single_event_where_events_are_frequent() -> None:
    assert look(outcomes(500, until=100, clicks=(0, 0)), step=0).decision is Decision.HOLD
    assert look(outcomes(500, until=100, clicks=(1, 1)), step=0).decision is Decision.ADVANCE


def test_one_origin_without_the_shops_key_neither_aborts_nor_proves() -> None:
    """One person with many names: whatever they do in whichever arm, the verdict is as without them, or HOLD."""
    failing = change(outcomes(500, until=100, errors=(0, 20)), "errors", canary_origin_events=20)
    assert look(failing, step=0).decision is Decision.ADVANCE
    enough = change(outcomes(500, until=100, errors=(0, 33)), "errors", canary_origin_events=20)
    assert look(enough, step=0).decision is Decision.ABORT
    clicking = change(outcomes(2000, until=100, clicks=(400, 250)), "clicks", control_origin_events=150)
    assert look(clicking, step=0).decision is Decision.ADVANCE
    proven = outcomes(1000, until=100, clicks=(500, 500))
    assert look(proven).decision is Decision.PROMOTE
    for part, count in (("canary_origin_clean", 100), ("control_origin_clean", 100)):
        padded = change(proven, "errors", **{part: count})
        assert look(padded).decision is (Decision.HOLD if part.startswith("canary") else Decision.PROMOTE)
    masked = change(outcomes(3000, until=100, errors=(60, 40)), "errors", control_origin_events=60)
    assert look(outcomes(3000, until=100, errors=(60, 40))).decision is Decision.PROMOTE
    assert look(masked).decision is Decision.HOLD


def test_the_last_step_needs_proof_and_says_for_what() -> None:
    assert look(outcomes(300, until=100)).decision is Decision.HOLD
    reasons = look(outcomes(300, until=100)).reasons
    assert any(reason.startswith("errors: not proven yet, evidence ") for reason in reasons)


def test_going_on_says_how_near_harm_was_and_how_strong_the_proof_is() -> None:
    calm, near = (look(outcomes(500, until=100, errors=(0, n)), step=0).reasons[0] for n in (0, 6))
    assert calm.startswith("500 shoppers in this step, no harm shown (nearest: ")
    assert "nearest: errors, evidence " in near
    assert calm != near
    proven = look(outcomes(3000, until=100))
    assert proven.decision is Decision.PROMOTE
    assert proven.reasons[0].startswith("all 3 guardrails are proven (the weakest: ")


def test_a_step_needs_its_shoppers_and_its_time() -> None:
    assert "99 of 100 shoppers" in look(outcomes(99, until=100), step=0).reasons[0]
    assert "59 of 60 seconds" in look(outcomes(200, until=59), step=0, now=59).reasons[0]
    state = replace(state_at(1), shoppers_at_step=(150, 150))
    verdict = judge(POLICY, state, outcomes(200, until=100), now=100.0)[1]
    assert "50 of 100 shoppers" in verdict.reasons[0], "only the shoppers of this step count"


@pytest.mark.parametrize("step", [0, LAST])
@pytest.mark.parametrize("value", [None, math.nan, -1.0])
@pytest.mark.parametrize("name", ["control_shoppers", "control_events", "canary_shoppers", "canary_events"])
def test_counts_that_are_missing_or_no_numbers_hold(step: int, value: float | None, name: str) -> None:
    good = outcomes(3000, until=100)
    assert look(good, step=step).decision in (Decision.ADVANCE, Decision.PROMOTE)
    verdict = look(change(good, "timeouts", **{name: value}), step=step)
    assert verdict.decision is Decision.HOLD
    assert verdict.reasons[0].startswith("timeouts: ")


@pytest.mark.parametrize("step", [0, LAST])
def test_a_missing_guardrail_or_missing_exposures_hold(step: int) -> None:
    good = outcomes(3000, until=100)
    without = replace(good, tallies={k: v for k, v in good.tallies.items() if k != "clicks"})
    assert look(without, step=step).reasons == ("clicks: no outcomes",)
    for lost in (None, math.nan):
        assert look(replace(good, canary_shoppers=lost), step=step).decision is Decision.HOLD


def test_late_counts_hold_but_may_abort() -> None:
    late = POLICY.maximum_lag_s + 1
    assert look(outcomes(3000, until=100 - late)).decision is Decision.HOLD
    assert "late" in look(outcomes(3000, until=100 - late)).reasons[0]
    assert look(outcomes(3000, until=100 - late, errors=(0, 40))).decision is Decision.ABORT


def test_counts_that_go_down_hold_and_a_known_abort_stays() -> None:
    state, _ = judge(POLICY, state_at(LAST), outcomes(500, until=100), now=100.0)
    state, verdict = judge(POLICY, state, outcomes(400, until=110), now=110.0)
    assert verdict.decision is Decision.HOLD
    assert "lost" in verdict.reasons[0]
    assert judge(POLICY, state, outcomes(3000, until=120), now=120.0)[1].decision is Decision.PROMOTE


def test_held_past_the_maximum_time_is_overdue() -> None:
    assert not look(outcomes(300, until=600), now=600.0).overdue
    assert look(outcomes(300, until=601), now=601.0).overdue


def test_a_broken_split_voids_the_run_even_if_a_guardrail_would_abort() -> None:
    broken = replace(outcomes(3000, until=100, errors=(0, 40)), control_shoppers=2000)
    assert look(broken).decision is Decision.VOID


@pytest.mark.parametrize(
    ("first", "decision"),
    [(outcomes(500, until=100, errors=(0, 40)), Decision.ABORT), (outcomes(3000, until=100), Decision.PROMOTE)],
)
def test_a_final_decision_is_never_taken_back(first: Outcomes, decision: Decision) -> None:
    state, verdict = judge(POLICY, state_at(LAST), first, now=100.0)
    assert verdict.decision is decision
    assert advance(POLICY, state, first, at=101.0) == state
    for later in (outcomes(9000, until=200), outcomes(9000, until=200, errors=(0, 400))):
        assert judge(POLICY, state, later, now=200.0)[1].decision is decision


def test_evidence_of_the_steps_before_counts() -> None:
    early = outcomes(500, until=100, errors=(0, 7))
    state, verdict = judge(POLICY, state_at(0), early, now=100.0)
    assert verdict.decision is Decision.ADVANCE
    state = advance(POLICY, state, early, at=100.0)
    assert judge(POLICY, state, outcomes(600, until=110, errors=(0, 14)), now=110.0)[1].decision is Decision.ABORT


def test_a_policy_cannot_change_under_a_running_canary() -> None:
    other = replace(POLICY, alpha=0.05)
    with pytest.raises(SettingsError, match="policy has changed"):
        judge(other, state_at(0), outcomes(10, until=1), now=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"guardrails": ()},
        {"guardrails": (GUARDRAILS[0], GUARDRAILS[0])},
        {"steps": ()},
        {"steps": STEPS[::-1]},
        {"alpha": 0.0},
        {"beta": 1.0},
        {"mismatch_alpha": math.nan},
        {"maximum_lag_s": 0.0},
    ],
)
def test_an_unusable_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        CanaryPolicy(**wrong)


@pytest.mark.parametrize("wrong", [{"share": 51}, {"minimum_shoppers": 0}, {"minimum_s": 9.0, "maximum_s": 9.0}])
def test_an_unusable_step_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        CanaryStep(**({"share": 1, "minimum_shoppers": 1, "minimum_s": 0, "maximum_s": 60} | wrong))


GROWTH = st.lists(
    st.tuples(st.integers(0, 400), *(st.integers(0, 12) for _ in range(4)), st.booleans()), min_size=1, max_size=12
)


def story(growth: list[tuple[int, int, int, int, int, bool]]) -> list[Outcomes]:
    """Make totals that grow; the flag loses one guardrail's counts for that look."""
    n, total, found = 0, [0, 0, 0, 0], []
    for i, (more, *events, lost) in enumerate(growth):
        n += more + 12
        total = [a + b for a, b in zip(total, events, strict=True)]
        k, c, clicks_k, clicks_c = total
        now = outcomes(n, until=60.0 * (i + 1), errors=(k, c), clicks=(clicks_k, clicks_c))
        found.append(change(now, "timeouts", canary_events=None) if lost else now)
    return found


@given(GROWTH)
def test_a_controller_that_restarts_before_every_look_comes_to_the_same_verdicts(growth: list[Any]) -> None:
    kept = running = state_at(0)
    for i, found in enumerate(story(growth)):
        now = 60.0 * (i + 1)
        kept, verdict = judge(POLICY, kept, found, now=now)
        restarted, same = judge(POLICY, CanaryState.from_json(running.to_json()), found, now=now)
        running, again = judge(POLICY, CanaryState.from_json(restarted.to_json()), found, now=now)
        assert verdict == same
        assert again.decision == verdict.decision
        assert running == kept == restarted
        if verdict.decision is Decision.ADVANCE:
            kept, running = (advance(POLICY, s, found, at=now) for s in (kept, running))


@given(GROWTH, st.data())
def test_evidence_depends_on_the_totals_and_not_on_the_looks_before(growth: list[Any], data: st.DataObject) -> None:
    looks = story(growth)
    some = [o for o in looks[:-1] if data.draw(st.booleans())] + [looks[-1]]
    now = 60.0 * len(looks)
    last = []
    for chosen in (looks, some):
        state = state_at(LAST)
        for found in chosen:
            state, verdict = judge(POLICY, state, found, now=now)
        last.append((state, verdict))
    (all_, seen_all), (few, seen_few) = last
    for a, b in zip(seen_all.evidence, seen_few.evidence, strict=True):
        assert (a.canary_events, a.log_e_proof, a.proven) == (b.canary_events, b.log_e_proof, b.proven)
    for name, peak in few.peaks.items():
        assert all_.peaks[name] >= peak, "more looks can only find more"
