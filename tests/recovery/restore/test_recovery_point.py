"""Which moment a restore goes to: every way to write one, and what is said about those that lead nowhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import NoRecoveryPoint, RecoveryError
from recovery.restore.recovery_point import Point, choose
from tests.recovery.vaults import SmallRegion

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-27T10:00", "2026-11-27T10:00"),
        ("2026-11-27T10:00 ", "2026-11-27T10:00"),
        (" 2026-11-27 10:00\n", "2026-11-27T10:00"),
        ("2026-11-27T10:00Z", "2026-11-27T10:00"),
        ("2026-11-27T10:00+00:00", "2026-11-27T10:00"),
        ("2026-11-27T10:00+02:00", "2026-11-27T08:00"),
        ("2026-11-27T15:30+05:30", "2026-11-27T10:00"),
        ("2026-11-27T15:30+0530", "2026-11-27T10:00"),
        ("2026-11-26 22:00:00 -12:00", "2026-11-27T10:00"),
        ("20261127T1000Z", "2026-11-27T10:00"),
        ("2026-11-27", "2026-11-27T00:00"),
        ("2026-11-28T12:01", "2026-11-28T12:01"),  # a clock that runs a little ahead
        ("1999-01-01T00:00", "1999-01-01T00:00"),
    ],
)
def test_a_moment_is_the_same_instant_in_utc_and_says_so(text: str, at: str) -> None:
    point = Point.parse(text, now=NOW)
    assert point.at == datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert "UTC" in point.describe()
    zoned = any(mark in text for mark in ("Z", "+", " -"))
    assert ("taken as UTC" in point.describe()) != zoned
    assert point.asked == text.strip()


@pytest.mark.parametrize(
    ("text", "snapshot"),
    [("s000012", "s000012"), ("s000012 ", "s000012"), ("12", "12"), (" s7", "s7"), ("99999999", "99999999")],
)
def test_a_snapshot_is_named_by_its_id_or_number(text: str, snapshot: str) -> None:
    point = Point.parse(text, now=NOW)
    assert (point.snapshot, point.at) == (snapshot, None)
    assert point.describe() == f"snapshot {snapshot}, exactly"


def test_newest_with_blanks_around_it_is_newest() -> None:
    assert Point.parse(" newest ", now=NOW) == Point(asked="newest")


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("20261127", "can be a day or the number of a snapshot", "2026-11-27T00:00 (UTC)"),
        ("20261127 ", "can be a day or the number of a snapshot", "s20261127"),
        ("2099-01-01T00:00", "has not been yet: it is 2026-11-28 12:00 UTC", "`newest`"),
        ("2099-01-01", "has not been yet", "`newest`"),
        ("2026-11-28T12:10", "has not been yet", "with its offset"),
        ("2026-11-28T13:30+01:00", "has not been yet", "`newest`"),
        ("2026-02-30T10:00", "no recovery point", "2026-01-31T02:17"),
        ("1764324000", "no recovery point", "T02:17"),
        ("٢٠٢٦", "no recovery point", "T02:17"),
        ("s", "no recovery point", "snapshot list"),
        ("s-1", "no recovery point", "snapshot list"),
        ("yesterday", "no recovery point", "newest"),
        ("latest", "no recovery point", "newest"),
        ("NEWEST", "no recovery point", "newest"),
        ("", "no recovery point", "newest"),
    ],
)
def test_what_is_no_point_or_could_be_two_is_refused_with_what_to_write(text: str, what: str, remedy: str) -> None:
    with pytest.raises(RecoveryError) as refused:
        Point.parse(text, now=NOW)
    assert what in refused.value.what
    assert remedy in refused.value.remedy


@given(seconds=st.integers(1, 900_000_000), minutes=st.integers(-14 * 60, 14 * 60))
def test_an_offset_never_changes_the_moment(seconds: int, minutes: int) -> None:
    moment = NOW - timedelta(seconds=seconds)
    there = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert Point.parse(there.isoformat(), now=NOW).at == moment
    assert Point.parse(there.isoformat(" "), now=NOW).at == moment


def test_before_the_first_snapshot_there_is_none_and_the_oldest_is_named(tmp_path: Path) -> None:
    region = SmallRegion(tmp_path)
    first, _ = region.snapshot(), region.snapshot()
    standby = region.s.of_region("standby")
    with pytest.raises(NoRecoveryPoint) as none:
        choose(region.vault, standby, Point.parse("1999-01-01T00:00"), sound=lambda _: None, tell=print)
    assert f"the oldest is {first.id} of {first.at:%Y-%m-%d}" in none.value.what
    assert "1999-01-01 00:00:00 UTC" in none.value.what
    assert f"--to {first.id}" in none.value.remedy
