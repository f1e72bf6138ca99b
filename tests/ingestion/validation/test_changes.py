"""What is shrunk, emptied or exploded is refused with both numbers, until a person lets it pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import DataError, LargeChange, UnknownItems
from contracts.exit_codes import REFUSED, code_of
from ingestion.landing.land import land
from ingestion.validation.report import DayReport
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, NOW, START, catalog, lake, parquet

Row = dict[str, Any]
ITEMS, SHOPPERS, EVENTS = 200, 40, 240
LAST = 6


def day_name(day: int) -> str:
    return f"{START + timedelta(days=day):%Y-%m-%d}"


def actions(day: int, count: int = EVENTS, *, prefix: str = "e") -> list[Row]:
    """Make a day's rows: views, and a purchase for each four."""
    return [
        {
            "event_id": f"{prefix}-{day}-{n:05d}", "event_time": START + timedelta(days=day, seconds=n),
            "user_id": f"u{n % SHOPPERS}", "session_id": None, "kind": "purchase" if n % 4 == 3 else "view",
            "item_id": f"i{n % ITEMS}", "query": None, "position": None, "value": 1.0,
        }
        for n in range(count)
    ]  # fmt: skip


def products(count: int = ITEMS, **more: Any) -> list[Row]:
    about = {"brand": "Oak", "category": "lamps", "price": 3.0, "description": "a lamp"} | more
    return [{"item_id": f"i{n}", "title": f"Lamp {n}"} | about for n in range(count)]


class Shop:
    """A shop whose days land and are validated one after the other."""

    def __init__(self, tmp_path: Path) -> None:
        self.lake, self._folder, self._files = lake(tmp_path), tmp_path, 0

    def land(self, events: list[Row], items: list[Row] | None = None, *, replace: bool = False) -> None:
        self._files += 1
        paths = [parquet(events, self._folder / f"e{self._files}")] if events else []
        given = catalog(self._folder / f"c{self._files}", items) if items else None
        report = land(self.lake, paths, given, pseudonymizer=KEY, now=NOW, replace=replace)
        assert not report.refused

    def validate(self, day: int, *, accept: bool = False, now: datetime = NOW) -> DayReport:
        return validate_day(self.lake, day_name(day), accept_changes=accept, now=now)

    def usual_days(self, count: int = LAST) -> Shop:
        for day in range(count):
            self.land(actions(day), products() if day == 0 else None)
            self.validate(day)
        return self


def few(rows: list[Row], share: float) -> list[Row]:
    return rows[: int(len(rows) * share)]


def each(rows: list[Row], **values: Any) -> list[Row]:
    return [row | values for row in rows]


DAYS: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "shrunk": (lambda r: few(r, 0.09), "events: 21, usual 240"),
    "nearly emptied": (lambda r: r[:2], "events: 2, usual 240"),
    "exploded": (lambda r: r + [x | {"event_id": f"{n}{x['event_id']}"} for x in r for n in range(11)],
                 "events: 2880, usual 240"),
    "few shoppers": (lambda r: [x | {"user_id": f"u{n % 3}"} for n, x in enumerate(r)], "shoppers: 3, usual 40"),
    "many shoppers": (lambda r: [x | {"event_id": f"s{n}", "user_id": f"v{n}"} for n, x in enumerate(r + r)],
                      "shoppers: 480, usual 40"),
    "one item": (lambda r: each(r, item_id="i7"), "items in events: 1, usual 200"),
    "no purchases": (lambda r: each(r, kind="view"), "purchase events: 0, usual 60"),
    "no views": (lambda r: each(r, kind="purchase"), "view events: 0, usual 180"),
    "rows of an unknown kind": (lambda r: each(r[:90], kind="teleport") + r[90:], "cannot be used: 37.5%, usual 0.0%"),
    "positions that are none": (lambda r: each(r[:70], position=-4) + r[70:], "cannot be used: 29.2%, usual 0.0%"),
    "no shoppers": (lambda r: each(r[:110], user_id=None) + r[110:], "cannot be used: 45.8%, usual 0.0%"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAYS)
