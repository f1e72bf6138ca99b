"""The reason that the demo's script gives follows the figures of the release it approves."""

from __future__ import annotations

from typing import Any

import pytest

from caravan.cli.demo.reason import reason

NDCG = "ndcg_at_10_per_shopper"


def report(neighbours: float, *, champion: float | None = None, cold: float = 0.0) -> dict[str, Any]:
    levels = {"popularity": 0.05, "last_item_neighbours": neighbours} | ({"champion": champion} if champion else {})
    rival = "champion" if champion else "popularity"
    return {
        "rankers": {"challenger": {NDCG: 0.30}, **{name: {NDCG: level} for name, level in levels.items()}},
        "differences": {
            name: {"mean": 0.30 - level, "interval": [0.30 - level - 0.01, 0.30 - level + 0.01]}
            for name, level in levels.items()
        },
        "slices": {
            "cold item": {"questions": 40, "challenger": {"ndcg_at_10": 0.1 + cold}, rival: {"ndcg_at_10": 0.1}},
            "new shopper": {"questions": 40, "challenger": {"ndcg_at_10": 0.3}, rival: {"ndcg_at_10": 0.2}},
            "few": {"questions": 3},
        },
    }


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (report(0.35), "against the neighbours of the last item -0.0500 (95 % interval -0.0600 to -0.0400): worse"),
        (report(0.25), "against the neighbours of the last item +0.0500 (95 % interval +0.0400 to +0.0600): better"),
        (report(0.302), "-0.0020 (95 % interval -0.0120 to +0.0080): no clear difference"),
        (report(0.35, champion=0.28), "against the champion it met +0.0200 (95 % interval +0.0100 to +0.0300): better"),
        (report(0.35, champion=0.33), "against the champion it met -0.0300 (95 % interval -0.0400 to -0.0200): worse"),
        (report(0.35), "none of 2 slices is worse than the most popular items"),
        (
            report(0.35, champion=0.28, cold=-0.04),
            "1 of 2 slices are worse than the champion it met, the most: cold item -0.0400",
        ),
        ({}, "its evaluation cannot be read"),
    ],
)
def test_the_reason_follows_the_figures(figures: dict[str, Any], words: str) -> None:
    said = reason(figures)
    assert words in said
    assert said.startswith("answered by the demo's script, no person")
    assert ("champion" in said) == ("champion" in figures.get("rankers", {}))
