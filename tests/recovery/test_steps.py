"""A restore goes on where it was killed: the same steps, the same snapshot, nothing done twice that was done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.errors import RestoreRefused
from contracts.settings import Settings
from recovery import restore as restoring
from recovery.point import Point
from recovery.run import Restore, Step
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
    monkeypatch.setattr(restoring.Vault, "of", lambda _s: None)
    return settings().model_copy(update={"home": tmp_path, "region": "standby"})


def go(s: Settings, road: Road, monkeypatch: pytest.MonkeyPatch, to: str = "newest") -> restoring.Done:
    monkeypatch.setattr(restoring, "STEPS", road.steps())
    return restoring.restore(s, None, Point.parse(to), reason="a test")  # type: ignore[arg-type]


@pytest.mark.parametrize("where", NAMES)
def test_killed_in_any_step_it_goes_on_there(s: Settings, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    road = Road(killed_in=where)
    with pytest.raises(Killed):
        go(s, road, monkeypatch)
    before = list(road.ran)
    plan = json.loads(restoring.state_file(s).read_text()).get("plan")
    done = go(s, road, monkeypatch)
    again = road.ran[len(before) :]
    changing = [name for name in NAMES if name not in restoring.ALWAYS]
    assert [name for name in [*before, *again] if name in changing] == changing
    assert list(done.steps) == list(NAMES)
    assert plan is None or done.plan == plan


def test_a_restore_that_ended_is_not_gone_on_with(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    road = Road()
    go(s, road, monkeypatch)
    go(s, road, monkeypatch)
    assert road.ran == [*NAMES, *NAMES]


def test_another_point_begins_anew(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    road = Road(killed_in="artifacts")
    with pytest.raises(Killed):
        go(s, road, monkeypatch)
    go(s, road, monkeypatch, to="s1")
    assert road.ran.count("database") == 2


def test_two_at_once_are_refused(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    road = Road()

    def second(run: Restore) -> str:
        with pytest.raises(RestoreRefused, match="under way"):
            restoring.restore(s, run.machine, run.point, reason="another")
        return "refused"

    monkeypatch.setattr(restoring, "STEPS", {**road.steps(), "database": second})
    done = restoring.restore(s, None, Point.parse("newest"), reason="a test")  # type: ignore[arg-type]
    assert done.steps["database"]["said"] == "refused"
