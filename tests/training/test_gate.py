"""The gate says no with reasons, and yes only to figures that are numbers, enough, and no worse."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from training.gate import MIN_QUESTIONS, decide

GOOD: dict[str, Any] = {
    "held_out": ["2026-01-07"],
    "questions": 500,
    "rankers": {
        "challenger": {"ndcg_at_10": 0.06, "ndcg_at_10_interval": [0.05, 0.07]},
        "popularity": {"ndcg_at_10": 0.02},
        "champion": {"ndcg_at_10": 0.061},
    },
    "differences": {
        "popularity": {"mean": 0.04, "interval": [0.03, 0.05]},
        "champion": {"mean": -0.001, "interval": [-0.004, 0.002]},
    },
}


def changed(*path: str, value: Any) -> dict[str, Any]:
    report = copy.deepcopy(GOOD)
    place = report
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return report


def test_a_good_challenger_passes_though_a_little_below_within_chance() -> None:
    decision = decide(GOOD)
    assert decision.passed
    assert not decision.reasons


def test_without_a_champion_there_is_nothing_to_regress_from() -> None:
    report = copy.deepcopy(GOOD)
    del report["rankers"]["champion"], report["differences"]["champion"]
    assert decide(report).passed


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (changed("rankers", "challenger", "ndcg_at_10", value=float("nan")), "not numbers: challenger.ndcg_at_10"),
        (changed("rankers", "challenger", "ndcg_at_10", value=None), "not numbers"),
        (changed("rankers", "challenger", "ndcg_at_10_interval", value=[0.1, None]), "not numbers"),
        (changed("differences", "champion", "mean", value=float("inf")), "champion.mean"),
        (changed("rankers", value={}), "rankers.challenger"),
        (changed("questions", value=MIN_QUESTIONS - 1), f"needs {MIN_QUESTIONS}"),
        (changed("rankers", "popularity", "ndcg_at_10", value=0.07), "not above popularity's 0.0700"),
        (changed("rankers", "popularity", "ndcg_at_10", value=0.06), "not above popularity"),
        (
            changed("differences", "champion", value={"mean": -0.01, "interval": [-0.02, -0.001]}),
            "worse than the champion beyond chance",
        ),
    ],
)
def test_refusals_come_with_their_reason(report: dict[str, Any], words: str) -> None:
    decision = decide(report)
    assert not decision.passed
    assert words in " ".join(decision.reasons)
    assert decision.to_dict()["passed"] is False
