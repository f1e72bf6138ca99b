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


def test_a_large_access_log_is_put_aside_also_while_a_release_is_on_its_way(s: Settings, reopened: list[str]) -> None:
    small = s.model_copy(update={"access_log_mb": 1})
    for number in range(2):
        path = access_log(small, NOW)
        path.write_text(path.read_text() + "x" * (1 << 20))
        name = f"{ACCESS_LOG}.2026-03-20" + (".1" if number else "")
        assert tidy(small, now=NOW, busy=True) == [f"{ACCESS_LOG} is now {name}"]
    assert reopened == ["POST /reopen_logs"] * 2
    access_log(small, NOW - timedelta(days=2))
    assert tidy(small, now=NOW, busy=True) == []


def test_logs_that_take_too_much_lose_their_oldest_days_first(s: Settings) -> None:
    few = s.model_copy(update={"logs_mb": 64})
    for folder in (s.paths.impression_log, s.paths.event_log):
        for day in ("2026-03-17", "2026-03-18", "2026-03-19", "2026-03-20"):
            (folder / day).mkdir(parents=True)
            with (folder / day / "x.jsonl").open("wb") as file:
                file.truncate(30 << 20)
    assert len(tidy(few, now=NOW)) == 2
    assert sorted(path.name for path in s.paths.impression_log.iterdir()) == ["2026-03-19", "2026-03-20"]
    assert len(list(s.paths.event_log.iterdir())) == 4  # it is promised that they are kept


def test_who_reads_the_access_log_reads_the_rest_of_what_was_put_aside(s: Settings) -> None:
    from monitoring.log_tail import Tail

    path = s.paths.access_log
    path.write_text('{"t": 1}\n')
    tail = Tail(path, lambda line: float(line["t"]), 0.0)
    assert [line["t"] for line in tail.read()] == [1]
    with path.open("a") as file:
        file.write('{"t": 2}\n')
    path.rename(path.with_name(f"{ACCESS_LOG}.2026-03-20"))
    path.write_text('{"t": 3}\n')
    assert [line["t"] for line in tail.read()] == [2, 3]
    assert list(tail.read()) == []
