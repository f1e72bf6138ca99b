"""Buckets without one shopper: everybody else's rows stay as they were, and no object holds a row of the erased."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from artifacts.lake import DATA, Lake
from artifacts.object_store import Stored
from artifacts.publish import blob_key, manifest_key, publish
from contracts.errors import StoreUnavailable
from feature_repo.tables import build
from ingestion.landing.land import land
from ingestion.rules.quarantine import QUARANTINED
from ingestion.validation.validate import validate_day
from recovery.erasure import online
from recovery.erasure.objects import Buckets
from recovery.erasure.rows import ErasureSubject, count
from tests.fakes import MemoryStore
from tests.feature_repo.builders import encode, filled, new_lake, products, random_events
from tests.feature_repo.builders import publish as lay
from tests.ingestion import builders

ANNA, BERT = builders.KEY.hash("clear-user-1"), builders.KEY.hash("clear-user-2")
LATE = datetime(2100, 1, 1, tzinfo=UTC)
DAYS = ("2024-03-04", "2024-03-05")


def buckets(store: MemoryStore, folder: Path) -> Buckets:
    return Buckets({"caravan": store, "mlflow": MemoryStore()}, "caravan", folder / "erasing")


def erase(store: MemoryStore, folder: Path, whom: ErasureSubject) -> int:
    """Erase until nothing goes; rows found at first."""
    own = buckets(store, folder)
    first = own.look(whom)
    own.erase(first, whom)
    assert not own.look(whom).rows
    return sum(first.rows.values())


def named_in(store: MemoryStore) -> str:
    """Everything in the bucket that can be read, as one text."""
    texts = []
    for data in store.objects.values():
        if data[:4] == b"PAR1":
            texts.append(str(pq.read_table(io.BytesIO(data)).to_pylist()))
        else:
            texts.append(data.decode(errors="replace"))
    return "\n".join(texts)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two days of a shop, landed and validated, with quarantined rows of the same shoppers, and features."""
    made = builders.lake(tmp_path)
    bad = builders.rows(20, day=1, prefix="bad")
    for row in bad:
        row["kind"] = "shouting"
    nobody = {**builders.rows(3)[2], "event_id": "n-1", "user_id": None, "session_id": "only-annas"}
    hers = {**builders.rows(2)[1], "event_id": "n-2", "user_id": "clear-user-1", "session_id": "only-annas"}
    files = [
        builders.parquet(builders.rows(40), tmp_path / "a.parquet"),
        builders.parquet([*builders.rows(40, day=1), *bad, nobody, hers], tmp_path / "b.parquet"),
    ]
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_bytes(
        b"".join(orjson.dumps({"item_id": f"item-{n}", "title": f"Item {n}"}) + b"\n" for n in range(5))
    )
    land(made, files, catalog, pseudonymizer=builders.KEY, now=builders.NOW)
    for day in DAYS:
        validate_day(made, day, now=builders.NOW)
        build(made, day, encode=encode)
    return made


def test_nothing_of_her_is_left_and_everybody_else_stays(lake: Lake, tmp_path: Path) -> None:
    store = lake.store
    assert isinstance(store, MemoryStore)
    before = {d: pq.read_table(lake.fetch("events", d) / DATA).to_pylist() for d in DAYS}
    assert ANNA in named_in(store)
    assert erase(store, tmp_path, ErasureSubject({ANNA: LATE})) > 10
    assert ANNA not in named_in(store)
    assert builders.KEY.hash("only-annas") not in named_in(store), "a quarantined row of nobody, in her session"
    assert BERT in named_in(store)
    for day in DAYS:
        after = pq.read_table(lake.fetch("events", day) / DATA).to_pylist()
        assert after == [row for row in before[day] if row["user_id"] != ANNA]
        about = lake.manifest("events", day).meta
        aside = pq.read_table(lake.fetch("events", day) / QUARANTINED)
        assert about["kept"] == len(after)
        assert about["read"] == len(after) + aside.num_rows
        assert sum(about["quarantined"].values()) == aside.num_rows
        assert pq.read_table(lake.fetch("shopper_activity", day) / DATA).num_rows == 6


