"""The card says what a model is, from its own reports, and fits into MLflow's database whatever they say."""

from __future__ import annotations

from typing import Any

from contracts import release as files
from releases.model.card import LONGEST, card
from tests.scenarios.made_release import evaluation, reports

DIGEST = "d" * 64
META = {"source": "shop", "recipe": "default", "day": "2026-01-05"}
RANKER = {"ranks": "ranker", "sources": ["sequence", "follows", "popular"]}


def written(**changed: Any) -> str:
    about = {"evaluation": evaluation("c" * 64), "lineage": dict(LINEAGE), "ranker": RANKER, **changed}
    return card(DIGEST, META, **about)


LINEAGE = {
    "partitions": {"events": {"2026-01-03": "x", "2026-01-01": "y"}}, "held_out": ["2026-01-04"], "commit": "abc",
}  # fmt: skip


def test_the_card_names_recipe_days_sources_and_figures_with_intervals() -> None:
    text = written()
    for said in (
        DIGEST, "**default**", "days 2026-01-01 to 2026-01-03", "held out: 2026-01-04", "sequence, follows, popular",
        "the ranker, from all sources together", "95 %", "| --- |",
    ):  # fmt: skip
        assert said in text, said
    assert len(text) <= LONGEST


def test_what_ranks_alone_is_named() -> None:
    assert "What ranks: the source follows alone" in written(ranker=RANKER | {"ranks": "follows"})
    assert "What ranks: the sequence model alone" in written(ranker={})


def test_a_release_without_reports_has_a_card() -> None:
    text = card(DIGEST, {}, evaluation={}, lineage={}, ranker={})
    assert DIGEST in text
    assert "There is no evaluation" in text


def test_a_long_card_ends_at_a_line_and_says_where_the_rest_is() -> None:
    many = {f"slice {number}": {} for number in range(200)}
    worse = {
        name: {"questions": 50, "challenger": {"ndcg_at_10": 0.1}, "champion": {"ndcg_at_10": 0.2}} for name in many
    }
    text = written(evaluation=evaluation("c" * 64) | {"slices": worse})
    assert len(text) <= LONGEST
    assert text.endswith("brief of the release's request for approval.")


def test_the_reports_of_a_made_release_give_a_card() -> None:
    made = reports("c" * 64)
    text = card(DIGEST, META, evaluation=made[files.EVALUATION], lineage=made[files.LINEAGE], ranker={})
    assert "NDCG@10" in text


def test_what_people_wrote_is_shown_as_text() -> None:
    text = card(DIGEST, META | {"recipe": "<script>alert(1)</script>"}, evaluation={}, lineage={}, ranker={})
    assert "<script>" not in text
