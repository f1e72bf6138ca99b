"""Adapters: other data in the same shapes, orders kept exactly, and the real sets where they are at hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from contracts.errors import DataError, UnreadableFile
from ingestion.landing.land import land_source
from ingestion.landing.table_writer import write_converted
from ingestion.sources import get, names
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, lake, write


def in_order(events: pa.Table) -> dict[str, list[str]]:
    """Shopper -> items, by time and id."""
    rows = events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    found: dict[str, list[str]] = {}
    for user, item in zip(rows.column("user_id").to_pylist(), rows.column("item_id").to_pylist(), strict=True):
        found.setdefault(user, []).append(item)
    return found


def test_order_is_kept_whatever_the_order_of_lines_and_the_gaps_of_positions(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    truth = {f"u{u}": [f"i{i}" for i in random.integers(0, 50, random.integers(1, 40))] for u in range(60)}
    lines = [f"{u},{p * 7 + 2},{i}" for u, items in truth.items() for p, i in enumerate(items)]
    random.shuffle(lines)
    write(tmp_path / "interactions.csv", "\n".join(["user,position,item", *lines, "u0,none,i1"]).encode())
    events = get("sports").convert(tmp_path).events
    assert events is not None
    bad = events.filter(pc.is_null(events.column("event_time")))
    assert bad.num_rows == 1
    good = events.filter(pc.is_valid(events.column("event_time")))
    assert in_order(good) == truth
    days = pc.value_counts(good.column("event_time").cast(pa.date32())).to_pylist()
    assert len(days) == 28
    assert len(pc.unique(good.column("event_time"))) == good.num_rows
    only = tmp_path / "only"
    write(
        only / "interactions.csv",
        "\n".join(["user,position,item", *sorted(x for x in lines if x.startswith("u7,"))]).encode(),
    )
    alone = get("sports").convert(only).events
    mine = good.filter(pc.equal(good.column("user_id"), "u7"))
    assert alone is not None
    assert sorted(alone.column("event_time").to_pylist()) == sorted(mine.column("event_time").to_pylist())


def test_sessions_follow_each_other_and_offsets_are_honoured(tmp_path: Path) -> None:
    train = (
        "session,items\n"
        + "\n".join(f"{n},{' '.join(str(i) for i in range(n % 5 + 1))}" for n in range(40))
        + "\n41,\n"
    )
    test = "session,items,offsets_ms\n0,5 6 5,10 20 5000\n1,7 8,30 10\n2,9 9,100 100\n"
    write(tmp_path / "train_sessions.csv.gz", gzip.compress(train.encode()))
    write(tmp_path / "test_sessions.csv", test.encode())
    made = get("diginetica").convert(tmp_path)
    assert made.events is not None
    assert made.test_events is not None
    assert pc.max(made.events.column("event_time")).as_py() < pc.min(made.test_events.column("event_time")).as_py()
    times = made.test_events.column("event_time").to_pylist()
    assert [round((t - times[0]).total_seconds() * 1000) for t in times[:3]] == [0, 10, 4990]
    assert (times[4] - times[3]).total_seconds() == pytest.approx(30, abs=0.001)
    assert times[6] > times[5]
    assert in_order(made.test_events) == {"test-0": ["5", "6", "5"], "test-1": ["7", "8"], "test-2": ["9", "9"]}
    out = write_converted(made, tmp_path / "out")
    assert out["events.parquet"]["left_out"] == {"missing_item_id": 1}
    assert out["test_events.parquet"]["rows"] == 7


def test_a_rating_file_with_quotes_missing_values_and_no_items(tmp_path: Path) -> None:
    inter = 'user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\ta"b\t5\t881250949.5\n'
    inter += "2\tc\t\t881250950\n3\td\t1\tsoon\n4\te\n"
    write(tmp_path / "other.inter", inter.encode())
    where = lake(tmp_path)
    report = land_source(where, get("ml-100k"), tmp_path, pseudonymizer=KEY)
    assert (report.files[0].read, report.files[0].kept) == (4, 2)
    assert report.quarantined == {"missing_event_time": 1, "wrong_column_count": 1}
    assert validate_day(where, "1997-12-04").kept == 2


def test_names_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    assert get("home_depot") is get("home-depot")
    with pytest.raises(DataError, match="netflix"):
        get("netflix")
    for name in names():
        with pytest.raises(UnreadableFile, match="has no"):
            get(name).convert(tmp_path)


#: Adapter and the folder of its data.
REAL = {
    "ml-100k": "ml-100k",
    "office": "office",
    "home-depot": "home_depot",
    "open-bandit": "open_bandit",
}


def lines(path: Path) -> int:
    with gzip.open(path) as stream:
        return sum(1 for _ in stream) - 1


@pytest.mark.parametrize("name", REAL)
def test_real_sets_lose_nothing(real_data: Path, tmp_path: Path, name: str) -> None:
    folder = real_data / REAL[name]
    where = lake(tmp_path)
    report = land_source(where, get(name), folder, pseudonymizer=KEY)
    assert not report.refused
    assert report.kept + sum(report.quarantined.values()) == report.read
    if name == "ml-100k":
        assert report.files[0].kept == lines(folder / "ml-100k.inter.gz")
    if name == "office":
        assert report.files[0].kept == lines(folder / "interactions.csv.gz")
        assert len(report.days) == 28
    if name == "home-depot":
        assert [f.kept for f in report.files] == [lines(folder / f"{n}.csv.gz") for n in ("catalog", "judgments")]
    if name == "open-bandit":
        assert report.files[0].kept >= lines(folder / "bts_all.csv.gz") + lines(folder / "random_all.csv.gz")
