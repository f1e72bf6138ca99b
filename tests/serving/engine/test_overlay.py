"""Sold out is gone at every route and in every arm, without a release; what may not be used is refused by name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.manifest import Manifest
from artifacts.overlay import FILE, Overlay, overlay_ref, publish_overlay
from artifacts.publish import blob_key, manifest_key, point, publish
from artifacts.signature import new_signing_key, sign, signature_key, verify
from contracts.errors import StoreUnavailable
from contracts.settings import Settings
from serving.bundle.release import Release, load_release
from serving.engine.engine import Engine, Follower
from serving.engine.overlay_reader import OverlayReader
from serving.pipeline.candidates import Query
from serving.pipeline.pipeline import rank
from serving.pipeline.search import find_similar, search
from serving.pipeline.stage_timings import StageWatch
from tests.fakes import MemoryStore
from tests.serving import tiny_release
from tests.serving.parts import client, load, parts_of
from tests.serving.tiny_release import item_id

START = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEY = new_signing_key()
ITEMS = 60


def overlay_of(number: int = 1, *, gone: Iterable[str] = (), back: Iterable[str] = (), **other: Any) -> Overlay:
    made = Overlay(
        shop="shop",
        number=number,
        before=None,
        at=(START + timedelta(minutes=number)).isoformat(timespec="microseconds"),
        landed=f"{number:06d}-abc",
        pinned="2026-11-27 def",
        unavailable=frozenset(gone),
        available=frozenset(back),
    )
    return replace(made, **other)


class Shop:
    """A store with one shop, and engines of several arms that follow it."""

    def __init__(self, folder: Path, arms: tuple[str, ...] = ("champion",)) -> None:
        self.store = MemoryStore()
        self.folder = folder
        self.s = Settings(signing_key=KEY)
        self.down = False
        self.engines = {arm: Engine() for arm in arms}
        self.followers = {arm: self.start(arm, engine) for arm, engine in self.engines.items()}

    @property
    def engine(self) -> Engine:
        return self.engines["champion"]

    def open_store(self) -> MemoryStore:
        if self.down:
            raise StoreUnavailable("the store does not answer", remedy="wait")
        return self.store

    def start(self, arm: str, engine: Engine, *, overlays: bool = True) -> Follower:
        def trust(store: Any, digest: str) -> None:
            verify(store, digest, self.s)

        cache = self.folder / "cache"
        return Follower(
            engine,
            self.open_store,
            f"serving/primary/{arm}",
            trust=trust,
            cache=cache,
            memory=self.folder / f"{arm}.json",
            overlays=OverlayReader(trust, cache, self.folder / f"{arm}.overlay.json") if overlays else None,
        )

    def release(self, arm: str, directory: Path, source: str = "shop") -> str:
        digest = publish(self.store, directory, kind="release", meta={"source": source}).digest
        sign(self.store, digest, self.s)
        point(self.store, f"serving/primary/{arm}", digest)
        return digest

    def lay(self, overlay: Overlay) -> str:
        return publish_overlay(self.store, overlay, self.s, expected="*")

    def look(self) -> None:
        for follower in self.followers.values():
            follower.look()

    def shown(self, arm: str = "champion") -> set[str]:
        release = self.engines[arm].current
        assert release is not None
        return available(release)


def available(release: Release) -> set[str]:
    return {name for name, can in zip(release.items.ids, release.items.available, strict=True) if can}


def answers(release: Release) -> set[int]:
    """Everything that any route may answer."""
    draw, shown = random.Random(0), set[int]()
    for history in ([], [0], [draw.randrange(ITEMS) for _ in range(9)]):
        query = Query(user="u", k=ITEMS, history=np.array(history, dtype=np.int64))
        shown |= set(rank(release, query, StageWatch()).chosen.index.tolist())
    for title in release.items.titles[::7]:
        shown |= set(search(release, title, ITEMS, None).index.tolist())
    for row in range(0, ITEMS, 11):
        shown |= set(find_similar(release, row, ITEMS).index.tolist())
    return shown


@given(
    gone=st.sets(st.integers(0, ITEMS + 5)),
    back=st.sets(st.integers(0, ITEMS + 5)),
)
def test_no_route_answers_what_is_sold_out(release: Release, gone: set[int], back: set[int]) -> None:
    back -= gone
    overlaid = release.with_availability([item_id(n) for n in gone], [item_id(n) for n in back], "digest")
    expected = (set(np.flatnonzero(release.items.available).tolist()) - gone) | {n for n in back if n < ITEMS}
    assert answers(overlaid) <= expected
    assert set(np.flatnonzero(overlaid.items.available).tolist()) == expected
    whole = find_similar(overlaid, 0, ITEMS).index.tolist()
    assert set(whole) == expected - {0}  # and all that can be had, also again
    assert available(release) == {item_id(n) for n in range(ITEMS) if n not in (3, 8)}  # itself unchanged


def test_it_is_as_if_the_release_had_been_made_so(bundle: Path, tmp_path: Path) -> None:
    made = load_release(bundle, digest="0" * 64, source="shop").with_availability([item_id(5)], [item_id(3)], "d")
    built = load_release(tiny_release.build(tmp_path / "b", ITEMS, unavailable=(5, 8)), digest="0" * 64, source="shop")
    assert np.array_equal(made.items.available, built.items.available)
    assert np.array_equal(made.offset, built.offset)
    assert (made.overlay, built.overlay) == ("d", None)


def test_gone_at_noon_back_at_three_and_the_next_release_too(tmp_path: Path, bundle: Path, other_bundle: Path) -> None:
    shop = Shop(tmp_path)
    first = shop.release("champion", bundle)
    shop.look()
    assert item_id(5) in shop.shown()
    noon = shop.lay(overlay_of(1, gone=[item_id(5), "of another release"], back=[item_id(3)]))
    shop.look()
    current = shop.engine.current
    assert current is not None
    assert (current.digest, current.overlay, shop.engine.state.stage) == (first, noon, "serving")
    assert item_id(5) not in shop.shown()
    assert item_id(3) in shop.shown()
    shop.release("champion", other_bundle)
    shop.look()
    assert item_id(5) not in shop.shown()
    shop.lay(overlay_of(2, back=[item_id(3), item_id(5)]))
    shop.look()
    assert {item_id(3), item_id(5)} <= shop.shown()


def test_all_arms_have_the_same(tmp_path: Path, bundle: Path) -> None:
    arms = ("champion", "control", "canary", "former")
    shop = Shop(tmp_path, arms)
    for number, arm in enumerate(arms):
        shop.release(arm, tiny_release.build(tmp_path / arm, ITEMS, seed=number, unavailable=(number,)))
    shop.lay(overlay_of(1, gone=[item_id(20)], back=[item_id(n) for n in range(4)]))
    shop.look()
    assert {frozenset(shop.shown(arm)) for arm in arms} == {frozenset(item_id(n) for n in range(ITEMS) if n != 20)}


def test_switched_off_and_without_any_overlay_availability_is_the_releases_own(tmp_path: Path, bundle: Path) -> None:
    shop = Shop(tmp_path)
    shop.release("champion", bundle)
    shop.followers["champion"] = shop.start("champion", shop.engine, overlays=False)
    shop.lay(overlay_of(1, gone=[item_id(5)]))
    shop.look()
    assert item_id(5) in shop.shown()
    assert shop.engine.current is not None
    assert shop.engine.current.overlay is None


def publish_raw(shop: Shop, files: dict[str, bytes], *, kind: str = "overlay", **meta: Any) -> str:
    """Publish, sign and point at what `publish_overlay` would not make."""
    folder = shop.folder / f"raw-{len(shop.store.puts)}"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    digest = publish(shop.store, folder, kind=kind, meta={**overlay_of(2).to_meta(), **meta}).digest
    sign(shop.store, digest, shop.s)
    point(shop.store, overlay_ref("shop"), digest)
    return digest


def lists(gone: Any, back: Any) -> dict[str, bytes]:
    return {FILE: json.dumps({"unavailable": gone, "available": back}).encode()}


def unsigned(shop: Shop) -> None:
    digest = shop.lay(overlay_of(2, gone=[item_id(1)]))
    del shop.store.objects[signature_key(digest)]


def of_another_key(shop: Shop) -> None:
    other = Settings(signing_key=new_signing_key())
    publish_overlay(shop.store, overlay_of(2, gone=[item_id(1)]), other, expected="*")


def with_the_signature_of_another(shop: Shop) -> None:
    good = shop.engine.overlay
    assert good is not None
    digest = shop.lay(overlay_of(2, gone=[item_id(1)]))
    shop.store.objects[signature_key(digest)] = shop.store.objects[signature_key(good.digest)]


def of_another_shop(shop: Shop) -> None:
    digest = shop.lay(overlay_of(2, gone=[item_id(1)], shop="theirs"))
    point(shop.store, overlay_ref("shop"), digest)


def an_old_one_again(shop: Shop) -> None:
    shop.lay(overlay_of(0, gone=[item_id(1)]))


def a_release(shop: Shop) -> None:
    publish_raw(shop, lists([item_id(1)], []), kind="release")


def with_a_changed_byte(shop: Shop) -> None:
    digest = shop.lay(overlay_of(2, gone=[item_id(1)]))
    manifest = Manifest.from_bytes(shop.store.objects[manifest_key(digest)])
    key = blob_key(manifest.files[0].sha256)
    shop.store.objects[key] = shop.store.objects[key].replace(b"00001", b"00002")


def without_its_file(shop: Shop) -> None:
    digest = shop.lay(overlay_of(2, gone=[item_id(1)]))
    manifest = Manifest.from_bytes(shop.store.objects[manifest_key(digest)])
    del shop.store.objects[blob_key(manifest.files[0].sha256)]


def with_a_changed_manifest(shop: Shop) -> None:
    key = manifest_key(shop.lay(overlay_of(2, gone=[item_id(1)])))
    shop.store.objects[key] = shop.store.objects[key].replace(b'"number":2', b'"number":3')


def with_a_pointer_to_nothing(shop: Shop) -> None:
    digest = shop.lay(overlay_of(2, gone=[item_id(1)]))
    del shop.store.objects[manifest_key(digest)]


BAD: dict[str, tuple[Callable[[Shop], object], str]] = {
    "unsigned": (unsigned, "is not signed"),
    "another key": (of_another_key, "not by a key we trust"),
    "another's signature": (with_the_signature_of_another, "not by a key we trust"),
    "another shop": (of_another_shop, "is of the shop theirs, not of shop"),
    "an old one again": (an_old_one_again, "is older than"),
    "a release": (a_release, "not an overlay"),
    "a changed byte": (with_a_changed_byte, "differs from the manifest"),
    "no file": (without_its_file, ""),
    "a changed manifest": (with_a_changed_manifest, "was changed"),
    "a pointer to nothing": (with_a_pointer_to_nothing, ""),
    "no JSON": (lambda shop: publish_raw(shop, {FILE: b"{"}), "is no JSON"),
    "no lists": (lambda shop: publish_raw(shop, {FILE: b"{}"}), "cannot be read"),
    "a list of numbers": (lambda shop: publish_raw(shop, lists([1], [])), "cannot be read"),
    "a text for a list": (lambda shop: publish_raw(shop, lists("i-00001", [])), "cannot be read"),
    "both of one item": (lambda shop: publish_raw(shop, lists(["a"], ["a"])), "says both"),
    "more files": (lambda shop: publish_raw(shop, {**lists([], []), "more.json": b"{}"}), "other files"),
    "a pickle beside": (lambda shop: publish_raw(shop, {**lists([], []), "x.pkl": b"\x80"}), "may not hold"),
    "no time": (lambda shop: publish_raw(shop, lists([], []), at="noon"), "cannot be read"),
    "no number": (lambda shop: publish_raw(shop, lists([], []), number="two"), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_may_not_be_used_is_refused_by_name_and_the_last_good_one_stays(
    tmp_path: Path, bundle: Path, case: str
) -> None:
    shop = Shop(tmp_path)
    release = shop.release("champion", bundle)
    good = shop.lay(overlay_of(1, gone=[item_id(5)]))
    shop.look()
    spoil, said = BAD[case]
    spoil(shop)
    for _ in range(2):
        shop.look()
    engine = shop.engine
    assert engine.current is not None
    assert (engine.current.digest, engine.current.overlay, engine.ready) == (release, good, True)
    assert shop.shown() == {item_id(n) for n in range(ITEMS) if n not in (3, 5, 8)}
    assert engine.overlay_refused is not None
    assert said in engine.overlay_refused
    again = Engine()  # a new process has the last good one too
    shop.start("champion", again).look()
    assert again.current is not None
    assert again.current.overlay == good
    better = shop.lay(overlay_of(3, gone=[item_id(6)]))
    shop.look()
    assert engine.current.overlay == better
    assert engine.overlay_refused is None


def test_without_the_store_a_new_process_has_what_held_last(tmp_path: Path, bundle: Path) -> None:
    shop = Shop(tmp_path)
    shop.release("champion", bundle)
    held = shop.lay(overlay_of(1, gone=[item_id(5)]))
    shop.look()
    shop.down = True
    shop.look()
    assert item_id(5) not in shop.shown()
    again = Engine()
    shop.start("champion", again).look()
    assert again.current is not None
    assert again.current.overlay == held


def test_another_shops_release_is_served_without_this_shops_overlay(tmp_path: Path, bundle: Path) -> None:
    shop = Shop(tmp_path)
    shop.release("champion", bundle)
    shop.lay(overlay_of(1, gone=[item_id(5)]))
    shop.look()
    shop.release("champion", bundle, source="other")
    shop.look()
    assert item_id(5) in shop.shown()
    theirs = shop.lay(overlay_of(0, gone=[item_id(6)], shop="other"))
    shop.look()
    assert shop.engine.current is not None
    assert shop.engine.current.overlay == theirs
    assert item_id(6) not in shop.shown()


@pytest.mark.anyio
async def test_all_routes_by_http_and_the_line_that_tells_which_overlay_it_was(tmp_path: Path, bundle: Path) -> None:
    with parts_of(tmp_path) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            before = await shown_by_http(http)
            assert item_id(5) in before
            parts.engine.lay_over(replace(overlay_of(1, gone=[item_id(5)], back=[item_id(3)]), digest="f" * 64))
            after = await shown_by_http(http)
            assert item_id(5) not in after
            assert item_id(3) in after
            ready = (await http.get("/readyz", headers={"x-caravan-caller": "shop"})).json()
        parts.answers.append(b"").result(timeout=5)
        assert {line["overlay"] for line in lines(tmp_path)} == {None, "f" * 64}
        assert ready["ready"] is True


async def shown_by_http(http: httpx.AsyncClient) -> set[str]:
    asked = [
        await http.post("/recommend", json={"user_id": "u", "k": 100, "context": {"items": [item_id(0)]}}),
        await http.get("/search", params={"q": "lamp desk chair kettle blanket shelf mirror", "k": 100}),
        await http.get("/similar", params={"item_id": item_id(10), "k": 100}),
        await http.get(f"/similar/{item_id(15)}", params={"k": 100}),
    ]
    assert [answer.status_code for answer in asked] == [200] * 4
    return {item["item_id"] for answer in asked for item in answer.json()["items"]}


def lines(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "answer-log").rglob("*.jsonl"))
    return [orjson.loads(line) for path in paths for line in path.read_bytes().splitlines() if line]
