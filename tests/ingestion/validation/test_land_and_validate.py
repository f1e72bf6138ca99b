"""From files to published days: nothing lost, nobody named, whole or not at all, the same bytes again."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.lake import Lake
from contracts.errors import DataError, EmptyPartition, SchemaChanged, SettingsError
from contracts.events import CATALOG, EVENTS
from ingestion.landing.event_log import collect
from ingestion.landing.land import land
from ingestion.pseudonymize import Pseudonymizer
from ingestion.validation.validate import validate_day
from tests.fakes import MemoryStore
from tests.ingestion.builders import KEY, NOW, catalog, csv_bytes, json_bytes, lake, parquet, rows, table, write

DAY = "2024-03-04"


def landed(where: Lake, tmp_path: Path, *files: Path, **more: Any) -> Any:
    return land(where, files, catalog(tmp_path / "catalog.jsonl"), pseudonymizer=KEY, now=NOW, **more)


def clean(where: Lake, day: str = DAY) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(where.fetch("events", day) / "data.parquet", schema=EVENTS).to_pylist()
    return found


def everything(where: Lake) -> str:
    """All that the store holds, decompressed."""
    assert isinstance(where.store, MemoryStore)
    return "\n".join(
        str(pq.read_table(io.BytesIO(data)).to_pylist()) if data[:4] == b"PAR1" else data.decode()
        for data in where.store.objects.values()
    )


def test_a_day_goes_in_and_nobody_is_named(tmp_path: Path) -> None:
    where = lake(tmp_path)
    events = rows(60)
    events[0]["query"] = "shoes for someone.private@example.org"
    events[7]["position"] = -4
    events[8]["user_id"] = None
    extra = table(events).append_column("phone", pa.array(["+49 170 0000000"] * 60))
    report = landed(where, tmp_path, parquet(extra, tmp_path / "a.parquet"))
    assert (report.read, report.kept) == (65, 63)
    assert report.quarantined == {"bad_position": 1, "missing_user_id": 1}
    assert report.files[0].dropped == ("phone",)
    day = validate_day(where, DAY)
    assert (day.read, day.kept, day.catalog_items) == (60, 58, 5)
    assert {r["user_id"] for r in clean(where)} == {KEY.hash(f"clear-user-{n}") for n in range(7)}
    text = everything(where)
    for secret in ("clear-user", "clear-session", "someone.private", "+49"):
        assert secret not in text
    assert "shoes for [email]" in text


def test_landing_twice_and_running_twice_write_nothing(tmp_path: Path) -> None:
    where = lake(tmp_path)
    path = parquet(rows(30), tmp_path / "a.parquet")
    landed(where, tmp_path, path)
    first = validate_day(where, DAY)
    puts = len(where.store.puts)  # type: ignore[attr-defined]
    again = landed(where, tmp_path, path, path.rename(tmp_path / "other name.parquet"))
    assert again.new == 0
    assert not validate_day(where, DAY).written
    assert len(where.store.puts) == puts  # type: ignore[attr-defined]
    elsewhere = lake(tmp_path / "elsewhere")
    landed(elsewhere, tmp_path, tmp_path / "other name.parquet")
    other = clean(elsewhere) if validate_day(elsewhere, DAY) else []
    assert other == clean(where)
    assert first.kept == 30


def test_the_order_of_files_does_not_matter_and_repeated_events_count_once(tmp_path: Path) -> None:
    events = rows(40)
    one = write(tmp_path / "one.csv", csv_bytes(events[:25]))
    two = write(tmp_path / "two.jsonl", json_bytes(events[15:]), zipped=True)
    digests = []
    for number, order in enumerate([(one, two), (two, one)]):
        where = lake(tmp_path / str(number))
        landed(where, tmp_path, *order)
        report = validate_day(where, DAY)
        assert (report.read, report.kept, report.quarantined) == (50, 40, {"duplicate_event_id": 10})
        digests.append(report.digest)
    assert digests[0] == digests[1]


def test_an_event_counts_once_per_utc_day_however_its_rows_are_cut_into_files(tmp_path: Path) -> None:
    times = [datetime(2024, 3, day, *clock, tzinfo=UTC) for day, clock in ((4, (23, 59, 59)), (5, (0,)), (5, (9,)))]
    events = [rows(2)[1] | {"event_time": time, "user_id": user} for time in times for user in "abcdef"]
    found = []
    for size in (1, 5, len(events)):
        where = lake(tmp_path / str(size))
        parts = [events[at : at + size] for at in range(0, len(events), size)]
        landed(where, tmp_path, *(parquet(part, tmp_path / f"{size}-{n}") for n, part in enumerate(parts)))
        day = validate_day(where, "2024-03-05")
        assert [r.quarantined for r in (*day.caught_up, day)] == [{"duplicate_event_id": n} for n in (5, 11)]
        found.append([*clean(where), *clean(where, day.day)])
    assert [r["event_time"] for r in found[0]] == times[:2]
    assert found[0] == found[1] == found[2]


def test_a_day_holds_its_own_events_and_earlier_days_are_caught_up(tmp_path: Path) -> None:
    where = lake(tmp_path)
    late = rows(3, day=0, prefix="late")
    landed(where, tmp_path, parquet([*rows(9, day=2), *rows(7, day=1), *rows(5, day=0)], tmp_path / "a"))
    report = validate_day(where, "2024-03-06")
    assert [(r.day, r.kept) for r in report.caught_up] == [("2024-03-04", 5), ("2024-03-05", 7)]
    for number, day in enumerate(["2024-03-04", "2024-03-05", "2024-03-06"]):
        assert {r["event_time"].date() for r in clean(where, day)} == {datetime(2024, 3, 4 + number, tzinfo=UTC).date()}
    landed(where, tmp_path, parquet(late, tmp_path / "b"))
    assert [(r.day, r.kept) for r in validate_day(where, "2024-03-06").caught_up] == [("2024-03-04", 8)]


def test_a_lost_or_retyped_column_stops_the_run_until_somebody_decides(tmp_path: Path) -> None:
    where = lake(tmp_path)
    landed(where, tmp_path, parquet(rows(30), tmp_path / "a"))
    validate_day(where, DAY)
    second = table(rows(30, day=1))
    landed(where, tmp_path, parquet(second.drop_columns("session_id"), tmp_path / "b"))
    with pytest.raises(SchemaChanged, match="lost the column session_id") as caught:
        validate_day(where, "2024-03-05")
    assert "--replace" in caught.value.remedy
    assert where.digest("events", "2024-03-05") is None
    numbers = second.set_column(2, "user_id", pa.array(range(30)))
    landed(where, tmp_path, parquet(numbers, tmp_path / "c"), replace=True)
    with pytest.raises(SchemaChanged, match="user_id of 2024-03-05 is number"):
        validate_day(where, "2024-03-05")
    landed(where, tmp_path, parquet(second, tmp_path / "d"), replace=True)
    report = validate_day(where, "2024-03-05")
    assert (report.read, report.kept) == (30, 30)
    landed(where, tmp_path, parquet(table(rows(30, day=2)).drop_columns("session_id"), tmp_path / "e"))
    assert validate_day(where, "2024-03-06", accept_changes=True).kept == 30


def test_an_empty_day_and_an_empty_column_are_refused(tmp_path: Path) -> None:
    where = lake(tmp_path)
    searches = [e | {"kind": "search", "query": "hat", "item_id": None} for e in rows(30)]
    landed(where, tmp_path, parquet(searches, tmp_path / "a"))
    with pytest.raises(SchemaChanged, match="item_id is empty"):
        validate_day(where, DAY)
    with pytest.raises(EmptyPartition, match="2024-03-09"):
        validate_day(where, "2024-03-09")
    for nonsense in ("yesterday", "2024-02-31", "../../x", "{{7*7}}"):
        with pytest.raises(DataError, match="not a day"):
            validate_day(where, nonsense)


def test_a_day_that_is_mostly_bad_is_refused(tmp_path: Path) -> None:
    where = lake(tmp_path)
    events = [e | ({"kind": "teleport"} if n % 3 else {}) for n, e in enumerate(rows(60))]
    landed(where, tmp_path, parquet(events, tmp_path / "a"))
    with pytest.raises(DataError, match="40 of 60 rows"):
        validate_day(where, DAY)
    assert validate_day(where, DAY, max_quarantined=0.9).kept == 20


def test_a_bad_file_is_set_aside_and_the_others_go_in(tmp_path: Path) -> None:
    where = lake(tmp_path)
    bad = write(tmp_path / "bad.parquet", b"PAR1 nonsense")
    report = landed(where, tmp_path, bad, tmp_path / "absent.csv", parquet(rows(5), tmp_path / "a"))
    assert [f.status for f in report.files] == ["refused", "refused", "landed", "landed"]
    assert "bad.parquet" in report.refused[0].reason
    assert where.partitions("landing-refused")


def test_a_death_while_landing_leaves_nothing_that_a_second_try_does_not_mend(tmp_path: Path) -> None:
    path = parquet([*rows(9), *rows(9, day=1)], tmp_path / "a")
    whole = lake(tmp_path / "whole")
    landed(whole, tmp_path, path)
    digest = validate_day(whole, "2024-03-05").digest
    for after in range(0, 40, 3):
        where = lake(tmp_path / str(after))
        where.store.fail_after = after  # type: ignore[attr-defined]
        try:
            landed(where, tmp_path, path)
        except ConnectionError:
            where.store.fail_after = None  # type: ignore[attr-defined]
            landed(where, tmp_path, path)
        where.store.fail_after = None  # type: ignore[attr-defined]
        assert validate_day(where, "2024-03-05").digest == digest


def test_the_catalog_of_a_day_is_pinned_and_knows_no_later_items(tmp_path: Path) -> None:
    where = lake(tmp_path)
    items = [{"item_id": "a", "title": "A"}, {"item_id": "b", "title": "B", "created_at": "2024-03-05T08:00:00Z"}]
    events = parquet([*rows(9), *rows(9, day=1)], tmp_path / "e")
    land(where, [events], catalog(tmp_path / "1", items), pseudonymizer=KEY, now=NOW)
    assert validate_day(where, DAY).catalog_items == 1
    land(where, [], catalog(tmp_path / "2", [*items, {"item_id": "c", "title": "C"}]), pseudonymizer=KEY, now=NOW)
    assert validate_day(where, DAY).catalog_items == 1
    assert validate_day(where, "2024-03-05").catalog_items == 3
    again = land(where, [], catalog(tmp_path / "3", items), pseudonymizer=KEY, now=NOW)
    assert again.new == 1  # going back to an earlier catalog is a change
    found = pq.read_table(where.fetch("catalog", "2024-03-05") / "data.parquet", schema=CATALOG)
    assert found.column("item_id").to_pylist() == ["a", "b", "c"]


def test_what_engines_logged_joins_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = lake(tmp_path)
    landed(where, tmp_path, parquet(rows(10), tmp_path / "a"))
    hashed = [e | {"user_id": KEY.hash(e["user_id"]), "session_id": None} for e in rows(6, prefix="log")]
    hashed[5] = hashed[5] | {"user_id": "clear-person"}
    lines = [e | {"source": "shop", "release": "x"} for e in hashed] + [hashed[0] | {"source": "other"}]
    log = write(tmp_path / "log" / DAY / "champion-000000.jsonl", json_bytes(lines) + b'{"event_id": "torn')
    report = validate_day(where, DAY, event_log=tmp_path / "log")
    assert (report.read, report.kept, report.collected) == (16, 15, 1)
    assert report.quarantined == {"not_pseudonymous": 1}
    assert "clear-person" not in everything(where)
    assert not validate_day(where, DAY, event_log=tmp_path / "log").written
    write(log, json_bytes(lines))  # nothing new in it, and no torn line any more
    with monkeypatch.context() as known:
        known.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read again"))
        assert [r.status for r in collect(where, tmp_path / "log")] == ["known"]
    write(log, json_bytes([*lines, *(e | {"user_id": KEY.hash("x"), "session_id": None} for e in rows(4, prefix="n"))]))
    assert validate_day(where, DAY, event_log=tmp_path / "log").kept == 19


def test_hashes_are_stable_keyed_and_the_same_for_a_column() -> None:
    other = Pseudonymizer("another key, just as long")
    assert KEY.hash("a") == KEY.hash("a") != other.hash("a")
    assert KEY.hash_column(pa.chunked_array([["a", None], ["ü"]])).to_pylist() == [KEY.hash("a"), None, KEY.hash("ü")]
    assert len(KEY.hash("a")) == 34
    with pytest.raises(SettingsError, match="16"):
        Pseudonymizer("short")
