"""Nobody makes thousands of days over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.settings import Settings
from ingestion.landing.event_log import collect
from ingestion.rules.one_event import judge_event
from tests.ingestion.builders import KEY, json_bytes, lake, rows, write

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAYS = Settings.model_fields["event_days"].default


@pytest.mark.parametrize(
    ("age", "reason"),
    [(0, ""), (1, ""), (DAYS - 1, ""), (DAYS, ""), (DAYS + 0.01, "event_time_too_late"),
     (DAYS + 1, "event_time_too_late"), (365, "event_time_too_late"), (9_000, "event_time_too_late"),
     (20_000, "event_time_too_old"),
     (-0.001, ""), (-1, "event_time_in_future")],
)  # fmt: skip
def test_the_door_takes_the_days_that_a_night_looks_back(age: float, reason: str) -> None:
    event = rows(2)[1] | {"event_time": (NOW - timedelta(days=age)).isoformat()}
    assert judge_event(event, NOW, days=DAYS)[1] == reason
    if reason == "event_time_too_late":
        assert judge_event(event, NOW)[1] == ""  # a file may bring it


def test_impressions_are_landed_from_the_log_beside_the_events(tmp_path: Path) -> None:
    where = lake(tmp_path)
    line = rows(2)[1] | {
        "user_id": KEY.hash("a"), "session_id": None, "event_time": NOW.isoformat(), "source": "shop",
    }  # fmt: skip
    write(tmp_path / "event-log" / "2026-11-25" / "champion-0.jsonl", json_bytes([line | {"event_id": "bought"}]))
    write(tmp_path / "impression-log" / "2026-11-25" / "champion-shown-0.jsonl", json_bytes([line | {"event_id": "s"}]))
    assert [report.kept for report in collect(where, tmp_path / "event-log", now=NOW)] == [1, 1]


def test_a_log_of_many_days_makes_no_more_than_the_door_would(tmp_path: Path) -> None:
    where = lake(tmp_path)
    base = rows(2)[1] | {"user_id": KEY.hash("a"), "session_id": None}
    lines = [
        base | {"event_id": f"e{n}", "event_time": (NOW - timedelta(days=n)).isoformat(), "source": "shop"}
        for n in range(400)
    ]
    write(tmp_path / "log" / "2026-11-25" / "champion-000000.jsonl", json_bytes(lines))
    (report,) = collect(where, tmp_path / "log", now=NOW)
    assert report.kept == DAYS + 3
    assert report.quarantined == {"event_time_too_late": 400 - report.kept}
    days = {name[:10] for name in where.partitions("landing-events") if name[:10] >= "2026-10-14"}
    assert len(days) == DAYS + 3
