"""Whoever approves a release sees every large change of its data that somebody let pass."""

from __future__ import annotations

from pathlib import Path

from ingestion.validation.validate import validate_day
from releases.approval.data_changes import large_changes
from releases.approval.review_summary import Facts, compose
from tests.caravan_airflow.ledger_rows import DIGEST, rows
from tests.ingestion.builders import NOW
from tests.ingestion.validation.test_changes import LAST, Shop, actions, day_name, products
from tests.ingestion.validation.test_correction import WHY


def test_the_brief_names_days_and_catalogs_that_were_let_pass_or_corrected(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days()
    quiet = {"partitions": {"events": {day_name(0): str(shop.lake.digest("events", day_name(0)))}}}
    assert large_changes(shop.lake.store, quiet) == ()
    shop.land(actions(LAST, 20), products(100))
    shop.validate(LAST, accept=True)
    shop.land([], products(90))
    validate_day(shop.lake, day_name(LAST), accept_changes=True, correction=WHY, now=NOW)
    lineage = {
        "partitions": {
            "events": {day: str(shop.lake.digest("events", day)) for day in shop.lake.partitions("events")},
            "catalog": {day_name(LAST): str(shop.lake.digest("catalog", day_name(LAST)))},
        }
    }
    told = large_changes(shop.lake.store, lineage)
    moves = rows(("built", {"author": "anna", "version": 3}))
    text = compose(Facts(source="shop", digest=DIGEST, moves=moves, lineage=lineage, changes=told)).text
    for words in ("events: 20, usual 240", "items: 90, usual 200", f"by {WHY.by}: {WHY.reason}", day_name(LAST)):
        assert words in text, words


def test_what_an_erasure_published_again_says_nothing(tmp_path: Path) -> None:
    lineage = {"partitions": {"events": {day_name(0): "ab" * 32}, "catalog": {}}}
    assert large_changes(Shop(tmp_path).lake.store, lineage) == ()
    assert large_changes(Shop(tmp_path).lake.store, {}) == ()
