"""Days and moments as people write them: what each means, and what a refusal says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dates import names_zone, read_day, read_moment
from contracts.errors import SettingsError

NOW = datetime(2026, 11, 28, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-22", "2026-11-22 ", " 2026-11-22", "\t2026-11-22\n", date(2026, 11, 22)])
def test_a_day_with_blanks_around_it_is_that_day(text: Any) -> None:
    assert read_day(text, now=NOW, over=True) == date(2026, 11, 22)


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("20261122", "a day without hyphens", "2026-11-22"),
        (20261122, "is a number", '"2026-11-22"'),
        (20261122.0, "is a number", "write it as text"),
        (True, "is a bool", "write it as text"),
        (["2026-11-22"], "is a list", "write it as text"),
        ("2026-11-22Z", "a day with a zone", "write 2026-11-22"),
        ("2026-11-22+02:00", "a day with a zone", "write 2026-11-22"),
        ("2026-11-22 UTC", "a day with a zone", "write 2026-11-22"),
        ("2026-11-22T00:00:00Z", "a moment, not a day", "write 2026-11-22"),
        ("2026-11-22T23:30:00-05:00", "a moment, not a day", "write 2026-11-23"),  # that is the next day in UTC
        ("2026-11-22 00:00", "a moment, not a day", "write 2026-11-22"),
        ("20261122T0000Z", "a moment, not a day", "write 2026-11-22"),
        ("2026-02-30", "not a day of the calendar", "YYYY-MM-DD"),
        ("2026-13-01", "not a day of the calendar", "YYYY-MM-DD"),
        ("2026-11-28", "is not over yet: in UTC it is 2026-11-28", "2026-11-27 or an earlier day"),
        ("2099-01-01", "is not over yet", "2026-11-27"),
        ("2026-W47-7", "is not a day", "YYYY-MM-DD"),
        ("2026-326", "is not a day", "YYYY-MM-DD"),
        ("2026/11/22", "is not a day", "YYYY-MM-DD"),
        ("22.11.2026", "is not a day", "YYYY-MM-DD"),
        ("11/12/2026", "is not a day", "YYYY-MM-DD"),
        ("2026-1-2", "is not a day", "YYYY-MM-DD"),
        ("yesterday", "is not a day", "YYYY-MM-DD"),
        ("", "is not a day", "YYYY-MM-DD"),
        ("２０２６-１１-２２", "is not a day", "YYYY-MM-DD"),
        ("2026-11-22; rm", "is not a day", "YYYY-MM-DD"),
    ],
)
def test_what_is_no_day_says_what_it_is_and_what_to_write(text: Any, what: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_day(text, now=NOW, over=True)
    assert what in refused.value.what
    assert remedy in refused.value.remedy


@given(day=st.dates(), left=st.text(" \t\n", max_size=3), right=st.text(" \t\n", max_size=3))
def test_every_day_as_it_is_written_is_itself(day: date, left: str, right: str) -> None:
    assert read_day(f"{left}{day.isoformat()}{right}") == day


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T02:17", "2026-03-01T02:17:00"),
        ("2026-03-01 02:17", "2026-03-01T02:17:00"),
        ("2026-03-01 02:17 ", "2026-03-01T02:17:00"),
        ("2026-03-01t02:17z", "2026-03-01T02:17:00"),
        ("2026-03-01T02:17:30,5", "2026-03-01T02:17:30.500000"),
        ("2026-03-01T02:17:30.123456789Z", "2026-03-01T02:17:30.123456"),
        ("2026-03-01T02:17+02:00", "2026-03-01T00:17:00"),
        ("2026-03-01T02:17 +0530", "2026-02-28T20:47:00"),
        ("2026-03-01T02:17-05", "2026-03-01T07:17:00"),
        ("2026-03-01 02:17 UTC", "2026-03-01T02:17:00"),
        ("20260301T0217Z", "2026-03-01T02:17:00"),
        ("20260301T021730+0200", "2026-03-01T00:17:30"),
        ("2026-03-01", "2026-03-01T00:00:00"),
    ],
)
def test_a_moment_is_the_same_instant_in_utc(text: str, moment: str) -> None:
    assert read_moment(text) == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert read_moment(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("20260301", "is a number, not a moment"),
        ("1772331420", "is a number, not a moment"),
        ("2026-02-30T10:00", "is not a moment"),
        ("2026-03-01T25:00", "is not a moment"),
        ("2026-03-01T02:17+02:60", "is not a moment"),
        ("2026-03-01T02:17+25:00", "is not a moment"),
        ("2026-03-01T02:17 CET", "is not a moment"),
        ("2026-W09-7T02:17", "is not a moment"),
        ("0001-01-01T00:00+14:00", "is not a moment"),
        ("02:17", "is not a moment"),
        ("now", "is not a moment"),
        ("", "is not a moment"),
        ("x" * 10_000, "is not a moment"),
    ],
)
def test_what_is_no_moment_is_refused_with_one_that_is(text: str, what: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_moment(text)
    assert what in refused.value.what
    assert len(refused.value.what) < 120
    assert "T02:17+02:00" in refused.value.remedy


@given(
    moment=st.datetimes(min_value=datetime(1000, 1, 3), max_value=datetime(9999, 12, 30)),
    minutes=st.integers(-14 * 60, 14 * 60),
    separator=st.sampled_from("T "),
)
def test_an_offset_never_changes_the_instant(moment: datetime, minutes: int, separator: str) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert read_moment(there.isoformat(separator)) == there
    assert read_moment(moment.isoformat(separator)) == moment.replace(tzinfo=UTC)
    assert names_zone(there.isoformat())
    assert not names_zone(moment.isoformat())
