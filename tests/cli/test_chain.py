"""`caravan nightly` and `caravan backfill`: what a person sees, with a hand-written Airflow behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.console import Console

from caravan.cli import nightly
from contracts.error_record import ErrorRecord
from contracts.errors import SettingsError, StackError
from contracts.settings import Settings


class FakeAirflow:
    """One run whose tasks' states are scripted per poll; an error in the script is raised."""

    def __init__(self, script: list[dict[str, str] | Exception], log: list[dict[str, Any]] | None = None) -> None:
        self._script: Iterator[dict[str, str] | Exception] = iter(script)
        self._states: dict[str, str] = {}
        self._log = log or []
        self.started: list[dict[str, Any]] = []
        self.xcoms: dict[tuple[str, str], str] = {}
        self.queued = 0  # looks at the run before it begins

    def ensure_ready(self, dag: str) -> bool:
        return False

    def trigger(self, dag: str, conf: dict[str, Any], *, note: str) -> str:
        self.started.append(conf)
        return "manual__1"

    def running(self, dag: str) -> list[dict[str, Any]]:
        conf = {"source": "shop", "day": "2025-12-31"}
        return [{"dag_run_id": "manual__0", "conf": conf, "start_date": "2026-01-01T00:00:05.123Z"}]

    def run(self, dag: str, run_id: str) -> dict[str, Any]:
        if self.queued:
            self.queued -= 1
            return {"dag_run_id": run_id, "state": "queued", "conf": self.started[-1]}
        step = next(self._script, None)
        if isinstance(step, Exception):
            raise step
        self._states = step or self._states
        ended = all(state in ("success", "failed", "upstream_failed", "skipped") for state in self._states.values())
        verdict = "failed" if "failed" in self._states.values() else "success"
        return {"dag_run_id": run_id, "state": verdict if ended else "running", "conf": self.started[-1]}

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        return [
            {"task_id": name, "state": state, "start_date": f"2026-01-0{n}", "duration": 1.5, "try_number": 1}
            for n, (name, state) in enumerate(self._states.items(), start=1)
        ]

    def left(self, dag: str, run_id: str, task: str, name: str) -> Any:
        return self.xcoms.get((task, name))

    def log(self, dag: str, run_id: str, task: str, attempt: int) -> list[dict[str, Any]]:
        return self._log


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(record=True, width=200, force_terminal=False, quiet=False)
    monkeypatch.setattr(nightly, "console", console)
    monkeypatch.setattr(nightly, "POLL_INTERVAL_S", 0.0)
    return console


def start(monkeypatch: pytest.MonkeyPatch, airflow: FakeAirflow, **options: Any) -> None:
    monkeypatch.setattr(nightly, "settings", lambda: Settings())
    monkeypatch.setattr(nightly.Airflow, "of", lambda s: airflow)
    nightly.nightly(**{"day": "2026-01-01", "source": "shop", "recipe": "quick", "wait": True, **options})


def test_a_green_run_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch, shown: Console) -> None:
    airflow = FakeAirflow(
        [
            {"validate": "running"},
            {"validate": "success", "train": "running"},
            {"validate": "success", "train": "success"},
        ]
    )
    start(monkeypatch, airflow)
    assert airflow.started == [{"day": "2026-01-01", "source": "shop", "recipe": "quick", "rollout": "default"}]
    text = shown.export_text()
    assert text.count("validate     success") == 1
    assert "shop 2026-01-01: success" in text


def test_a_release_that_waits_is_named_with_the_places_to_answer(
    monkeypatch: pytest.MonkeyPatch, shown: Console
) -> None:
    airflow = FakeAirflow([{"offer": "success"}])
    airflow.xcoms = {
        ("offer", "release"): "http://airflow/dags/release/runs/r",
        ("offer", "return_value"): "ab" * 32,
    }
    start(monkeypatch, airflow, rollout="demo")
    text = shown.export_text()
    assert "release abababababab waits for approval: http://airflow/dags/release/runs/r/required_actions" in text
    assert "caravan release approve abababababab" in text
    assert airflow.started[0]["rollout"] == "demo"


def test_a_failure_shows_the_log_the_error_and_the_remedy(monkeypatch: pytest.MonkeyPatch, shown: Console) -> None:
    log = [{"level": "info", "event": "read 12 rows"}, {"level": "error", "event": "failed"}]
    airflow = FakeAirflow([{"validate": "success", "train": "failed", "register": "upstream_failed"}], log)
    error = ErrorRecord(error="TrainingError", what="training ended with code -9", remedy="run it again")
    airflow.xcoms = {("train", "error"): error.to_json()}
    with pytest.raises(typer.Exit) as exited:
        start(monkeypatch, airflow)
    assert exited.value.exit_code == 1
    text = shown.export_text()
    assert "read 12 rows" in text
    assert "TrainingError: training ended with code -9" in text
    assert "try: run it again" in text