def test_the_chain_finds_the_days_as_it_would_have_made_them(lake: Lake, tmp_path: Path) -> None:
    assert isinstance(lake.store, MemoryStore)
    erase(lake.store, tmp_path, ErasureSubject({ANNA: LATE}))
    erased = {day: lake.digest("events", day) for day in DAYS}
    report = validate_day(lake, DAYS[1], now=builders.NOW)
    assert not report.written
    assert report.caught_up == ()
    tables = {t: lake.fetch(t, DAYS[1]) / DATA for t in ("shopper_activity", "shopper_affinity", "shopper_sequence")}
    bytes_erased = {name: path.read_bytes() for name, path in tables.items()}
    build(lake, DAYS[1], encode=encode)
    assert {name: (lake.fetch(name, DAYS[1]) / DATA).read_bytes() for name in tables} == bytes_erased
    assert erased == {day: lake.digest("events", day) for day in DAYS}


def test_twice_is_once(lake: Lake, tmp_path: Path) -> None:
    store = lake.store
    assert isinstance(store, MemoryStore)
    erase(store, tmp_path, ErasureSubject({ANNA: LATE}))
    objects = dict(store.objects)
    assert erase(store, tmp_path, ErasureSubject({ANNA: LATE})) == 0
    assert store.objects == objects


class Mortal(MemoryStore):
    """Dies at the `fail_after`th write or removal."""

    removals = 0

    def delete(self, key: str) -> None:
        self.removals += 1
        if self.fail_after is not None and len(self.puts) + self.removals > self.fail_after:
            raise ConnectionError("the store died")
        super().delete(key)


def test_killed_anywhere_the_same_again_ends_in_the_same_state(tmp_path: Path) -> None:
    events, whom = random_events(3, days=2, per_day=30), ErasureSubject({"u3": LATE})
    expected: dict[str, bytes] = {}
    for steps in range(100):
        store, folder = Mortal(), tmp_path / str(steps)
        made = filled(Lake(store, "shop", folder), events, products(12))
        own = buckets(store, folder)
        if steps:
            store.fail_after = len(store.puts) + steps - 1
        try:
            own.erase(own.look(whom), whom)
            done = True
        except ConnectionError:
            done = False
        store.fail_after = None
        for day in made.partitions("events"):
            pq.read_table(made.fetch("events", day) / DATA)
        erase(store, folder, whom)
        expected = expected or dict(store.objects)
        assert store.objects == expected
        assert "'u3'" not in named_in(store)
        if steps and done:
            assert steps > 6
            return
    pytest.fail("it never ended")


def test_a_partition_that_was_replaced_long_ago_goes_too(tmp_path: Path) -> None:
    made = filled(new_lake(tmp_path), random_events(1, days=1, per_day=30), products(12))
    day = made.partitions("events")[0]
    lay(made, "events", day, [])
    store = made.store
    assert isinstance(store, MemoryStore)
    assert "'u1'" in named_in(store)
    assert erase(store, tmp_path, ErasureSubject({"u1": LATE})) > 0
    assert "'u1'" not in named_in(store)


def test_what_another_manifest_names_stays_and_is_told(lake: Lake, tmp_path: Path) -> None:
    """A release is signed and cannot be written again: its rows are left, and counted."""
    store = lake.store
    assert isinstance(store, MemoryStore)
    with tempfile.TemporaryDirectory() as folder:
        rows = pq.read_table(lake.fetch("shopper_activity", DAYS[1]) / DATA)
        pq.write_table(rows, Path(folder) / "reference.parquet")
        release = publish(store, Path(folder), kind="release")
    whom, own = ErasureSubject({ANNA: LATE}), buckets(store, tmp_path)
    own.erase(own.look(whom), whom)
    left = own.look(whom)
    assert left.by_table("caravan") == {"release": 1}
    assert manifest_key(release.digest) in store.objects
    assert all(blob_key(file.sha256) in store.objects for file in release.files)


