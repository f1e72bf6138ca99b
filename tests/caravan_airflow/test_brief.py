"""What a reviewer reads: figures, what got worse, where it came from; and nothing that a person wrote is markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import release as files
from releases.approval.review_summary import Facts, compose
from releases.approval.summary_figures import plain
from tests.caravan_airflow.ledger_rows import DIGEST, rows
from tests.scenarios.made_release import evaluation, reports

CHAMPION = "cd" * 32


def facts(
    *, champion: str | None = CHAMPION, policy: str = "default", author: str = "anna",
    levels: dict[str, float] | None = None, **other: Any,
) -> Facts:  # fmt: skip
    """What is known of a release; `levels` are rankers' figures that differ from the usual ones."""
    made = reports(champion, **(levels or {}))
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
        "Made by **anna**", "**+0.0080** (95 % interval +0.0010 to +0.0150): better; questions weighing alike +0.0071.",
        "| NDCG@10, shoppers alike | 0.2150 (0.2070 to 0.2230) | 0.2070 (0.1990 to 0.2150) |",
        "| NDCG@10 | 0.2130 (0.2030 to 0.2230) | 0.2050 (0.1950 to 0.2150) |",
        "| cold item | 212 | 0.0230 | 0.2050 | -0.1820 |", "2 of 3 are worse than the champion it met",
        "Not measured, with too few questions: quiet shopper (7)",
        "Days 2026-01-01 to 2026-01-31, 81233 interactions", "no drift: 0 of 5", "Policy **default**",
        "50 % (1000 shoppers, 24 h at least)", DIGEST, f"Champion now: `{CHAMPION[:12]}`.",
    ):  # fmt: skip
        assert words in brief.text, words


def test_a_demo_is_named_as_such() -> None:
    assert "Policy **demo**: small, hurried steps" in compose(facts(policy="demo")).text


def test_without_a_champion_it_says_that_there_is_no_canary() -> None:
    text = compose(facts(champion=None)).text
    assert "2 of 3 are worse than the most popular items" not in text
    assert "1 of 3 are worse than the most popular items" in text
    assert "The region serves **other** now" in compose(facts(champion=None, serving="other")).text
    assert "It met no champion" in text
    assert "against the champion" not in text
    assert "**all shoppers at once**" in text


def test_a_champion_that_was_not_the_one_measured_against_is_told() -> None:
    assert "not against this one" in compose(facts(champion="ef" * 32, meta={"champion": CHAMPION})).text


def test_one_that_was_measured_against_a_champion_that_serves_no_more_says_so() -> None:
    text = compose(facts(champion=None, meta={"champion": CHAMPION})).text
    assert f"No champion of this shop serves; **it was measured against `{CHAMPION[:12]}`**." in text


@pytest.mark.parametrize(
    ("neighbours", "words"),
    [
        (0.260, "-0.0470** (95 % interval -0.0540 to -0.0400): worse"),
        (0.154, "+0.0590** (95 % interval +0.0520 to +0.0660): better"),
        (0.215, "-0.0020** (95 % interval -0.0090 to +0.0050): no clear difference"),
    ],
)
def test_it_follows_the_figures_who_is_better(neighbours: float, words: str) -> None:
    text = compose(facts(levels={"last_item_neighbours": neighbours})).text
    assert f"against the neighbours of the last item, shoppers weighing alike: **{words}" in text
    assert ("**The neighbours of the last item are better**" in text) == ("worse" in words)


def test_the_anchor_is_named_with_what_it_was_chosen_from() -> None:
    text = compose(facts(levels={"anchor": 0.221})).text
    assert "The anchor is eeeeeeeeeeee, the best of 3 champions, present and former" in text
    assert "NDCG@10 against the anchor, shoppers weighing alike: **-0.0080**" in text
    assert "anchor" not in compose(facts()).text.partition("#### Gate")[0]


def test_no_slice_fell_is_said_only_where_none_did() -> None:
    better = evaluation(CHAMPION)
    for figures in better["slices"].values():
        if "challenger" in figures:
            figures["challenger"]["ndcg_at_10"] = 0.3
    assert "None of 3 slices is worse than the champion it met" in compose(facts(evaluation=better)).text
    few = evaluation(CHAMPION) | {"slices": {"new shopper": {"questions": 4}}}
    text = compose(facts(evaluation=few)).text
    assert "None of" not in text
    assert "too few questions: new shopper (4)" in text


def test_a_report_from_before_shoppers_weighed_alike_says_what_it_weighs() -> None:
    old = evaluation(CHAMPION)
    for figures in old["rankers"].values():
        figures.pop("ndcg_at_10_per_shopper")
        figures.pop("ndcg_at_10_per_shopper_interval")
    for difference in old["differences"].values():
        difference.pop("mean_per_question")
    for key in ("anchor", "noise"):
        old.pop(key)
    text = compose(facts(evaluation=old)).text
    assert "NDCG@10 against the champion it met, questions weighing alike: **+0.0080**" in text
    assert "shoppers alike" not in text


def test_figures_that_are_no_numbers_are_left_out() -> None:
    torn = evaluation(CHAMPION)
    torn["differences"]["champion"] |= {"mean": None, "interval": None}
    torn["differences"]["popularity"]["interval"] = None
    torn["rankers"]["champion"] |= {"ndcg_at_10": None}
    text = compose(facts(evaluation=torn)).text
    assert "against the champion it met" not in text.partition("#### Slices")[0]
    assert "against the most popular items, shoppers weighing alike: **+0.1320**: no interval is known" in text


def test_a_long_sentence_of_the_gate_is_not_cut() -> None:
    sentence = "Against the champion's 0.2050 the difference is -0.1%, " + "more " * 80 + "and that is all."
    gate = {"passed": True, "checks": [{"name": "no regression", "passed": True, "sentence": sentence}]}
    assert "and that is all" in compose(facts(gate=gate)).text


def test_what_is_missing_is_said() -> None:
    text = compose(facts(evaluation={}, gate={}, lineage={}, meta={}, missing="it is *gone*")).text
    assert "There is no evaluation" in text
    assert r"Its files cannot be read: it is \*gone\*. Do not approve it." in text
    assert "There is no drift report" in text
    assert "measured against" not in text


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
