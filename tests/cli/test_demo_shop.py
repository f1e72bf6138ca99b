"""Which shop a demo shows, and in which home: one shop per home, whatever is asked for in whatever order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.cli.demo import generated_shop, sample_answers
from caravan.cli.demo.generated_shop import DemoHome, DemoShop, keep, kept, last_day, place_of
from contracts.errors import DataError, SettingsError
from contracts.settings import Settings
from ingestion.landing.table_reader import read_catalog

NOW = datetime(2026, 3, 29, 0, 0, 1, tzinfo=UTC)
END = date(2026, 3, 28)


def shop(*, seed: int = 7, end: date = END, days: int = 5, source: str = "shop") -> DemoShop:
    return DemoShop.new(source, seed=seed, shoppers=60, items=50, days=days, end=end)


def place(home: Path, wanted: DemoShop, *, another: bool = False, busy: tuple[int, ...] = ()) -> DemoHome:
    """Where it would be shown, remembered as the demo does."""
    found = place_of(Settings(home=home), wanted, taken=lambda _: another, usable=lambda _, offset: offset not in busy)
    keep(found)
    return found


def test_the_last_day_is_yesterday_in_utc_unless_it_is_named() -> None:
    assert last_day(None, now=NOW) == END
    for text in ("2024-02-29", "2025-01-01", "2026-03-28"):
        assert last_day(text, now=NOW) == date.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2026-03-29", "is not over yet: in UTC it is 2026-03-29"),
        ("2026-02-29", "is not a day"),
        ("20260301", "is a day without hyphens"),
        ("yesterday", "is not a day"),
        ("", "is not a day"),
        ("1969-12-31", "too long ago"),
    ],
)
def test_what_is_no_past_day_is_refused_with_a_day_that_is(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as refused:
        last_day(text, now=NOW)
    assert "--end " in refused.value.remedy


def test_a_new_home_takes_the_shop_and_the_same_demo_finds_it_again(tmp_path: Path) -> None:
    first = place(tmp_path, shop())
    assert (first.home, first.own, first.shop) == (tmp_path, False, shop())
    assert place(tmp_path, shop()) == first
    assert kept(tmp_path) == shop()


def test_on_a_later_day_the_same_shop_goes_on_with_the_same_days_before(tmp_path: Path) -> None:
    first = generated_shop.made(place(tmp_path, shop()))
    before = [path.read_bytes() for path in first.events]
    later = place(tmp_path, shop(end=END + timedelta(days=3)))
    assert (later.own, later.shop.opening, later.shop.before) == (False, shop().opening, END + timedelta(days=2))
    again = generated_shop.made(later)
    assert [path.read_bytes() for path in again.events][: len(before)] == before
    assert again.events[-1].stem == "2026-03-31"


@pytest.mark.parametrize(
    "other",
    [
        shop(seed=8),
        shop(days=6),
        shop(source="books"),
        shop(end=END - timedelta(days=1)),
        shop(end=END + timedelta(days=41)),
        shop(end=date(2024, 2, 29)),
    ],
)
def test_another_shop_gets_a_home_and_ports_of_its_own_and_finds_it_again(tmp_path: Path, other: DemoShop) -> None:
    place(tmp_path, shop())
    own = place(tmp_path, other)
    assert own.own
    assert own.home != tmp_path
    assert own.port_offset != 0
    assert place(tmp_path, other) == own
    assert place(tmp_path, shop()).home == tmp_path


def test_a_home_with_other_data_than_a_demos_keeps_it(tmp_path: Path) -> None:
    assert place(tmp_path, shop(), another=True).own
    assert kept(tmp_path) is None


def test_ports_that_others_took_meanwhile_are_not_insisted_on(tmp_path: Path) -> None:
    place(tmp_path, shop())
    own = place(tmp_path, shop(seed=8))
    assert place(tmp_path, shop(seed=8), busy=(own.port_offset,)).port_offset != own.port_offset


def test_a_note_that_can_not_be_read_stops_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "shop.json").write_text('{"seed": ')
    with pytest.raises(DataError, match="which shop lives here is not known"):
        place(tmp_path, shop())


ASKED = st.tuples(st.sampled_from([7, 8]), st.integers(0, 60), st.sampled_from([5, 6]))


@given(asked=st.lists(ASKED, min_size=1, max_size=6))
def test_titles_belong_to_histories_whatever_was_asked_for_before(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int, int]]
) -> None:
    base, homes = tmp_path_factory.mktemp("homes"), dict[Path, DemoShop]()
    for seed, later, days in asked:
        found = place(base, shop(seed=seed, end=END + timedelta(days=later), days=days))
        before = homes.setdefault(found.home, found.shop)
        # one home, one shop: the same items, titles and shoppers, and its days only grow
        assert (before.name, before.opening) == (found.shop.name, found.shop.opening)
        assert before.end <= found.shop.end == END + timedelta(days=later)
        homes[found.home] = found.shop


def test_every_item_of_the_shown_history_has_its_title_in_the_shops_catalog(tmp_path: Path) -> None:
    one, two = (generated_shop.made(place(tmp_path, shop(seed=seed))) for seed in (7, 8))
    titles = {str(r["item_id"]): str(r["title"]) for r in read_catalog([one.catalog]).to_pylist()}
    _, history, _ = sample_answers.choose(pq.read_table(one.events[-1]))
    sample_answers.belongs([{"item_id": item, "title": titles[item]} for item in history], titles)
    others = read_catalog([two.catalog]).to_pylist()[:1]
    with pytest.raises(DataError, match="is no item of this shop"):
        sample_answers.belongs(others, titles)
