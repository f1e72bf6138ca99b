"""A restore goes on where it was killed: the same steps, the same snapshot, nothing done twice that was done."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifacts import fence
from artifacts.fence import Right
from contracts.errors import RestoreRefused, StoreUnavailable, Tampered
from contracts.settings import Settings
from recovery.restore import fencing, resume
from recovery.restore import restore as restoring
from recovery.restore.context import Progress, Restore, Step, silent
from recovery.restore.options import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.steps import look_first
from tests.recovery.vaults import settings

NAMES = ("preflight", "choose", "keys", "database", "artifacts", "engines", "edge")


class Killed(BaseException):
    """The process ends here."""


class Road:
    """Steps that write down that they ran; `killed_in` dies in the middle of one, once."""

    def __init__(self, killed_in: str = "") -> None:
        self.ran: list[str] = []
        self.killed_in = killed_in

    def steps(self) -> dict[str, Step]:
        return {name: self._step(name) for name in NAMES}

    def _step(self, name: str) -> Step:
        def step(run: Restore) -> str:
            if name == "choose":
                run.plan = run.plan or {"snapshot": "s000001", "number": len(self.ran)}
            if name == self.killed_in:
                self.killed_in = ""
                raise Killed
            self.ran.append(name)
            return f"{name} is done"

        return step


@pytest.fixture
def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(restoring.Vault, "of", lambda _s: SimpleNamespace(unreadable=set()))
    monkeypatch.setattr(restoring, "hold_chosen", lambda *_: None)
    monkeypatch.setattr(restoring.holds, "give_back", lambda *_, **__: None)
    return settings().model_copy(update={"home": tmp_path, "region": "standby"})


def go(s: Settings, road: Road, to: str = "newest") -> restoring.Done:
    return restore(s, road.steps(), to)


def restore(
    s: Settings, steps: dict[str, Step], to: str = "newest", progress: Progress = silent, **options: Any
) -> restoring.Done:
    """Restore with these steps, on a machine that none of them needs."""
    asked = RestoreOptions(**{"reason": "a test"} | options)
    return restoring.restore(s, None, Point.parse(to), asked, steps=steps, progress=progress)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", NAMES)
def test_killed_in_any_step_it_goes_on_there(s: Settings, where: str) -> None:
    road = Road(killed_in=where)
    with pytest.raises(Killed):
        go(s, road)
    before = list(road.ran)
    plan = json.loads(resume.path_of(s).read_text()).get("plan")
    done = go(s, road)
    again = road.ran[len(before) :]
    changing = [name for name in NAMES if name not in resume.ALWAYS]
    assert [name for name in [*before, *again] if name in changing] == changing
    assert list(done.steps) == list(NAMES)
    assert where not in changing or done.plan == plan  # before anything was replaced it is chosen again


def test_a_restore_that_ended_is_not_gone_on_with(s: Settings) -> None:
    road = Road()
    go(s, road)
    go(s, road)
    assert road.ran == [*NAMES, *NAMES]


def test_another_point_begins_anew(s: Settings) -> None:
    road = Road(killed_in="artifacts")
    with pytest.raises(Killed):
        go(s, road)
    go(s, road, to="s1")
    assert road.ran.count("database") == 2


def test_a_rehearsal_that_was_killed_is_no_beginning_of_a_recovery(s: Settings) -> None:
    road = Road(killed_in="engines")
    with pytest.raises(Killed):
        restore(s, road.steps(), reason="practice", mode=RestoreMode.REHEARSAL)
    go(s, road)
    assert road.ran.count("database") == 2


def test_what_was_decided_before_anything_was_replaced_is_decided_anew(s: Settings) -> None:
    road = Road(killed_in="keys")
    with pytest.raises(Killed):
        go(s, road)
    first = json.loads(resume.path_of(s).read_text())["plan"]
    assert go(s, road).plan != first


@pytest.mark.parametrize("where", restoring.READING)
def test_a_snapshot_that_turns_out_damaged_is_passed_over_for_an_older_one(s: Settings, where: str) -> None:
    road, told = Road(), []

    def choose(run: Restore) -> str:
        name = run.plan["snapshot"] if run.plan else "s000001" if run.damaged else "s000002"
        run.chosen = SimpleNamespace(snapshot=SimpleNamespace(id=name))  # type: ignore[assignment]
        run.plan = {"snapshot": name}
        return name

    def damaged(run: Restore) -> str:
        road.ran.append(where)
        if run.plan == {"snapshot": "s000002"}:
            raise Tampered("a byte is another", remedy="take an older one")
        return "whole"

    steps = {**road.steps(), "choose": choose, where: damaged}

    def tell(_step: str, what: str, _seconds: float) -> None:
        told.append(what)

    assert restore(s, steps, progress=tell).plan == {"snapshot": "s000001"}
    assert any("damaged: a byte is another" in what for what in told)
    assert road.ran.count("database") == 2
    with pytest.raises(Tampered):  # who names a snapshot gets no other
        restore(s, steps, "s000002", tell)


def test_a_damaged_file_is_known_when_it_is_chosen_again(s: Settings) -> None:
    """The choice avoids the file, so the snapshot itself may serve to a moment before the file came."""
    road, seen = Road(), list[tuple[set[str], dict[str, str]]]()

    def choose(run: Restore) -> str:
        seen.append((set(run.vault.unreadable), dict(run.damaged)))
        run.chosen = SimpleNamespace(snapshot=SimpleNamespace(id="s000001"))  # type: ignore[assignment]
        run.plan = {"snapshot": "s000001"}
        return "chosen"

    def bring(run: Restore) -> str:
        if not run.vault.unreadable:
            run.vault.unreadable.add("objects/aa/aa")
            raise Tampered("objects/aa/aa differs", remedy="take an older one")
        road.ran.append("artifacts")
        raise Killed

    steps = {**road.steps(), "choose": choose, "artifacts": bring}
    for _ in range(2):  # the second time by another process
        with pytest.raises(Killed):
            restore(s, steps)
    assert seen == [(set(), {}), *[({"objects/aa/aa"}, {})] * 2]
    assert road.ran.count("database") == 2


def test_the_active_region_is_not_replaced_unless_it_is_said(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery.restore.steps.answering_parts", lambda *_: [])
    monkeypatch.setattr(fencing.RegionLease, "of", lambda _s: SimpleNamespace(look=lambda: None, close=lambda: None))
    s.paths.home.mkdir(parents=True)
    fence.write_right(s, Right(region="standby", epoch=2, standing="active", until=0.0, boot=""))

    def look(*, although_active: bool = False, **about: Any) -> str:
        options = RestoreOptions(although_active=although_active)
        run = Restore(s=s, machine=None, vault=None, point=Point.parse("newest"), options=options, **about)  # type: ignore[arg-type]
        return look_first(run)

    with pytest.raises(RestoreRefused, match="standby is the active region, epoch 2"):
        look()
    assert look(although_active=True)
    assert look(plan={"epoch": 2})  # a restore that began this epoch itself is gone on with
    assert look(epoch_before=2)
    fence.write_right(s, Right(region="standby", epoch=2, standing="passive", until=0.0, boot=""))
    assert look()


def test_the_lease_says_who_is_active_and_not_what_a_lost_region_was_told(
    s: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    s.paths.home.mkdir(parents=True)
    fence.write_right(s, Right(region="standby", epoch=2, standing="active", until=0.0, boot=""))
    held = SimpleNamespace(region="primary", epoch=3)
    lease = SimpleNamespace(look=lambda: held, close=lambda: None)
    monkeypatch.setattr(fencing.RegionLease, "of", lambda _s: lease)
    assert fencing.active_epoch(s) is None
    held.region = "standby"
    assert fencing.active_epoch(s) == 3
    # in the middle of a planned switch it is told that it drains, while the other one still holds the lease
    held.region = "primary"
    fence.write_right(s, Right(region="standby", epoch=3, standing="draining", until=0.0, boot=""))
    assert fencing.active_epoch(s) is None


def test_without_control_it_counts_what_the_region_was_told(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_s: Settings) -> Any:
        raise StoreUnavailable("the control group's database does not answer")

    monkeypatch.setattr(fencing.RegionLease, "of", silent)
    s.paths.home.mkdir(parents=True)
    assert fencing.active_epoch(s) is None
    fence.write_right(s, Right(region="standby", epoch=2, standing="active", until=0.0, boot=""))
    assert fencing.active_epoch(s) == 2


def test_two_at_once_are_refused(s: Settings) -> None:
    road = Road()

    def second(_run: Restore) -> str:
        with pytest.raises(RestoreRefused, match="under way"):
            restore(s, road.steps(), reason="another")
        return "refused"

    done = restore(s, {**road.steps(), "database": second})
    assert done.steps["database"]["said"] == "refused"


def test_the_same_restore_in_another_process_is_waited_for(s: Settings) -> None:
    """A task that was killed left its restore at work; the next try finds every step done, and does none again."""
    road, told = Road(), []
    context = multiprocessing.get_context("fork")
    begun, may_end = context.Event(), context.Event()

    def slow(run: Restore) -> str:
        begun.set()
        assert may_end.wait(20)
        return "at last"

    def first() -> None:
        restore(s, {**road.steps(), "database": slow}, reason="first", through="database", name="r")

    def progress(_step: str, what: str, _seconds: float) -> None:
        told.append(what)
        may_end.set()

    process = context.Process(target=first)
    process.start()
    assert begun.wait(20)
    done = restore(s, road.steps(), progress=progress, reason="again", through="database", name="r")
    process.join()
    assert "waiting" in told[0]
    assert done.steps["database"]["said"] == "at last"
    assert "database" not in road.ran


def test_a_step_done_before_does_not_lead_on_to_the_next(s: Settings) -> None:
    road = Road()
    for _ in range(2):
        restore(s, road.steps(), through="database", name="r")
    assert road.ran[-1] != "artifacts"
    assert "artifacts" not in road.ran
