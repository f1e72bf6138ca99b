"""The road of a release, and the canary's steps in it, are told once."""

from __future__ import annotations

from typing import get_args

from contracts.release import CANARY_SHARE, CANARY_STEPS, IN_FLIGHT, MOVES, SERVABLE, State
from monitoring.canary_policy import POLICIES

ENDS = {"rejected", "rolled_back"}


def test_the_steps_lead_from_the_shadow_to_champion() -> None:
    assert CANARY_STEPS == ("canary_1", "canary_5", "canary_25", "canary_50")
    road = ["shadow"]
    while road[-1] != "champion":
        (after,) = MOVES[road[-1]] - ENDS  # type: ignore[index]
        road.append(after)
    assert road == ["shadow", *CANARY_STEPS, "champion"]
    assert all(MOVES[step] >= ENDS for step in IN_FLIGHT)


def test_every_state_has_its_moves_and_every_policy_the_same_shares() -> None:
    states = set(get_args(State))
    assert set(MOVES) - {None} == states
    assert set(CANARY_STEPS) == {state for state in states if state.startswith("canary_")}
    assert states - set(SERVABLE) == {"built", "gated", "rejected", "rolled_back"}
    for policy in POLICIES.values():
        assert [step.share for step in policy.steps] == list(CANARY_SHARE.values())
