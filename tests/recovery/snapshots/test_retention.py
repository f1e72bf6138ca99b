"""Which snapshots stay: by age as the vault's store tells it, what a restore chose, and what a lock still guards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import Conflict, NoRecoveryPoint
from recovery.restore.recovery_point import Point, choose
from recovery.restore.restore import hold_chosen
from recovery.snapshots import retention, verify
from recovery.vault import holds, vault_lock
from tests.recovery.vaults import AT, SmallRegion, settings

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def region_with(folder: Path, *ages: timedelta, now: datetime = NOW) -> SmallRegion:
    """A region with a snapshot of each of these ages, by the clock of the vault's store."""
    region = SmallRegion(folder)
    for age in ages:
        region.memory.clock = now - age
        region.snapshot(bytes([65 + len(region.memory.objects) % 60]))
    region.memory.clock = now
    return region


def test_all_of_two_days_then_one_a_day_then_one_a_week() -> None:
    taken = {n: NOW - timedelta(hours=6) * (400 - n) for n in range(1, 401)}
    stays = retention.by_age(taken, NOW)
    ages = {n: NOW - taken[n] for n in stays}
    assert {n for n in taken if NOW - taken[n] < timedelta(days=2)} <= stays
    days = [taken[n].date() for n in stays if timedelta(days=3) < ages[n] < timedelta(days=15)]
    assert len(days) == len(set(days)) >= 11
    weeks = [taken[n].isocalendar()[:2] for n in stays if ages[n] > timedelta(days=16)]
    assert len(weeks) == len(set(weeks)) >= 6
    assert max(ages.values()) < timedelta(days=64)
    firsts = {taken[n].date(): min(m for m in taken if taken[m].date() == taken[n].date()) for n in stays}
    assert all(firsts[taken[n].date()] == n for n in stays if ages[n] > timedelta(days=3))


def test_what_stays_once_went_by_no_clock_that_jumped() -> None:
    taken = {1: NOW, 2: NOW - timedelta(hours=3), 3: NOW + timedelta(days=900)}  # the store's clock jumped
    assert retention.by_age(taken, NOW) == {1, 2, 3}
    assert retention.by_age({5: NOW - timedelta(days=400)}, NOW) == {5}  # the newest stays whatever its age


def test_pruning_by_age_removes_what_only_they_name_and_the_rest_is_whole(tmp_path: Path) -> None:
    hours = [24 * 70, 24 * 20, 24 * 5 + 2, 24 * 5 + 1, 30, 20, 1]
    region = region_with(tmp_path, *(timedelta(hours=h) for h in hours))
    report = retention.prune(region.s, region.vault)
    assert (report.snapshots, report.kept) == ((4, 1), (7, 6, 5, 3, 2))
    for number in report.kept:
        one = region.catalog.read(number)
        assert verify.verify(region.vault, one, region.s, deep=True).problems == ()
    assert retention.prune(region.s, region.vault).snapshots == ()


def test_a_moment_whose_log_is_pruned_is_restored_to_the_snapshot_before_it_and_that_is_said(tmp_path: Path) -> None:
    region = region_with(tmp_path, timedelta(days=20), timedelta(days=5), timedelta(days=5), timedelta(hours=1))
    retention.prune(region.s, region.vault)
    told: list[str] = []
    at = (AT + timedelta(minutes=2, seconds=30)).isoformat()
    found = choose(
        region.vault, region.s.of_region("standby"), Point.parse(at), sound=lambda _one: None, tell=told.append
    )
    assert (found.snapshot.sequence, found.exact) == (2, True)
    assert "is pruned" in found.cut_short


def test_what_a_restore_has_chosen_is_never_pruned(tmp_path: Path) -> None:
    region = region_with(tmp_path, *[timedelta(minutes=n) for n in (5, 4, 3, 2, 1)])
    standby, first = region.s.of_region("standby"), region.catalog.read(1)
    hold_chosen(region.vault, standby, first)
    region.memory.clock = datetime.now(UTC)
    assert retention.prune(region.s, region.vault, keep=2).kept == (5, 4, 1)
    assert verify.verify(region.vault, first, region.s, deep=True).problems == ()
    holds.give_back(region.vault, standby, at=datetime.now(UTC))
    assert retention.prune(region.s, region.vault, keep=2).snapshots == (1,)
    with pytest.raises(NoRecoveryPoint, match="s000001 was pruned"):
        hold_chosen(region.vault, standby, first)


def test_one_that_is_chosen_while_it_is_pruned_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = region_with(tmp_path, *[timedelta(minutes=n) for n in (4, 3, 2, 1)])
    standby, second, remove = region.s.of_region("standby"), region.catalog.read(2), region.memory.remove

    def choosing(key: str) -> None:
        if key == "snapshots/00000002.json":  # the restore has found it, and writes its hold now
            hold_chosen(region.vault, standby, second)
        remove(key)

    region.memory.clock = datetime.now(UTC)
    monkeypatch.setattr(region.memory, "remove", choosing)
    assert retention.prune(region.s, region.vault, keep=2).snapshots == (1,)
    assert region.catalog.read(2) == second
    assert verify.verify(region.vault, second, region.s, deep=True).problems == ()


def test_a_hold_that_we_did_not_sign_or_that_is_laid_back_holds_nothing(tmp_path: Path) -> None:
    region = region_with(tmp_path, timedelta(0))
    standby, now = region.s.of_region("standby"), datetime.now(UTC)
    holds.place(region.vault, settings().of_region("standby"), 1, at=now, lasts=timedelta(days=1))
    assert holds.held(region.vault, region.s, now=now) == set()
    holds.place(region.vault, standby, 1, at=now, lasts=timedelta(days=1))
    before = region.memory.objects["holds/standby.json"]
    holds.place(region.vault, standby, 2, at=now + timedelta(seconds=1), lasts=timedelta(days=1))
    region.memory.put("holds/standby.json", before)
    assert holds.held(region.vault, region.s, now=now) == {2}


def test_who_lost_the_lock_removes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = region_with(tmp_path, *[timedelta(minutes=n) for n in (4, 3, 2, 1)])
    remove = region.memory.remove

    def suspended(key: str) -> None:
        remove(key)
        region.memory.put(vault_lock.KEY, b'{"until": 1e12, "what": "snapshot", "host": "elsewhere", "process": 1}')

    monkeypatch.setattr(region.memory, "remove", suspended)
    with pytest.raises(Conflict, match="lost"):
        retention.prune(region.s, region.vault, keep=2)
    assert region.memory.removed == ["snapshots/00000002.json"]
    monkeypatch.undo()


def test_an_answer_that_did_not_arrive_is_not_a_lock_that_is_lost(tmp_path: Path) -> None:
    region = region_with(tmp_path, timedelta(0))
    with vault_lock.hold(region.memory, "prune") as lock:
        held = region.memory.objects[vault_lock.KEY]
        region.memory.put(vault_lock.KEY, held + b" ")  # our own move, of which no answer came
        lock.demand()
        lock.demand()
