"""What came before its time comes in by itself, once, however the landing goes on."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from artifacts.lake import Lake
from contracts.errors import EmptyPartition
from ingestion.landing.land import land
from ingestion.landing.report import LandingReport
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, catalog, csv_bytes, json_bytes, lake, parquet, rows, write

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)
DAY = "2024-03-04"


def events(past: int, ahead: int, *, by: timedelta, prefix: str = "a") -> list[dict[str, Any]]:
    """`past` rows of this morning, and `ahead` rows later than NOW by `by`."""
    early = [r | {"event_time": NOW + by + timedelta(seconds=n)} for n, r in enumerate(rows(ahead, prefix=prefix))]
    return rows(past) + early


def landed(where: Lake, tmp_path: Path, *files: Path, now: datetime = NOW, **more: Any) -> LandingReport:
    return land(where, files, catalog(tmp_path / "c.jsonl"), pseudonymizer=KEY, now=now, **more)


def ids(where: Lake, day: str = DAY) -> set[str]:
    found = pq.read_table(where.fetch("events", day) / "data.parquet", columns=["event_id"]).column(0)
    return set(found.to_pylist())


WAYS = {
    "minutes": timedelta(minutes=6),
    "hours east of Greenwich": timedelta(hours=9),
    "the next day": timedelta(days=1),
    "a clock that lags by days": timedelta(days=5),
    "a year": timedelta(days=365),
}
FORMATS = {
    "parquet": parquet,
    "csv": lambda e, p: write(p, csv_bytes(e)),
    "jsonl": lambda e, p: write(p, json_bytes(e)),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("way", WAYS)
def test_the_next_landing_takes_what_was_ahead(tmp_path: Path, way: str, form: str) -> None:
    where, by = lake(tmp_path), WAYS[way]
    path = FORMATS[form](events(20, 10, by=by), tmp_path / "e")
    first = landed(where, tmp_path, path)
    assert (first.kept - 5, first.quarantined, first.early.waiting) == (20, {"event_time_in_future": 10}, 10)
    assert f"{NOW + by - timedelta(minutes=5):%Y-%m-%d %H:%M}" in str(first.early)
    same = landed(where, tmp_path, path, now=NOW + timedelta(seconds=1))
    assert (same.files[0].status, same.files[0].kept) == ("known", 20)
    later = landed(where, tmp_path, path, now=NOW + by)
    assert (later.files[0].status, later.files[0].kept, later.files[0].quarantined) == ("known", 30, {})
    assert sum(later.early.taken.values()) == 10
    again = landed(where, tmp_path, path, now=NOW + by)
    assert (again.early.taken, again.early.waiting, again.files[0].kept) == ({}, 0, 30)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_takes_it_too_and_the_bytes_are_those_of_a_late_landing(tmp_path: Path, way: str) -> None:
    where, by = lake(tmp_path), WAYS[way]
    path = parquet(events(20, 10, by=by), tmp_path / "e")
    landed(where, tmp_path, path)
    assert validate_day(where, DAY, now=NOW).kept == 20
    day, then = f"{NOW + by:%Y-%m-%d}", NOW + by + timedelta(days=1)
    report = validate_day(where, day, now=then)
    assert sum(report.early.taken.values()) == 10
    other = lake(tmp_path / "other")
    landed(other, tmp_path, path, now=then)
    assert validate_day(other, day, now=then).digest == report.digest
    assert not validate_day(where, day, now=then).written


def test_they_come_in_piece_by_piece(tmp_path: Path) -> None:
    where = lake(tmp_path)
    some = events(20, 5, by=timedelta(hours=1)) + events(0, 5, by=timedelta(hours=3), prefix="b")
    landed(where, tmp_path, parquet(some, tmp_path / "e"))
    kept = [validate_day(where, DAY, now=NOW + timedelta(hours=h)).kept for h in (0, 2, 2, 4)]
    assert kept == [20, 25, 25, 30]


def test_a_death_on_the_way_takes_nothing_twice(tmp_path: Path) -> None:
    for after in range(8):
        where = lake(tmp_path / str(after))
        landed(where, tmp_path, parquet(events(20, 10, by=timedelta(hours=1)), tmp_path / "e"))
        where.store.fail_after = after  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            landed(where, tmp_path, now=NOW + timedelta(hours=2))
        where.store.fail_after = None  # type: ignore[attr-defined]
        report = landed(where, tmp_path, tmp_path / "e", now=NOW + timedelta(hours=2))
        assert (report.files[0].kept, report.files[0].quarantined) == (30, {})
        assert validate_day(where, DAY, now=NOW + timedelta(hours=2)).kept == 30


def test_a_file_that_replaces_the_day_replaces_what_waits_for_it(tmp_path: Path) -> None:
    where = lake(tmp_path)
    landed(where, tmp_path, parquet(events(20, 10, by=timedelta(hours=1)), tmp_path / "e"))
    landed(where, tmp_path, parquet(rows(22, prefix="new"), tmp_path / "new"), replace=True)
    report = validate_day(where, DAY, now=NOW + timedelta(hours=2))
    assert (report.kept, report.early.taken) == (22, {})


def test_a_whole_file_that_is_a_time_zone_ahead_waits_and_one_of_another_year_is_refused(tmp_path: Path) -> None:
    where = lake(tmp_path)
    tokyo = parquet(events(0, 10, by=timedelta(hours=9)), tmp_path / "tokyo")
    wrong = parquet(events(0, 10, by=timedelta(days=400), prefix="w"), tmp_path / "wrong")
    report = landed(where, tmp_path, tokyo, wrong)
    assert [f.status for f in report.files] == ["landed", "refused", "landed"]
    with pytest.raises(EmptyPartition):
        validate_day(where, DAY, now=NOW)
    assert validate_day(where, DAY, now=NOW + timedelta(hours=12)).kept == 10


def test_nobody_is_named_while_it_waits(tmp_path: Path) -> None:
    where = lake(tmp_path)
    landed(where, tmp_path, parquet(events(5, 10, by=timedelta(hours=1)), tmp_path / "e"))
    (name,) = where.partitions("landing-ahead")
    waiting = pq.read_table(where.fetch("landing-ahead", name) / "data.parquet").to_pylist()
    assert len(waiting) == 10
    assert "clear-" not in str(waiting)


def test_a_file_of_an_older_version_lands_again_for_what_it_left_out(tmp_path: Path) -> None:
    where = lake(tmp_path)
    path = parquet(events(20, 10, by=timedelta(hours=1)), tmp_path / "e")
    landed(where, tmp_path, path)
    refs = where.store.objects  # type: ignore[attr-defined]
    for key in [k for k in refs if "landing-ahead" in k and k.startswith("refs/")]:
        del refs[key]  # as such a version left it
    assert landed(where, tmp_path, path, now=NOW + timedelta(hours=2)).files[0].kept == 30
