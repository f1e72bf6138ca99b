"""Old logs go, the access log begins again each day, and nothing else is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.region_paths import ACCESS_LOG
from contracts.settings import Settings, read_settings
from releases.log_retention import tidy
from serving.edge import admin

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    s = read_settings(home=tmp_path)
    s.paths.logs.mkdir(parents=True)
    return s


@pytest.fixture
def reopened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(admin, "ask", lambda _folder, path, method, **_: asked.append(f"{method} {path}"))
    return asked


def access_log(s: Settings, first: datetime) -> Path:
    path = s.paths.access_log
    path.write_text(json.dumps({"time": first.isoformat()}) + "\n")
    return path


def test_answers_and_access_logs_of_former_days_go(s: Settings) -> None:
    answers, events = s.paths.answer_log, s.paths.event_log
    for folder in (answers, events):
        for day in ("2026-03-05", "2026-03-06", "2026-03-20"):
            (folder / day).mkdir(parents=True)
            (folder / day / "engine-000000.jsonl").write_text("{}\n")
    for day in ("2026-03-05", "2026-03-06"):
        (s.paths.logs / f"{ACCESS_LOG}.{day}").write_text("{}\n")
    (s.paths.logs / "primary-engine.log.1").write_text("not ours")
    assert len(tidy(s, now=NOW)) == 2
    assert sorted(path.name for path in answers.iterdir()) == ["2026-03-06", "2026-03-20"]
    assert len(list(events.iterdir())) == 3
    left = sorted(path.name for path in s.paths.logs.iterdir())
    assert left == [f"{ACCESS_LOG}.2026-03-06", "primary-engine.log.1"]
    assert tidy(s, now=NOW) == []


def test_an_access_log_is_put_aside_after_a_day(s: Settings, reopened: list[str]) -> None:
    path = access_log(s, NOW - timedelta(hours=23))
    assert tidy(s, now=NOW) == []
    assert tidy(s, now=NOW + timedelta(hours=2)) == [f"{ACCESS_LOG} is now {ACCESS_LOG}.2026-03-20"]
    assert not path.exists()
    assert reopened == ["POST /reopen_logs"]


def test_an_edge_that_does_not_answer_keeps_its_log(s: Settings) -> None:
    path = access_log(s, NOW - timedelta(days=2))
    assert tidy(s, now=NOW) == []
    assert path.exists()