def test_a_day_far_from_the_usual_is_refused_and_can_be_let_pass(tmp_path: Path, case: str) -> None:
    spoil, told = DAYS[case]
    shop = Shop(tmp_path).usual_days()
    shop.land(spoil(actions(LAST)))
    with pytest.raises(LargeChange, match=told) as caught:
        shop.validate(LAST)
    assert code_of(type(caught.value)) == REFUSED
    assert f"caravan validate {day_name(LAST)} --source shop --accept-changes" in caught.value.remedy
    assert shop.lake.digest("events", day_name(LAST)) is None
    shop.land(actions(LAST + 1))
    later = shop.validate(LAST + 1)  # the next night goes on without it, and says so
    assert told in later.skipped[day_name(LAST)]
    assert shop.lake.digest("events", day_name(LAST)) is None
    assert told in str(shop.validate(LAST, accept=True))
    assert told in str(shop.validate(LAST))  # it stays on the record, and nobody is asked again


ORDINARY: dict[str, Callable[[list[Row]], list[Row]]] = {
    "as ever": lambda r: r,
    "a quiet day": lambda r: few(r, 0.35),
    "a sale": lambda r: r + [x | {"event_id": f"{n}{x['event_id']}"} for x in r for n in range(3)],
    "sent again": lambda r: r * 12,
    "half as many shoppers": lambda r: [x | {"user_id": f"u{n % 20}"} for n, x in enumerate(r)],
    "some bad rows": lambda r: each(r[:20], position=-4) + r[20:],
    "guests": lambda r: each(r[:100], user_id="guest") + r[100:],
}


@pytest.mark.parametrize("case", ORDINARY)
def test_an_ordinary_day_passes(tmp_path: Path, case: str) -> None:
    shop = Shop(tmp_path).usual_days()
    shop.land(ORDINARY[case](actions(LAST)))
    assert shop.validate(LAST).changes == []


CATALOGS: dict[str, tuple[list[Row], str]] = {
    "cut in transit": (products(3), "3 of 200 items are left"),
    "half": (products(100), "100 of 200 items are left"),
    "two thirds": (products(134), "134 of 200 items are left"),
    "one": (products(1), "1 of 200 items are left"),
    "all sold out": (products(available=False), "items that can be bought: 0, usual 200"),
    "no prices": (products(price=None), "items with price: 0, usual 200"),
    "no categories": (products(category=None), "items with category: 0, usual 200"),
    "no brands": (products(brand=None), "items with brand: 0, usual 200"),
    "no descriptions": (products(description=None), "items with description: 0, usual 200"),
    "half sold out": (products(80) + products(available=False)[80:], "items that can be bought: 80, usual 200"),
}


@pytest.mark.parametrize("case", CATALOGS)
def test_a_catalog_that_shrank_since_yesterday_is_not_pinned(tmp_path: Path, case: str) -> None:
    items, told = CATALOGS[case]
    shop = Shop(tmp_path).usual_days(1)
    shop.land(actions(1), [item | {"sku": None} for item in items])
    with pytest.raises(DataError, match=told):
        shop.validate(1, now=NOW)
    assert shop.lake.digest("catalog", day_name(1)) is None
    assert shop.validate(0).catalog_items == ITEMS
    assert shop.validate(1, accept=True).catalog_items == len(items)
    assert "let pass" in str(shop.validate(1))
    shop.land(actions(2))
    if "left" not in told:  # what was let pass is usual from then on; of too few items the events speak
        assert shop.validate(2).catalog_items == len(items)
    shop.land([], products())
    assert shop.validate(3 if shop.lake.digest("events", day_name(3)) else 2).catalog_items in (ITEMS, len(items))


