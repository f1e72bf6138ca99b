"""Many nights together: refusals in a row and an old champion are reported once, even when a night runs again."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from artifacts.lake import Lake
from artifacts.publish import publish
from contracts.settings import Settings, read_settings
from monitoring import alerts, nights
from tests.fakes import MemoryStore

FIRST = date(2026, 3, 1)


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    found = read_settings(home=tmp_path)
    found.paths.home.mkdir(parents=True)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(MemoryStore(), "shop", tmp_path / "cache")


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def judge(lake: Lake, number: int, *, passed: bool = False, night: bool = True) -> str:
    decision = {"evaluation": f"{number:064x}", "passed": passed, "checks": []}
    return nights.keep_verdict(lake, day(number), decision, f"reason {number}", night=night)


def end(s: Settings, lake: Lake, number: int, champion: str | None = None) -> list[str]:
    """End the night; return the texts of all alerts so far."""
    nights.watch_nights(s, lake.store, "shop", day(number), champion)
    return [alert.text for alert in alerts.read_alerts(s)]


def test_seven_refusals_in_a_row_are_told_once(s: Settings, lake: Lake) -> None:
    for number in range(6):
        judge(lake, number)
        assert end(s, lake, number) == []
    for number in (6, 6, 7, 8):
        judge(lake, number)
        told = end(s, lake, number)
        assert len(told) == 1
    assert "refused the last 7 nights of shop, 2026-03-01 to 2026-03-07: reason 6" in told[0]


def test_a_night_that_passed_begins_the_count_anew(s: Settings, lake: Lake) -> None:
    for number in range(20):
        judge(lake, number, passed=number == 5)
        told = end(s, lake, number)
        assert len(told) == (number >= 12)
    judge(lake, 20, passed=True)
    for number in range(21, 28):
        judge(lake, number)
    assert len(end(s, lake, 27)) == 2  # another row of refusals is another alert


def test_a_backfill_is_no_night(s: Settings, lake: Lake) -> None:
    for number in range(10):
        digest = judge(lake, number, night=False)
        assert nights.read_verdict(lake.store, digest).says == f"reason {number}"
        assert end(s, lake, number) == []


def test_a_night_run_again_counts_once(s: Settings, lake: Lake) -> None:
    for _ in range(9):
        judge(lake, 0)
    assert end(s, lake, 0) == []
    judge(lake, 0, passed=True)
    assert nights.list_refused_nights(lake.store, "shop", day(0)) == []


def test_a_champion_that_falls_behind_is_told_once(s: Settings, lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "file").write_text("x")
    champion = publish(lake.store, tmp_path / "bundle", kind="release", meta={"day": day(0)}).digest
    assert end(s, lake, 7, champion) == []
    for number in (8, 9, 9):
        told = end(s, lake, number, champion)
        assert len(told) == 1
    assert f"the champion {champion[:12]} of shop is of 2026-03-01, 8 days before the last night" in told[0]