def test_rows_after_the_erasure_belong_to_a_new_shopper(tmp_path: Path) -> None:
    made = filled(new_lake(tmp_path), random_events(1, days=4, per_day=30), products(12))
    until = datetime(2026, 3, 2, 12, tzinfo=UTC)
    store = made.store
    assert isinstance(store, MemoryStore)
    events = [
        row for d in made.partitions("events") for row in pq.read_table(made.fetch("events", d) / DATA).to_pylist()
    ]
    erase(store, tmp_path, ErasureSubject({"u1": until}))
    after = [
        row for d in made.partitions("events") for row in pq.read_table(made.fetch("events", d) / DATA).to_pylist()
    ]
    assert after == [row for row in events if row["user_id"] != "u1" or row["event_time"] > until]
    assert any(row["user_id"] == "u1" for row in after)


class Deaf(MemoryStore):
    """Breaks off a listing of manifests, from the second one on."""

    listed = 0

    def list(self, prefix: str) -> Iterator[Stored]:
        if prefix == "manifests/":
            self.listed += 1
            if self.listed > 1:
                raise StoreUnavailable("the listing broke off")
        yield from super().list(prefix)


def test_a_listing_that_fails_removes_nothing(tmp_path: Path) -> None:
    store = Deaf()
    made = filled(Lake(store, "shop", tmp_path / "objects"), random_events(1, days=2, per_day=30), products(12))
    before = set(store.objects)
    whom, own = ErasureSubject({"u1": LATE}), buckets(store, tmp_path)
    found = own.look(whom)
    with pytest.raises(StoreUnavailable):
        own.erase(found, whom)
    assert before <= set(store.objects)
    assert made.partitions("events")


EVENT = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["u1", "u2", "u3"]),
        "second": st.integers(0, 86_399),
        "session": st.sampled_from([None, "s", "t"]),
    }
)


@hypothesis(max_examples=30)
@given(rows=st.lists(EVENT, min_size=1, max_size=40), until=st.integers(0, 86_399))
def test_erased_and_kept_are_what_was_before(rows: list[dict[str, Any]], until: int) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    events = [
        {
            "event_id": f"e{n}", "event_time": start + timedelta(seconds=row["second"]), "user_id": row["user"],
            "session_id": row["session"], "kind": "view", "item_id": "i1",
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = filled(new_lake(Path(folder)), {"2026-03-01": events}, products(3))
        before = pq.read_table(made.fetch("events", "2026-03-01") / DATA).to_pylist()
        whom = ErasureSubject({"u1": start + timedelta(seconds=until)})
        expected = [r for r in before if r["user_id"] == "u1" and r["event_time"] <= whom.until["u1"]]
        assert count(made.fetch("events", "2026-03-01") / DATA, whom) == len(expected)
        assert isinstance(made.store, MemoryStore)
        assert erase(made.store, Path(folder), whom) == len(expected)
        after = pq.read_table(made.fetch("events", "2026-03-01") / DATA).to_pylist()
        assert after == [row for row in before if row not in expected]


def test_copies_on_the_disk_go_whole_and_are_fetched_again(lake: Lake, tmp_path: Path) -> None:
    folder = lake.fetch("events", DAYS[0])
    staged = lake.cache.parent / "features" / "shop" / "shopper_activity" / f"{DAYS[0]}.parquet"
    staged.parent.mkdir(parents=True)
    staged.write_bytes((lake.fetch("shopper_activity", DAYS[0]) / DATA).read_bytes())
    catalog = lake.fetch("catalog", DAYS[0])
    objects = lake.cache.rename(lake.cache.parent / "objects")
    lake.cache, cache, whom = objects, objects.parent, ErasureSubject({ANNA: LATE})
    found = online.copies(cache, whom)
    assert {objects / folder.name / DATA, staged} <= found.keys()
    online.drop(cache, found)
    assert online.copies(cache, whom) == {}
    assert not staged.exists()
    assert (objects / catalog.name / DATA).exists()
    assert (lake.fetch("events", DAYS[0]) / DATA).exists()
