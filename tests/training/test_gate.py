"""The gate says no with reasons, and yes only to figures that are numbers, enough, and no worse."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from training.gate import MIN_QUESTIONS, RATE, WIDE, decide, margins

NDCG = "ndcg_at_10_per_shopper"


def against(mean: float, error: float = 0.002) -> dict[str, Any]:
    return {"mean": mean, "interval": [mean - 2 * error, mean + 2 * error], "standard_error": error}


GOOD: dict[str, Any] = {
    "held_out": ["2026-01-07"],
    "questions": 500,
    "shoppers": 120,
    "rankers": {
        "challenger": {NDCG: 0.297, f"{NDCG}_interval": [0.28, 0.31]},
        "popularity": {NDCG: 0.05},
        "last_item_neighbours": {NDCG: 0.25},
        "follows": {NDCG: 0.27},
        "champion": {NDCG: 0.30},
        "anchor": {NDCG: 0.301},
    },
    "differences": {
        "popularity": against(0.247),
        "champion": against(-0.003),
        "last_item_neighbours": against(0.047),
        "follows": against(0.027),
        "anchor": against(-0.004),
    },
    "anchor": {"asked": 4, "release": "a" * 64, "better": ["a" * 64]},
    "noise": {"training": 0.015, "nights": 3},
    "ranker": {"ranks": "ranker", "best_source": "follows"},
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
    text = str(decision)
    assert "Against the champion's 0.3000 the difference is -1.0%" in text
    assert "better than the neighbours of the last item, 0.2500" in text
    assert "better than the best of its sources alone, follows, 0.2700" in text


def test_without_a_champion_there_is_nothing_to_regress_from() -> None:
    report = copy.deepcopy(GOOD)
    for name in ("champion", "anchor"):
        del report["rankers"][name], report["differences"][name]
    report["anchor"] = {"asked": 0, "release": None, "better": []}
    decision = decide(report)
    assert decision.passed
    assert "It met no champion: none served, or" in str(decision)
    assert "No former champion could be asked" in str(decision)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (changed("rankers", "challenger", NDCG, value=float("nan")), f"not numbers: challenger.{NDCG}"),
        (changed("rankers", "challenger", NDCG, value=None), "not numbers"),
        (changed("rankers", "challenger", f"{NDCG}_interval", value=[0.1, None]), "not numbers"),
        (changed("differences", "champion", "mean", value=float("inf")), "champion.mean"),
        (changed("noise", "training", value=None), "noise.training"),
        (changed("rankers", value={}), "rankers.challenger"),
        (changed("rankers", "anchor", value={"ndcg_at_10": 0.3}), "rankers.anchor"),
        (changed("questions", value=MIN_QUESTIONS - 1), f"needs {MIN_QUESTIONS}"),
        (changed("differences", "popularity", value=against(0.004)), "not beyond chance above popularity's 0.0500"),
        (changed("differences", "popularity", value=against(-0.1)), "not beyond chance above popularity"),
        (
            changed("rankers", "popularity", value={NDCG: 0.4}) | {"differences": {"popularity": against(-0.1)}},
            "not above",
        ),
        (changed("differences", "champion", value=against(-0.03)), "the difference is -10.0%"),
        (changed("differences", "anchor", value=against(-0.029)), "the best of 4 champions, present and former"),
    ],
)
def test_refusals_come_with_their_reason(report: dict[str, Any], words: str) -> None:
    decision = decide(report)
    assert not decision.passed
    assert words in " ".join(decision.reasons)
    assert decision.to_dict()["passed"] is False


LOST = [(-0.02, 0.002, False), (-0.004, 0.0001, True), (-0.02, 0.02, True), (0.02, 0.002, True)]


@pytest.mark.parametrize("part", ["follows", "last_item_neighbours"])
@pytest.mark.parametrize(("mean", "error", "passed"), LOST)
def test_what_is_put_together_may_not_be_worse_than_its_parts(
    part: str, mean: float, error: float, *, passed: bool
) -> None:
    """Worse by more than 2 % of the part's figure and by more than chance."""
    decision = decide(changed("differences", part, value=against(mean, error)))
    assert decision.passed == passed, str(decision)
    if not passed:
        assert "is worse than" in " ".join(decision.reasons)


def test_the_best_part_is_the_one_that_was_best_on_earlier_days() -> None:
    """One that happens to be best on the test refuses nothing: the pick of many is a winner's curse."""
    report = changed("ranker", "best_source", value="sequence")
    report["rankers"]["sequence"], report["differences"]["sequence"] = {NDCG: 0.2}, against(0.09)
    report["differences"]["follows"] = against(-0.1)
    assert decide(report).passed


@pytest.mark.parametrize(("noise", "anchors"), [(0.0, 1), (0.01, 30), (0.02, 1), (0.023, 30), (0.03, 12), (0.06, 30)])
def test_margins_let_equally_good_nights_pass_and_stay_below_what_matters(noise: float, anchors: int) -> None:
    """Simulated: the model of the noise that margins() integrates over, drawn."""
    least, most = margins(noise, anchors, 0.05)
    assert 0.05 <= least <= most
    draw = np.random.default_rng(17)
    nights = 100_000
    ours, champion = draw.normal(0, noise / math.sqrt(2), (2, nights))
    best = (
        np.maximum(champion, draw.normal(0, noise / math.sqrt(2), (anchors, nights)).max(axis=0))
        if anchors
        else champion
    )
    refused = float(((champion - ours > least) | (best - ours > most)).mean())
    if most < math.nextafter(WIDE, 0) and least < WIDE:
        assert refused <= RATE
    assert least < WIDE or least == most


def test_a_shop_that_cannot_see_a_loss_is_told_so() -> None:
    report = changed("differences", "champion", value=against(-0.02, 0.015))
    decision = decide(report)
    assert decision.passed
    assert "500 questions of 120 shoppers cannot show a loss below 13%" in str(decision)


def test_the_margin_is_a_setting() -> None:
    report = changed("differences", "champion", value=against(-0.03))
    assert not decide(report).passed
    assert decide(report, margin=0.12).passed