@pytest.mark.parametrize(("kind", "code"), [("StoreUnavailable", 5), ("SchemaChanged", 3), ("KeyError", 1)])
def test_a_failed_task_ends_the_command_with_its_errors_code(
    monkeypatch: pytest.MonkeyPatch, shown: Console, kind: str, code: int
) -> None:
    log = [{"level": "error", "event": "failed", "error_detail": [{"exc_type": kind, "exc_value": "no"}]}]
    with pytest.raises(typer.Exit) as exited:
        start(monkeypatch, FakeAirflow([{"validate": "failed", "train": "upstream_failed"}], log))
    assert exited.value.exit_code == code


def test_a_refused_night_says_what_serves_and_why(monkeypatch: pytest.MonkeyPatch, shown: Console) -> None:
    airflow = FakeAirflow([{"gate": "success", "champion_stays": "success", "register": "skipped", "offer": "skipped"}])
    airflow.xcoms = {("champion_stays", "says"): "nothing new tonight, the champion abc serves, because it is worse"}
    with pytest.raises(typer.Exit) as exited:
        start(monkeypatch, airflow)
    assert exited.value.exit_code == 3
    text = shown.export_text()
    assert "shop 2026-01-01: success" in text
    assert "nothing new tonight, the champion abc serves, because it is worse" in text


def test_a_night_of_which_nothing_landed_says_so_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, shown: Console
) -> None:
    airflow = FakeAirflow([{"validate": "skipped", "train": "skipped", "champion_stays": "skipped"}])
    reason = ErrorRecord(error="NothingToDo", what="no event has landed", remedy="bring them with `caravan ingest`")
    airflow.xcoms = {("validate", "says"): str(reason), ("validate", "error"): reason.to_json()}
    with pytest.raises(typer.Exit) as exited:
        start(monkeypatch, airflow)
    assert exited.value.exit_code == 4
    text = shown.export_text()
    assert "no event has landed\n  try: bring them with `caravan ingest`" in text


def test_a_night_that_has_to_wait_says_for_which_one(monkeypatch: pytest.MonkeyPatch, shown: Console) -> None:
    monkeypatch.setattr(nightly, "QUEUED_RUN_NOTICE_S", 0.0)
    airflow = FakeAirflow([{"train": "success"}])
    airflow.queued = 3
    start(monkeypatch, airflow)
    waits = "waits for its turn; under way: shop 2025-12-31 (manual__0, since 2026-01-01T00:00:05)"
    assert shown.export_text().count(waits) == 1


def test_following_outlives_an_airflow_that_is_away_for_a_while(
    monkeypatch: pytest.MonkeyPatch, shown: Console
) -> None:
    start(
        monkeypatch, FakeAirflow([{"train": "running"}, StackError("away"), StackError("away"), {"train": "success"}])
    )
    assert "train        success" in shown.export_text()


def test_an_airflow_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch, shown: Console) -> None:
    monkeypatch.setattr(nightly, "AIRFLOW_SILENCE_LIMIT_S", 0.0)
    with pytest.raises(StackError):
        start(monkeypatch, FakeAirflow([{"train": "running"}, StackError("away")]))


@pytest.mark.parametrize("day", ["2026-02-30", "yesterday", "{{ds}}"])
def test_a_day_that_is_none_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, shown: Console, day: str
) -> None:
    airflow = FakeAirflow([])
    with pytest.raises(SettingsError, match="is not a day"):
        start(monkeypatch, airflow, day=day)
    assert airflow.started == []


@pytest.mark.parametrize(
    ("options", "words"), [({"recipe": "small"}, "no recipe 'small'"), ({"rollout": "x"}, "policy 'x'")]
)
def test_a_recipe_or_policy_that_is_none_is_refused_before_airflow_is_asked(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], words: str
) -> None:
    airflow = FakeAirflow([])
    monkeypatch.setattr(nightly.Airflow, "of", classmethod(lambda *_a, **_k: airflow))
    for start in (lambda: nightly.nightly(**options), lambda: nightly.backfill("2026-01-01", "2026-01-02", **options)):
        with pytest.raises(SettingsError, match=words):
            start()
    assert airflow.started == []
