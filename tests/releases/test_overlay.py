"""A newer catalog makes an overlay by itself: what it says of an item last holds, and a broken export makes none."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from artifacts.lake import DATA
from artifacts.overlay import KIND, overlay_ref, read_overlay
from artifacts.publish import manifest_key, point, publish, read_manifest, resolve
from artifacts.signature import new_signing_key, signature_key, verify
from contracts.errors import DataError, EmptyPartition, SchemaChanged, UnknownItems
from contracts.settings import Settings
from recovery.snapshots import verify as snapshot_verify
from releases.overlay import Keeper, make, newest_trusted, served_shops
from tests.fakes import MemoryStore
from tests.recovery.vaults import SmallRegion
from tests.releases.landed_shop import DAYS, ITEMS, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    made.land({7})
    made.night()
    return made


def ids(*numbers: int) -> set[str]:
    return {f"item-{n}" for n in numbers}


def test_sold_out_then_back_then_sold_out_again(shop: Shop) -> None:
    shop.land({5, 7})
    first = shop.make()
    assert (first.number, first.before, first.unavailable, first.available) == (1, None, ids(5, 7), set())
    shop.land(set())
    second = shop.make()
    assert (second.number, second.before) == (2, first.digest)
    assert (second.unavailable, second.available) == (set(), ids(5, 7))
    shop.land({5})
    third = shop.make()
    assert (third.number, third.unavailable, third.available) == (3, ids(5), ids(7))
    assert first.at < second.at < third.at  # in the same instant of the clock, too
    chain, digest = [], third.digest
    while digest:
        verify(shop.store, digest, shop.s)
        one = read_overlay(shop.store, digest)
        chain.append(one.number)
        digest = one.before or ""
    assert chain == [3, 2, 1]


def test_nothing_new_makes_nothing(shop: Shop) -> None:
    shop.land({5})
    first = make(shop.lake, shop.s)
    before = dict(shop.store.objects)
    again = make(shop.lake, shop.s)
    assert (first.made, again.made, again.overlay.digest) == (True, False, first.overlay.digest)
    assert shop.store.objects == before


def test_absent_is_not_sold_out_and_keeps_what_was_said_of_it_last(shop: Shop) -> None:
    shop.land({5}, items=range(1, ITEMS))
    assert shop.make().unavailable == ids(5)  # not item-0
    shop.land({6}, items=[n for n in range(ITEMS) if n != 5])
    assert shop.make().unavailable == ids(5, 6)
    shop.land(set(), items=[n for n in range(ITEMS) if n not in (5, 7)])
    made = shop.make()
    assert (made.unavailable, made.available) == (ids(5), ids(6, 7))


@pytest.mark.parametrize("said", [None, "", True, "true", "1", "yes"])
def test_an_item_of_which_nothing_is_said_can_be_had(shop: Shop, said: Any) -> None:
    shop.land({5})
    shop.make()
    shop.land(available=said, items=[*range(ITEMS)])
    if said in (None, ""):  # the column is gone, or empty: no night would take that by itself
        shop.night(accept_changes=True)
    assert shop.make().unavailable == set()


small = st.sets(st.integers(0, ITEMS - 1), max_size=4)


@settings(max_examples=12, phases=(Phase.explicit, Phase.reuse, Phase.generate), deadline=None)
@given(steps=st.lists(st.tuples(small, small, st.booleans()), min_size=1, max_size=4))
def test_what_was_said_of_an_item_last_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[set[int], set[int], bool]]
) -> None:
    """Of the catalogs that were looked at: one that another follows within seconds need not be."""
    shop = Shop(tmp_path_factory.mktemp("said"))
    shop.land({7})
    shop.night()
    release = {n: n != 7 for n in range(ITEMS)}
    said = dict(release)
    for place, (sold_out, absent, passed_over) in enumerate(steps, start=1):
        shop.land(sold_out, items=[n for n in range(ITEMS) if n not in absent])
        if passed_over and place < len(steps):
            continue
        said |= {n: n not in sold_out for n in range(ITEMS) if n not in absent}
        made = shop.make()
        gone, back = numbers(made.unavailable), numbers(made.available)
        assert {n: n not in gone and (release[n] or n in back) for n in release} == said
        assert not gone & back


def numbers(items: frozenset[str]) -> set[int]:
    return {int(item.split("-")[1]) for item in items}


def cut(shop: Shop) -> None:
    shop.land({5}, items=range(3))


def a_third_lost(shop: Shop) -> None:
    shop.land({5}, items=range(ITEMS // 3, ITEMS))


def other_names(shop: Shop) -> None:
    shop.land({5}, items=range(100, 100 + ITEMS))


def mostly_other_names(shop: Shop) -> None:
    shop.land({5}, items=range(20, 20 + ITEMS))


def all_sold_out(shop: Shop) -> None:
    shop.land(set(range(ITEMS)))


def half_sold_out(shop: Shop) -> None:
    shop.land(set(range(ITEMS // 2)))


def none_to_be_had(shop: Shop) -> None:
    shop.land(available=False)


def without_availability(shop: Shop) -> None:
    shop.land(available=None)


def one_item(shop: Shop) -> None:
    shop.land({5}, items=[5])


BROKEN = {
    cut: UnknownItems,
    a_third_lost: UnknownItems,
    other_names: UnknownItems,
    mostly_other_names: UnknownItems,
    all_sold_out: DataError,
    half_sold_out: DataError,
    none_to_be_had: DataError,
    without_availability: SchemaChanged,
    one_item: UnknownItems,
}


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_export_makes_no_overlay_until_a_person_or_a_night_takes_it(shop: Shop, spoil: Any) -> None:
    shop.land({5})
    good = shop.make()
    spoil(shop)
    with pytest.raises(BROKEN[spoil]) as refused:
        shop.make()
    assert "--accept-changes" in refused.value.remedy
    assert resolve(shop.store, overlay_ref("shop")) == good.digest
    taken = shop.make(accept_changes=True)
    assert taken.before == good.digest
    assert make(shop.lake, shop.s).made is False  # accepted once: the controller does not undo it


def test_what_a_night_has_taken_is_taken_here(shop: Shop) -> None:
    shop.land(set(range(ITEMS // 2)))
    with pytest.raises(DataError):
        shop.make()
    shop.night(accept_changes=True)
    assert len(shop.make().unavailable) == ITEMS // 2


@pytest.mark.parametrize("count", [1, 3, 19])
def test_few_items_may_all_be_sold_out(tmp_path: Path, count: int) -> None:
    shop = Shop(tmp_path)
    shop.land(items=range(count))
    shop.night(accept_changes=True)
    shop.land(set(range(count)), items=range(count))
    assert len(shop.make().unavailable) == count


def test_before_the_first_night_there_is_nothing_to_lay_over(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with pytest.raises(EmptyPartition, match="no catalog"):
        shop.make()
    shop.land()
    with pytest.raises(EmptyPartition, match="pinned"):
        shop.make()


@pytest.mark.parametrize("harm", ["unsigned", "other key", "another shop", "damaged", "gone"])
def test_nothing_of_an_overlay_that_is_not_ours_comes_into_a_signed_one(shop: Shop, tmp_path: Path, harm: str) -> None:
    shop.land({5})
    first = shop.make()
    if harm == "unsigned":
        del shop.store.objects[signature_key(first.digest)]
    elif harm == "other key":
        shop.s = Settings(signing_key=new_signing_key(), home=tmp_path / "home")
    elif harm == "another shop":
        theirs = Shop(tmp_path / "theirs", name="theirs", store=shop.store)
        (tmp_path / "theirs").mkdir()
        theirs.land()
        theirs.night()
        theirs.land({9})
        point(shop.store, overlay_ref("shop"), theirs.make().digest)
    elif harm == "damaged":
        key = manifest_key(first.digest)
        shop.store.objects[key] = shop.store.objects[key].replace(b'"number":1', b'"number":9')
    else:
        del shop.store.objects[manifest_key(first.digest)]
    assert newest_trusted(shop.store, "shop", shop.s) is None
    shop.land({6})
    made = shop.make()
    assert (made.number, made.before, made.unavailable) == (1, None, ids(6))
    assert newest_trusted(shop.store, "shop", shop.s) == made


def serve(shop: Shop, slot: str = "champion", *, source: str | None = None, region: str = "primary") -> None:
    folder = shop.folder / f"release-{slot}-{source}"
    folder.mkdir(exist_ok=True)
    (folder / "card.json").write_text("{}")
    meta = {"source": source or shop.lake.source}
    point(shop.store, f"serving/{region}/{slot}", publish(shop.store, folder, kind="release", meta=meta).digest)


def test_the_keeper_makes_it_without_anybody_and_tells_a_refusal_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(shop.s, lambda: shop.store, threading.Event())
    shop.land({5})
    assert keeper.look() == []  # no engine serves this shop
    serve(shop)
    serve(shop, "canary")
    serve(shop, "former", source="another")
    serve(shop, region="standby", source="theirs")
    assert served_shops(shop.store, "primary") == ["another", "shop"]
    assert [one.overlay.unavailable for one in keeper.look()] == [ids(5)]
    assert keeper.look() == []
    shop.land(items=range(3))
    for _ in range(3):
        assert keeper.look() == []
    assert caplog.text.count("makes no overlay") == 1
    shop.land({6})
    assert [one.overlay.unavailable for one in keeper.look()] == [ids(6)]
    del shop.store.objects[f"refs/{overlay_ref('shop')}.json"]
    assert len(keeper.look()) == 1  # a pointer that was lost comes back


def test_the_keeper_goes_on_after_any_failure(shop: Shop) -> None:
    stop, seen = threading.Event(), list[int]()

    def fails() -> MemoryStore:
        seen.append(1)
        if len(seen) == 3:
            stop.set()
        raise ConnectionError("the store died")

    keeper = Keeper(shop.s, fails, stop, every_s=0.001)
    keeper.start()
    keeper.join(20)
    assert len(seen) == 3


def test_the_command_and_the_controller_at_once_make_one_chain(shop: Shop) -> None:
    shop.land({5})
    threads = [threading.Thread(target=make, args=(shop.lake, shop.s)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    newest = newest_trusted(shop.store, "shop", shop.s)
    assert newest is not None
    assert newest.unavailable == ids(5)
    assert newest.number == 1


def test_it_is_small_canonical_and_names_no_person(shop: Shop) -> None:
    shop.land({5})
    made = shop.make()
    manifest = read_manifest(shop.store, made.digest)
    assert manifest.kind == KIND
    assert manifest.size < 200  # of forty items it names two
    assert made.content() == json.dumps(json.loads(made.content()), sort_keys=True, separators=(",", ":")).encode()
    people = set(pq.read_table(shop.lake.fetch("events", DAYS[0]) / DATA).column("user_id").to_pylist())
    text = made.content() + manifest.to_bytes()
    assert not [name for name in people if name.encode() in text]


def test_it_is_in_the_snapshot_with_its_signature_and_the_chain_before(tmp_path: Path) -> None:
    region = SmallRegion(tmp_path / "region")
    shop = Shop(tmp_path, store=region.store)
    shop.land()
    shop.night()
    shop.land({5})
    first = shop.make()
    shop.land({6})
    second = shop.make()
    kept = {key for _, key in region.look()}
    one = region.snapshot()
    assert snapshot_verify.verify(region.vault, one, region.s, deep=True).problems == ()
    for digest in (first.digest, second.digest):
        assert {manifest_key(digest), signature_key(digest)} <= kept
    assert f"refs/{overlay_ref('shop')}.json" in kept