def test_a_catalog_that_explodes_is_refused_and_one_that_grows_is_not(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days()
    shop.land(actions(LAST), products(700))
    assert shop.validate(LAST).catalog_items == 700
    shop.land(actions(LAST + 1), products(2_000))
    with pytest.raises(LargeChange, match="items: 2000, usual 200"):
        shop.validate(LAST + 1)


def test_few_days_give_no_verdict(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days(4)
    shop.land(actions(4, 3))
    assert shop.validate(4).kept == 3


def test_a_history_that_lands_at_once_goes_in_and_its_last_day_is_judged(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    history = [row for day in range(12) for row in actions(day, 5 if day == 8 else EVENTS)]
    shop.land(history + actions(12, 4), products())
    with pytest.raises(LargeChange, match="events: 4, usual 240"):
        shop.validate(12)
    assert len(shop.lake.partitions("events")) == 12


def test_a_day_that_is_not_over_may_be_small_until_it_is_over(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days()
    shop.land(actions(LAST, 12))
    assert shop.validate(LAST, now=START + timedelta(days=LAST, hours=1)).kept == 12
    with pytest.raises(LargeChange, match="events: 12, usual 240"):
        shop.validate(LAST, now=START + timedelta(days=LAST + 1))


def test_late_rows_of_a_day_that_was_let_pass_ask_nobody_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days()
    shop.land(actions(LAST, 20))
    shop.validate(LAST, accept=True)
    shop.land(actions(LAST, 2, prefix="late"))
    assert shop.validate(LAST).kept == 22
    shop.land(actions(LAST, EVENTS, prefix="rest"))
    assert shop.validate(LAST).changes == []


def test_a_day_that_loses_most_of_its_rows_later_keeps_them(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days(LAST + 1)
    digest = shop.lake.digest("events", day_name(LAST))
    land(shop.lake, [parquet(actions(LAST, 9), tmp_path / "cut")], pseudonymizer=KEY, now=NOW, replace="confirmed")
    with pytest.raises(LargeChange, match="events: 9, usual 240"):
        shop.validate(LAST)
    assert shop.lake.digest("events", day_name(LAST)) == digest


#: How events may name items that the catalog has not, in a way that no spelling explains.
OTHER_NAMES: dict[str, Callable[[str], str]] = {
    "a prefix": lambda i: f"sku-{i}", "a suffix": lambda i: f"{i}-eu", "cut": lambda i: i[1:] + "x",
    "reversed": lambda i: i[::-1] + "!", "a path": lambda i: f"shop/{i}", "with a variant": lambda i: f"{i}:red",
    "hashed": lambda i: f"{hash(i):x}", "quoted": lambda i: f"'{i}'", "in brackets": lambda i: f"[{i}]",
    "another shop's": lambda i: f"other{i}",
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER_NAMES)
def test_interactions_with_items_that_the_catalog_has_not_stop_a_day(tmp_path: Path, case: str) -> None:
    """From the first day on above a share, and below it when it is far from usual."""
    rename = OTHER_NAMES[case]
    for count, days in ((120, 0), (60, LAST)):
        shop = Shop(tmp_path / str(count))
        if days:
            shop.usual_days()
        rows = actions(days)
        rows = [r | {"item_id": rename(str(r["item_id"]))} for r in rows[:count]] + rows[count:]
        shop.land(rows, None if days else products())
        kind, told = (LargeChange, "25.0%, usual 0.0%") if days else (UnknownItems, "of the 320 items|of 240 inter")
        with pytest.raises(kind, match=told):
            shop.validate(days)
        report = shop.validate(days, accept=True)
        assert f"{count} of 240 interactions name items that the catalog has not" in str(report)


def test_a_lake_of_an_older_version_is_judged_by_what_it_has(tmp_path: Path) -> None:
    shop = Shop(tmp_path).usual_days()
    for table in ("events", "catalog"):
        for day in shop.lake.partitions(table):
            meta = {
                k: v for k, v in shop.lake.manifest(table, day).meta.items() if k not in ("figures", "changes", "open")
            }
            shop.lake.publish(table, day, shop.lake.fetch(table, day), meta)
    shop.land(actions(LAST, 20), products(3))
    with pytest.raises(LargeChange, match="events: 20, usual 240"):
        shop.validate(LAST)
