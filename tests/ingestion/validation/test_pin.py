"""The catalog of a day belongs to its events: another shop's stops the night, and is not pinned."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from artifacts.lake import Lake
from contracts.errors import UnknownItems
from ingestion.landing.land import land
from ingestion.sources.shop import MadeShop, generate
from ingestion.sources.shop_world import ShopPlan
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, NOW, catalog, lake, parquet, rows

PLAN = ShopPlan(days=2, shoppers=200, items=100, seed=7, end=date(2024, 3, 5))
DAY = "2024-03-05"


def landed(where: Lake, made: MadeShop, catalog: Path | None = None) -> None:
    land(where, made.events, catalog or made.catalog, pseudonymizer=KEY, now=NOW, replace=True)


@pytest.fixture
def shops(tmp_path: Path) -> tuple[MadeShop, MadeShop]:
    return generate(PLAN, tmp_path / "7"), generate(replace(PLAN, seed=8), tmp_path / "8")


def viewed(items: int, known: int, tmp_path: Path, where: Lake) -> None:
    """A day on which `items` different items were viewed, of which the catalog knows `known`."""
    view = rows(2)[1] | {"kind": "view", "query": None, "position": None, "value": None}
    times = [(n, again) for n in range(items) for again in range(8 if n < known else 1)]
    events = [view | {"event_id": f"v{n}-{again}", "item_id": f"item-{n}"} for n, again in times]
    titled: list[dict[str, Any]] = [{"item_id": f"item-{n}", "title": f"Item {n}"} for n in range(known)]
    more: list[dict[str, Any]] = [{"item_id": f"other-{n}", "title": f"Other {n}"} for n in range(500)]
    path = catalog(tmp_path / f"{known}.jsonl", titled + more)
    land(where, [parquet(events, tmp_path / "e")], path, pseudonymizer=KEY, now=NOW)


def test_another_shop_in_the_same_place_is_refused_with_both_numbers(
    tmp_path: Path, shops: tuple[MadeShop, MadeShop]
) -> None:
    first, second = shops
    where = lake(tmp_path)
    landed(where, first)
    validate_day(where, DAY)
    pinned = where.digest("catalog", DAY)
    landed(where, second)
    with pytest.raises(UnknownItems, match=rf"the catalog of {DAY} knows 0 of the \d\d items .* looked at on {DAY}"):
        validate_day(where, DAY)
    assert where.digest("catalog", DAY) == pinned
    validate_day(where, DAY, accept_changes=True)
    assert where.digest("catalog", DAY) != pinned
    assert validate_day(where, DAY).catalog_items == 101


def test_a_wrong_catalog_is_not_pinned_so_the_right_one_helps(tmp_path: Path, shops: tuple[MadeShop, MadeShop]) -> None:
    first, second = shops
    where = lake(tmp_path)
    landed(where, first, catalog=second.catalog)
    with pytest.raises(UnknownItems, match="it comes from catalog.parquet"):
        validate_day(where, DAY)
    assert where.digest("catalog", DAY) is None
    landed(where, first)
    assert validate_day(where, DAY).catalog_items == 101


@pytest.mark.parametrize(("items", "known", "passes"), [(40, 20, True), (40, 19, False), (20, 0, False), (19, 0, True)])
def test_half_of_the_items_must_be_known_unless_they_are_too_few_to_tell(
    tmp_path: Path, items: int, known: int, passes: bool
) -> None:
    where = lake(tmp_path)
    viewed(items, known, tmp_path, where)
    if passes:
        validate_day(where, "2024-03-04")
    else:
        with pytest.raises(UnknownItems, match=f"knows {known} of the {items} items"):
            validate_day(where, "2024-03-04")


def test_what_was_let_pass_once_passes_again_and_the_share_is_a_setting(tmp_path: Path) -> None:
    where = lake(tmp_path)
    viewed(40, 10, tmp_path, where)
    assert validate_day(where, "2024-03-04", accept_changes=True).catalog_items == 510
    assert not validate_day(where, "2024-03-04").written
    other = lake(tmp_path / "other")
    viewed(40, 10, tmp_path, other)
    assert validate_day(other, "2024-03-04", least_known=0.25).catalog_items == 510
