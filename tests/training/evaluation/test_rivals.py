"""Whom a night's model meets: comparable releases alone, chosen once; and what earlier nights say of noise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from artifacts.ledger import Ledger, Move
from tests.training.conftest import Night
from training import recipes
from training.evaluation import rivals
from training.evaluation.noise import PRIOR_NIGHTS, training_noise
from training.evaluation.noise import Night as Difference
from training.evaluation.rivals import Rivals, among

START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = 10**18


def move(digest: str, day: float, to: str = "champion", came_from: str | None = "canary") -> Move:
    fields: dict[str, Any] = dict.fromkeys(Move.__dataclass_fields__)
    fields |= {
        "source": "shop", "digest": digest, "to_state": to, "from_state": came_from,
        "at": START + timedelta(days=day), "evidence": {},
    }  # fmt: skip
    return Move(**fields)


def lineage(day: int = 0, cutoff_us: int = 1, recipe: str = "quick") -> dict[str, Any]:
    full = (START + timedelta(days=day)).date().isoformat()
    return {"cutoff_us": cutoff_us, "full_training_day": full, "recipe": {"name": recipe}}


def chosen(moves: list[Move], known: dict[str, dict[str, Any]], *, day: int = 3, recipe: str = "quick") -> Rivals:
    when = (START + timedelta(days=day)).date().isoformat()
    return among(moves, known.get, 100, when, recipes.get(recipe))


def test_the_champion_is_met_and_started_from() -> None:
    assert chosen([move("a", 1)], {"a": lineage()}) == Rivals(champion="a", anchors=("a",), start_from="a")
    assert chosen([], {}) == Rivals()


def test_a_release_that_saw_later_days_is_nobodys_rival() -> None:
    assert chosen([move("a", 1)], {"a": lineage(cutoff_us=LATE)}) == Rivals()
    found = chosen([move("a", 1), move("b", 2)], {"a": lineage(cutoff_us=LATE), "b": lineage()})
    assert found.anchors == ("b",)
    assert chosen([move("a", 1)], {}) == Rivals()  # its files are gone


@pytest.mark.parametrize(("day", "recipe", "warm"), [(6, "quick", True), (7, "quick", False), (3, "default", False)])
def test_a_line_of_warm_trainings_ends_after_a_week_or_with_another_recipe(
    *, day: int, recipe: str, warm: bool
) -> None:
    found = chosen([move("a", 1)], {"a": lineage()}, day=day, recipe=recipe)
    assert found.champion == "a"
    assert found.start_from == ("a" if warm else None)


def test_anchors_are_those_that_served_in_the_month_before_the_champion_took_over() -> None:
    """Counted from there: while every night is refused, the good champions of before stay in the window."""
    moves = [move("old", 0), move("good", 5), move("fair", 20), move("now", 40)]
    known = {name: lineage() for name in ("old", "good", "fair", "now")}
    assert chosen(moves, known).anchors == ("now", "fair", "good")  # old ended on day 5, 35 days before
    many = [move(str(number), number / 10) for number in range(50)]
    assert len(chosen(many, {str(number): lineage() for number in range(50)}).anchors) == rivals.MOST_ANCHORS


def test_an_anchor_stays_one_while_it_is_better_than_what_followed() -> None:
    moves = [move("best", 0), move("fair", 5), move("now", 40)]
    known = {"best": lineage(), "fair": lineage(), "now": {**lineage(), "anchors": ["best"]}}
    assert chosen(moves, known).anchors == ("now", "best", "fair")
    assert chosen(moves, known | {"now": lineage()}).anchors == ("now", "fair")


def test_a_champion_that_was_rolled_back_is_no_champion() -> None:
    moves = [move("a", 1), move("a", 2, to="rolled_back", came_from="champion")]
    assert chosen(moves, {"a": lineage()}) == Rivals()
    again = [*moves, move("b", 3)]
    assert chosen(again, {"a": lineage(), "b": lineage()}).anchors == ("b", "a")


def test_rivals_are_chosen_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        def history(self, _: str) -> list[Move]:
            return []

    monkeypatch.setattr(Ledger, "of", classmethod(lambda *_: Empty()))
    day = night.days[-1]
    assert rivals.choose(night.s, "shop", day, "small") == Rivals()
    monkeypatch.setattr(rivals, "among", lambda *_: Rivals(champion="later", anchors=("later",)))
    assert rivals.choose(night.s, "shop", day, "small") == Rivals()
    other = rivals.choose(night.s, "shop", day, "tiny")  # another training, another choice
    assert other.champion == "later"


def test_noise_of_training_is_what_earlier_nights_show_beyond_the_questions() -> None:
    assert training_noise([], 0.016) == 0.016
    draw = np.random.default_rng(5)

    def nights(noise: float, count: int) -> list[Difference]:
        differences = draw.normal(0, np.hypot(noise, 0.01), count)
        return [Difference(difference=float(d), standard_error=0.01) for d in differences]

    few, many = training_noise(nights(0.06, 3), 0.016), training_noise(nights(0.06, 30), 0.016)
    assert 0.016 < few < many < 0.07
    assert many > 0.04
    assert training_noise(nights(0.0, 30), 0.016) < 0.012
    bad = [Difference(difference=-0.4, standard_error=0.01)] * 4  # four broken nights are no noise
    assert training_noise([*nights(0.016, 26), *bad], 0.016) < 0.025
    assert training_noise([Difference(difference=float("nan"), standard_error=1.0)], 0.016) == 0.016
    assert PRIOR_NIGHTS > 0
