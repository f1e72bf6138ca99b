"""`ingest --replace` touches what its files are about, and asks before more than a little goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from artifacts.lake import Lake
from contracts.errors import LargeChange
from ingestion.landing.land import Replace, land
from ingestion.landing.report import LandingReport
from tests.ingestion.builders import KEY, NOW, csv_bytes, lake, parquet, rows, write

FIRST, SECOND, THIRD = "2024-03-04", "2024-03-05", "2024-03-06"


def landed(where: Lake, *files: Path, replace: Replace = False) -> LandingReport:
    return land(where, files, pseudonymizer=KEY, now=NOW, replace=replace)


def kept(where: Lake) -> dict[str, int]:
    """The different events of each day, as a merge would find them."""
    found: dict[str, set[str]] = {}
    for name in where.partitions("landing-events"):
        ids = pq.read_table(where.fetch("landing-events", name) / "data.parquet", columns=["event_id"]).column(0)
        found.setdefault(name[:10], set()).update(ids.to_pylist())
    return {day: len(ids) for day, ids in found.items()}


def days(*counts: int, prefix: str = "e") -> list[dict[str, Any]]:
    return [row for day, count in enumerate(counts) for row in rows(count, day=day, prefix=prefix)]


#: Rows of three days that were there, rows that the corrected file has, and what is there afterwards.
CASES = {
    "one late row of the day before": ((40, 40, 0), (1, 40, 0), (41, 40, 0)),
    "several late rows": ((40, 40, 0), (6, 40, 0), (46, 40, 0)),
    "late rows that were there already": ((40, 40, 0), (6, 40, 0), (40, 40, 0)),
    "one early row of the day after": ((0, 40, 40), (0, 40, 1), (0, 40, 41)),
    "strays on both sides": ((40, 40, 40), (2, 40, 3), (42, 40, 43)),
    "a stray beside a small correction of a large day": ((400, 400, 0), (3, 390, 0), (403, 390, 0)),
    "all days, a little fewer": ((50, 50, 50), (45, 48, 50), (45, 48, 50)),
    "all days, more": ((10, 10, 10), (40, 40, 40), (40, 40, 40)),
    "one of three days": ((30, 30, 30), (0, 30, 0), (30, 30, 30)),
    "a day that had nothing": ((30, 0, 0), (0, 30, 0), (30, 30, 0)),
    "a day of few rows is replaced by as many": ((40, 3, 0), (40, 3, 0), (40, 3, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_replaced_day_is_one_that_the_file_is_about(tmp_path: Path, case: str) -> None:
    had, brings, after = CASES[case]
    where = lake(tmp_path)
    landed(where, parquet(days(*had), tmp_path / "had"))
    prefix = "e" if "already" in case else "new"
    report = landed(where, parquet(days(*brings, prefix=prefix), tmp_path / "new"), replace=True)
    expected = {day: n for day, n in zip((FIRST, SECOND, THIRD), after, strict=True) if n}
    assert kept(where) == expected
    told = {d.day: (d.had, d.brought, d.withdrawn) for d in report.replaced}
    assert told == {
        day: (before, new, before + new != now or before == 0) if prefix == "new" else (before, new, new == before)
        for day, before, new, now in zip((FIRST, SECOND, THIRD), had, brings, after, strict=True)
        if before and new
    }


#: What would be lost: rows that were there, and those of the file.
LOSSES = {
    "cut in transit": ((40, 40, 0), (0, 3, 0)),
    "half": ((40, 40, 0), (0, 20, 0)),
    "two thirds of both days": ((60, 60, 0), (40, 40, 0)),
    "one of two days": ((60, 60, 0), (60, 40, 0)),
    "a stray alone": ((40, 40, 0), (1, 0, 0)),
}


@pytest.mark.parametrize("case", LOSSES)
def test_more_than_a_little_is_asked_with_both_numbers_and_nothing_lands(tmp_path: Path, case: str) -> None:
    had, brings = LOSSES[case]
    where = lake(tmp_path)
    landed(where, parquet(days(*had), tmp_path / "had"))
    before, puts = kept(where), len(where.store.puts)  # type: ignore[attr-defined]
    path = parquet(days(*brings, prefix="new"), tmp_path / "new")
    lost = next((h, b) for h, b in zip(had, brings, strict=True) if 0 < b < h)
    with pytest.raises(LargeChange, match=f"had {lost[0]} rows and would have {lost[1]}") as caught:
        landed(where, path, replace=True)
    assert "--yes" in caught.value.remedy
    assert kept(where) == before
    assert len(where.store.puts) == puts  # type: ignore[attr-defined]
    landed(where, path, replace="confirmed")
    assert kept(where) == before | {d: n for d, n in zip((FIRST, SECOND, THIRD), brings, strict=True) if n}


def test_files_of_one_call_are_looked_at_together(tmp_path: Path) -> None:
    where = lake(tmp_path)
    landed(where, parquet(days(100), tmp_path / "had"))
    new = rows(100, prefix="new")
    parts = [parquet(new[at : at + 10], tmp_path / f"part-{at}") for at in range(0, 100, 10)]
    assert [d.withdrawn for d in landed(where, *parts, replace=True).replaced] == [True]
    assert kept(where) == {FIRST: 100}


def test_overlapping_exports_count_once(tmp_path: Path) -> None:
    """Four exports of one day so far hold 150 rows of 60 events: the whole day loses nothing when it replaces them."""
    where = lake(tmp_path)
    events = rows(60)
    landed(where, *(write(tmp_path / f"{n}.csv", csv_bytes(events[:n])) for n in (15, 30, 45, 60)))
    report = landed(where, parquet(events, tmp_path / "whole"), replace=True)
    assert [(d.had, d.brought, d.lost) for d in report.replaced] == [(60, 60, 0)]
    assert kept(where) == {FIRST: 60}


def test_the_same_call_again_withdraws_nothing(tmp_path: Path) -> None:
    where = lake(tmp_path)
    landed(where, parquet(days(40, 40), tmp_path / "had"))
    path = parquet(days(1, 40, prefix="new"), tmp_path / "new")
    landed(where, path, replace=True)
    again = landed(where, path, replace=True)
    assert [d.withdrawn for d in again.replaced] == [False]
    assert kept(where) == {FIRST: 41, SECOND: 40}
