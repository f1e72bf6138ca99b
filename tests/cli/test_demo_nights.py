"""The demo's nights: one that runs is followed, the schedule's makes way, somebody else's is waited for aloud."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
import typer
from rich.console import Console

from caravan.cli import nightly
from caravan.cli.demo import two_nights
from caravan.cli.demo.two_nights import Nights
from contracts.errors import StackError
from contracts.settings import Settings

CONF = {"day": "2026-01-02", "source": "shop", "recipe": "quick", "rollout": "demo"}


class FakeAirflow:
    """Runs that go on by one state with every look at the active ones; one at a time is running."""

    def __init__(self, *runs: dict[str, Any]) -> None:
        self.runs = [{"state": "running", "run_type": "manual", "conf": {}, "logical_date": None, **r} for r in runs]
        self.notes: dict[str, str] = {}
        self.looks = 0

    def trigger(self, dag: str, conf: dict[str, Any], *, note: str) -> str:
        self.runs.append({"dag_run_id": "ours", "state": "queued", "run_type": "manual", "conf": conf})
        return "ours"

    def call(self, method: str, path: str, *, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("run_type"):
            return {"dag_runs": [r for r in self.runs if r["run_type"] == params["run_type"]][-1:]}
        return {"dag_runs": [r for r in self.runs if r["state"] in params["state"]]}

    def run(self, dag: str, run_id: str) -> dict[str, Any]:
        self.looks += 1
        found = next(r for r in self.runs if r["dag_run_id"] == run_id)
        ahead = [r for r in self.runs if r is not found and r["state"] == "running"]
        if found["state"] == "running":
            found["state"] = "success"
        elif found["state"] == "queued" and not ahead:
            found["state"] = "running"
        if self.looks == 5:
            for other in ahead:
                other["state"] = "success"
        return dict(found)

    def stop(self, dag: str, run_id: str, *, note: str) -> None:
        next(r for r in self.runs if r["dag_run_id"] == run_id)["state"] = "failed"
        self.notes[run_id] = note

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        return []

    def left(self, dag: str, run_id: str, task: str, name: str) -> str | None:
        return "ab" * 32 if name == "return_value" else None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "POLL_INTERVAL_S", 0.0)
    monkeypatch.setattr(nightly, "console", Console(quiet=True))


def nights(airflow: FakeAirflow) -> tuple[Nights, list[str]]:
    said: list[str] = []
    return Nights(airflow, Settings(), said.append), said  # type: ignore[arg-type]


def test_a_night_is_started_and_its_release_is_the_answer() -> None:
    airflow = FakeAirflow()
    ours, _ = nights(airflow)
    assert ours.run(date(2026, 1, 2)) == "ab" * 32
    assert [run["conf"] for run in airflow.runs] == [CONF]


def test_the_night_of_an_interrupted_demo_is_followed_and_not_queued_twice() -> None:
    airflow = FakeAirflow({"dag_run_id": "before", "conf": CONF})
    ours, said = nights(airflow)
    assert ours.run(date(2026, 1, 2)) == "ab" * 32
    assert len(airflow.runs) == 1
    assert "is under way" in said[0]


@pytest.mark.parametrize("was_done", [True, False])
def test_a_start_that_got_no_answer_is_not_made_twice(monkeypatch: pytest.MonkeyPatch, was_done: bool) -> None:
    airflow, trigger, calls = FakeAirflow(), FakeAirflow.trigger, list[bool]()

    def slow(dag: str, conf: dict[str, Any], *, note: str) -> str:
        calls.append(True)
        if was_done or len(calls) > 1:
            trigger(airflow, dag, conf, note=note)
        if len(calls) == 1:
            raise StackError("no answer in time")
        return "ours"

    monkeypatch.setattr(airflow, "trigger", slow)
    ours, _ = nights(airflow)
    assert ours.run(date(2026, 1, 2)) == "ab" * 32
    assert len(airflow.runs) == 1


def test_the_night_of_another_day_is_not_taken_for_ours() -> None:
    airflow = FakeAirflow({"dag_run_id": "before", "conf": {**CONF, "day": "2026-01-01"}})
    ours, _ = nights(airflow)
    ours.run(date(2026, 1, 2))
    assert [run["dag_run_id"] for run in airflow.runs] == ["before", "ours"]


def test_the_schedules_long_night_makes_way_and_says_why() -> None:
    scheduled = {"dag_run_id": "midnight", "run_type": "scheduled", "logical_date": "2026-01-02T00:00:00Z"}
    airflow = FakeAirflow(scheduled)
    ours, said = nights(airflow)
    ours.run(date(2026, 1, 2))
    assert airflow.runs[0]["state"] == "failed"
    assert airflow.notes["midnight"].endswith("`caravan nightly --day 2026-01-02` runs this one.")
    assert ours.stopped == ["2026-01-02"]
    assert any("makes way" in line for line in said)


def test_somebody_elses_night_is_waited_for_in_plain_sight() -> None:
    airflow = FakeAirflow({"dag_run_id": "theirs", "triggering_user_name": "anna", "conf": {"recipe": "default"}})
    ours, said = nights(airflow)
    ours.run(date(2026, 1, 2))
    assert airflow.runs[0]["state"] == "success"
    assert not airflow.notes
    assert sum("behind another night, started by anna" in line for line in said) == 1


def test_a_night_that_is_refused_ends_as_the_command_nightly_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def conclude(*_: object) -> None:
        raise typer.Exit(3)

    monkeypatch.setattr(nightly, "conclude", conclude)
    ours, _ = nights(FakeAirflow())
    with pytest.raises(typer.Exit):
        ours.run(date(2026, 1, 2))


def test_the_schedules_own_run_of_last_midnight_is_waited_for_and_no_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.now(UTC).date()
    old = {"dag_run_id": "old", "run_type": "scheduled", "state": "success", "run_after": "2020-01-01T00:00:00Z"}
    airflow = FakeAirflow(old)
    ours, _ = nights(airflow)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        airflow.runs.append({**old, "dag_run_id": "new", "run_after": f"{today}T00:00:00Z"})

    monkeypatch.setattr(two_nights.time, "sleep", sleep)
    ours.let_the_schedule_pass()
    assert len(slept) == 1
