"""Feature tables: right by a slow computation, the same bytes however computed, nothing from the future."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.lake import DATA, Lake
from contracts.errors import EmptyPartition, FeatureError
from contracts.events import KINDS
from feature_repo.schemas import SCHEMAS, TEXT_DIMENSIONS
from feature_repo.sequences import EMPTY, MAX_LENGTH, Action, append
from feature_repo.tables import ROW_GROUP, build, write
from tests.feature_repo.builders import (
    CountingEncoder,
    day,
    encode,
    event,
    filled,
    new_lake,
    products,
    publish,
    random_events,
)
from tests.feature_repo.slow_features import Day, microseconds


def read(lake: Lake, table: str, partition: str) -> list[dict[str, Any]]:
    return pq.read_table(lake.fetch(table, partition) / DATA).to_pylist()


def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("event_timestamp", "created")} for row in rows]


def assert_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for got, wanted in zip(bare(found), expected, strict=True):
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            if name in ("weights", "score", "cart_rate_28d", "purchase_rate_28d", "hours_since_last"):
                assert np.allclose(got[name], value, rtol=1e-6), (name, got, wanted)
            else:
                assert got[name] == value, (name, got, wanted)


def check(lake: Lake, partition: str, events: list[dict[str, Any]], catalog: list[dict[str, Any]]) -> None:
    slow = Day(partition, events, catalog)
    assert_rows(read(lake, "shopper_activity", partition), slow.activity())
    assert_rows(read(lake, "shopper_sequence", partition), slow.sequence())
    assert_rows(read(lake, "shopper_purchases", partition), slow.purchases())
    assert_rows(read(lake, "shopper_affinity", partition), slow.affinity())
    assert_rows(read(lake, "item_popularity", partition), slow.popularity())


def test_tables_equal_a_slow_computation(tmp_path: Path) -> None:
    events = random_events(1, days=45, per_day=40)
    catalog = products(10)
    lake = filled(new_lake(tmp_path), events, catalog)
    build(lake, day(44), encode=encode)
    everything = [e for rows in events.values() for e in rows]
    check(lake, day(44), everything, catalog)
    assert all(len(row["items"]) == 50 for row in read(lake, "shopper_sequence", day(44)))


#: hours before the end of the day, close to the borders of the windows
ages = st.sampled_from([h * 3_600_000_000 + us for h in (0, 24, 168, 672, 720, 8760) for us in (-1, 0, 1)])


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    rows=st.lists(
        st.tuples(
            ages,
            st.sampled_from(["u", "U", "ü", "u "]),
            st.sampled_from(KINDS),
            st.sampled_from([None, "i0", "i1", "I1", "i2", "unheard-of"]),
        ),
        max_size=60,
    )
)
def test_small_random_days_equal_a_slow_computation(rows: list[tuple[int, str, str, str | None]]) -> None:
    end = 24 * 3_600_000_000
    rows = [*rows, (1, "u", "view", "i0")]  # at least one event of the day itself
    events = [event(400, end - age, user, kind, item, str(n)) for n, (age, user, kind, item) in enumerate(rows)]
    catalog = products(3)
    by_day: dict[str, list[dict[str, Any]]] = {}
    for e in events:
        by_day.setdefault(e["event_time"].date().isoformat(), []).append(e)
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(new_lake(Path(folder)), by_day, catalog)
        publish(lake, "catalog", day(0), catalog)
        build(lake, day(400), encode=encode)
        check(lake, day(400), events, catalog)


def test_building_again_gives_the_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    events = random_events(2, days=3, per_day=60)
    first = build(filled(new_lake(tmp_path / "a"), events, products(8)), day(2), encode=encode)
    for rows in events.values():
        random.Random(0).shuffle(rows)
    lake = filled(new_lake(tmp_path / "b"), events, products(8))
    second, third = build(lake, day(2), encode=encode), build(lake, day(2), encode=encode)
    assert {t: m.files for t, m in first.items()} == {t: m.files for t, m in second.items()}
    assert {t: m.digest for t, m in second.items()} == {t: m.digest for t, m in third.items()}


def test_bytes_do_not_depend_on_how_an_engine_cuts_its_batches(tmp_path: Path) -> None:
    rows = ROW_GROUP + 10
    table = pa.table(
        {
            "user_id": [f"u{n:07}" for n in range(rows)],
            "items": [["a", "b"][: n % 3] for n in range(rows)],
            "kinds": [["view", "click"][: n % 3] for n in range(rows)],
            "times": [[1, 2][: n % 3] for n in range(rows)],
            "event_timestamp": pa.array([0] * rows, pa.timestamp("us", "UTC")),
            "created": pa.array([0] * rows, pa.timestamp("us", "UTC")),
        }
    )
    files = []
    for size in (1000, ROW_GROUP, 10 * ROW_GROUP):
        path = tmp_path / f"{size}.parquet"
        assert write(table.to_batches(size), SCHEMAS["shopper_sequence"], path) == rows
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]
    assert pq.ParquetFile(tmp_path / "1000.parquet").num_row_groups == 2


def test_later_days_do_not_change_an_earlier_one(tmp_path: Path) -> None:
    events = random_events(3, days=6, per_day=30)
    early = {d: rows for d, rows in events.items() if d <= day(3)}
    before = build(filled(new_lake(tmp_path / "a"), early, products(8)), day(3), encode=encode)
    after = build(filled(new_lake(tmp_path / "b"), events, products(8)), day(3), encode=encode)
    assert {t: m.digest for t, m in before.items()} == {t: m.digest for t, m in after.items()}


def test_every_row_is_known_from_the_end_of_its_day(tmp_path: Path) -> None:
    lake = filled(new_lake(tmp_path), random_events(4, days=2, per_day=30), products(5))
    for table in build(lake, day(1), encode=encode):
        for row in read(lake, table, day(1)):
            assert row["event_timestamp"] == row["created"] == event(2, 0, "u", "view", None)["event_time"]


def test_a_text_is_encoded_once(tmp_path: Path) -> None:
    lake = filled(new_lake(tmp_path), random_events(5, days=3, per_day=10), products(6))
    encoder = CountingEncoder()
    build(lake, day(0), encode=encoder)
    assert len(encoder.asked) == len(set(encoder.asked)) == 6
    assert encoder.asked[1] == "Product 1. Acme. toys"
    changed = products(7)
    changed[0]["title"] = "Another name"
    publish(lake, "catalog", day(1), changed)
    encoder.asked.clear()
    build(lake, day(1), encode=encoder)
    assert sorted(encoder.asked) == ["Another name. toys cars", "Product 6. books"]
    encoder.asked.clear()
    build(lake, day(2), encode=encoder)
    assert encoder.asked == []
    vectors = {r["item_id"]: r["vector"] for r in read(lake, "item_text", day(2))}
    assert np.array_equal(np.float32(vectors["i1"]), encode(["Product 1. Acme. toys"])[0])


def test_a_wrong_encoder_is_refused(tmp_path: Path) -> None:
    lake = filled(new_lake(tmp_path), random_events(6, days=1, per_day=5), products(3))
    for wrong in (np.zeros((3, 7), np.float32), np.full((3, TEXT_DIMENSIONS), np.nan, np.float32)):
        with pytest.raises(FeatureError, match="text encoder"):
            build(lake, day(0), encode=lambda _, answer=wrong: answer)
    assert lake.partitions("item_text") == []


def test_nothing_to_build_from_is_an_error_that_says_so(tmp_path: Path) -> None:
    lake = new_lake(tmp_path)
    with pytest.raises(EmptyPartition, match="no clean events"):
        build(lake, day(0), encode=encode)
    publish(lake, "events", day(0), [event(0, 1, "u", "view", "i0")])
    with pytest.raises(FeatureError, match="no catalog"):
        build(lake, day(0), encode=encode)


def tied(number: int) -> list[dict[str, Any]]:
    """Order lines of one instant, some of them twice, in identifiers of several scripts; more than a history keeps."""
    draw = random.Random(number)
    items = ["i1", "I1", "i 1", "i|1", "grün", "椅子", "🪑", *(f"x{n}" for n in range(20))]
    return [
        event(number, 3_600_000_000 * hour, user, draw.choice(["view", "purchase", "click"]), item, f"{user}{hour}{n}")
        for user in ("tie", "Tie-ü")
        for hour in range(6)
        for n, item in enumerate(draw.choices(items, k=15))
    ]


def test_ties_have_one_order_in_tables_online_and_in_training(tmp_path: Path) -> None:
    """What an engine pushes one by one, what DuckDB computes and what is trained on are one history."""
    from training.data.inputs import in_order

    rows = tied(0)
    lake = filled(new_lake(tmp_path), {day(0): rows}, products(3))
    build(lake, day(0), encode=encode)
    trained = in_order(pq.read_table(lake.fetch("events", day(0)) / DATA)).to_pylist()
    for stored in read(lake, "shopper_sequence", day(0)):
        user, online = stored["user_id"], EMPTY
        for row in (r for r in rows if r["user_id"] == user):
            us = (row["event_time"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            online = append(user, online, [Action(us, row["item_id"], row["kind"])])
        mine = [(r["item_id"], r["kind"]) for r in trained if r["user_id"] == user]
        assert len(mine) > len(online.items) == MAX_LENGTH
        assert (stored["items"], stored["kinds"], stored["times"]) == tuple(online)
        assert list(zip(online.items, online.kinds, strict=True)) == mine[-MAX_LENGTH:]


@pytest.fixture
def spark_quietly() -> Iterator[None]:
    """Spark leaves sockets and files to its exit; its Python side still uses what pandas and NumPy will drop."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spark_and_duckdb_give_the_same_bytes(tmp_path: Path, spark_quietly: None) -> None:
    events = random_events(7, days=9, per_day=40)
    events[day(8)] += tied(8)
    last = day(8)
    items = products(10, ("toys", "books/new", "", None, "garden"))
    lake = filled(new_lake(tmp_path), events, items)
    by_duckdb = build(lake, last, engine="duckdb", encode=encode)
    by_spark = build(lake, last, engine="spark", encode=encode)
    assert {t: m.digest for t, m in by_duckdb.items()} == {t: m.digest for t, m in by_spark.items()}
    assert all(m.meta["rows"] > 0 for m in by_spark.values())
    check(lake, last, [e for rows in events.values() for e in rows], items)


