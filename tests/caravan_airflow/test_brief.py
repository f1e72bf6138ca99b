"""What a reviewer reads: figures, what got worse, where it came from; and nothing that a person wrote is markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import release as files
from releases.brief import Facts, compose
from releases.brief_figures import plain
from tests.caravan_airflow.ledger_rows import DIGEST, rows
from tests.scenarios.made_release import reports

CHAMPION = "cd" * 32


def facts(*, champion: str | None = CHAMPION, policy: str = "default", author: str = "anna", **other: Any) -> Facts:
    made = reports(champion)
    return Facts(**{
        "source": "shop", "digest": DIGEST, "champion": champion,
        "moves": rows(("built", {"author": author, "version": 3}), ("gated", {"policy": policy, "version": 3})),
        "meta": {"day": "2026-01-31", "recipe": "default", "run_id": "r", "champion": champion},
        "evaluation": made[files.EVALUATION], "gate": made[files.GATE], "lineage": made[files.LINEAGE],
        **other,
    })  # fmt: skip


def test_it_says_what_a_reviewer_needs() -> None:
    brief = compose(facts(drift="no drift: 0 of 5 columns drifted"))
    assert brief.title == f"shop version 3, {DIGEST[:12]}: may it meet shoppers?"
    assert (brief.version, brief.day, brief.run_id) == (3, "2026-01-31", "r")
    for words in (
        "Made by **anna**", "**+0.0080** (95 % interval by the questions +0.0010 to +0.0150): better",
        "| NDCG@10, questions weighing alike | 0.2130 (0.2030 to 0.2230) | 0.2050 (0.1950 to 0.2150) |",
        "| cold item | 212 | 0.0230 | 0.2050 | -0.1820 |", "2 of 3, by NDCG@10",
        "Days 2026-01-01 to 2026-01-31, 81233 interactions", "no drift: 0 of 5", "Policy **default**",
        "50 % (1000 shoppers, 24 h at least)", DIGEST, f"Champion now: `{CHAMPION[:12]}`.",
    ):  # fmt: skip
        assert words in brief.text, words


@pytest.mark.parametrize(
    ("low", "high", "word"), [(-0.05, -0.01, "worse"), (0.01, 0.05, "better"), (-0.01, 0.05, "no clear")]
)
def test_neighbours_are_told_in_words_also_when_they_win(low: float, high: float, word: str) -> None:
    evaluation = dict(facts().evaluation)
    compared = {"mean": (low + high) / 2, "interval": [low, high]}
    evaluation["differences"] = {**evaluation["differences"], "last_item_neighbours": compared}
    text = compose(facts(evaluation=evaluation)).text
    told = text[text.index("Against the neighbours of the last item") :].split(".  ")[0]
    assert f"{low:+.4f} to {high:+.4f}" in told
    assert word in told.split("): ")[1][:12]


def test_a_demo_is_named_as_such() -> None:
    assert "Policy **demo**: small, hurried steps" in compose(facts(policy="demo")).text


def test_without_a_champion_it_says_that_there_is_no_canary() -> None:
    text = compose(facts(champion=None)).text
    assert "The region serves **other** now" in compose(facts(champion=None, serving="other")).text
    assert "There was no champion to compare with" in text
    assert "**all shoppers at once**" in text


def test_a_champion_that_was_not_the_one_measured_against_is_told() -> None:
    assert "not against this one" in compose(facts(champion="ef" * 32, meta={"champion": CHAMPION})).text


def test_what_is_missing_is_said() -> None:
    text = compose(facts(evaluation={}, gate={}, lineage={}, meta={}, missing="it is *gone*")).text
    assert "There is no evaluation" in text
    assert r"Its files can not be read: it is \*gone\*. Do not approve it." in text
    assert "There is no drift report" in text


def test_a_rollback_before_is_told() -> None:
    moves = rows("built", "gated", "approved", ("rolled_back", {"actor": "controller", "reason": "abort: errors"}))
    assert "**Rolled back** on 2026-03-01 00:04 UTC by controller: abort: errors" in compose(facts(moves=moves)).text


@given(text=st.text(max_size=400))
def test_what_somebody_wrote_stays_text(text: str) -> None:
    line = plain(text)
    assert "\n" not in line
    assert len(line) <= 2 * 302
    bare = line.replace("\\\\", "")
    for character in "<>[]{}|`*":
        assert bare.count(character) == bare.count(f"\\{character}")


def test_templates_and_markup_of_others_are_shown_as_they_are() -> None:
    text = compose(facts(author="{{7*7}} <script>x</script> [a](http://b)")).text
    assert r"\{\{7\*7\}\} \<script\>x\</script\> \[a\]\(http://b\)" in text
