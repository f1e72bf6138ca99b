"""A catalog that was wrong when a day ran can be corrected, on the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import LargeChange
from ingestion.validation.pinned_catalog import CatalogCorrection
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import NOW
from tests.ingestion.validation.test_changes import Shop, actions, day_name, products

WHY = CatalogCorrection(by="os user anna", at="2024-06-01T08:00:00+00:00", reason="prices were in cents")


def test_a_day_that_ran_takes_the_corrected_catalog_and_says_who_and_why(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.land(actions(0), products(price=300.0))
    first = shop.validate(0)
    shop.land([], products(price=3.0))
    kept = shop.validate(0)
    assert kept.catalog_digest == first.catalog_digest
    assert "--correct-catalog" in str(kept)
    corrected = validate_day(shop.lake, day_name(0), correction=WHY, now=NOW)
    assert corrected.catalog_digest != first.catalog_digest
    assert f"corrected {WHY.at} by {WHY.by}: {WHY.reason} (it was {first.catalog_digest[:12]})" in str(corrected)
    later = shop.validate(0)
    assert later.catalog_digest == corrected.catalog_digest
    assert "--correct-catalog" not in str(later)


def test_corrected_once_more_it_names_both_and_with_nothing_new_it_changes_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.land(actions(0), products(price=300.0))
    shop.validate(0)
    digests = []
    for price in (3.0, 4.0, 4.0):
        shop.land([], products(price=price))
        digests.append(validate_day(shop.lake, day_name(0), correction=WHY, now=NOW).catalog_digest)
    assert digests[0] != digests[1] == digests[2]
    assert len(shop.lake.manifest("catalog", day_name(0)).meta["corrections"]) == 2


def test_a_correction_that_was_cut_in_transit_is_refused(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days(2)
    shop.land([], products(3))
    with pytest.raises(LargeChange, match="3 of 200 items are left"):
        validate_day(shop.lake, day_name(1), correction=WHY, now=NOW)
    assert shop.validate(1).catalog_items == 200


def test_other_days_keep_theirs(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days(3)
    before = [shop.lake.digest("catalog", day_name(n)) for n in range(3)]
    shop.land([], products(price=4.0))
    validate_day(shop.lake, day_name(1), correction=WHY, now=NOW)
    after = [shop.lake.digest("catalog", day_name(n)) for n in range(3)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