def test_the_window_is_a_year(tmp_path: Path) -> None:
    from feature_repo.expressions import WINDOW_DAYS

    assert timedelta(days=WINDOW_DAYS) == timedelta(days=365)
    old, new = event(0, 0, "old", "view", "i0"), event(WINDOW_DAYS, 0, "new", "view", "i0")
    lake = filled(new_lake(tmp_path), {day(0): [old], day(WINDOW_DAYS): [new]}, products(1))
    build(lake, day(WINDOW_DAYS), encode=encode)
    assert [r["user_id"] for r in read(lake, "shopper_sequence", day(WINDOW_DAYS))] == ["new"]


@pytest.mark.parametrize("ago", [0, 1, 49, 364, 365, 366, 400, 1000, 3000, 9000])
def test_bought_has_no_window(tmp_path: Path, ago: int) -> None:
    last = 9000
    bought, now = event(last - ago, 0, "u", "purchase", "i0"), event(last, 5, "u", "view", "i1")
    days = {day(last - ago): [bought], day(last): [now]} if ago else {day(last): [bought, now]}
    lake = filled(new_lake(tmp_path), days, products(2))
    build(lake, day(last), encode=encode)
    (row,) = bare(read(lake, "shopper_purchases", day(last)))
    assert row == {"user_id": "u", "purchased": ["i0"], "purchased_at": [microseconds(bought["event_time"])]}
