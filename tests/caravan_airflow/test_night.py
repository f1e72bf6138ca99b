"""How a night ended: from the states of its tasks to a sentence, a note and an alert. All without Airflow."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from caravan_airflow.nightly import night_ending
from caravan_airflow.nightly.night_ending import ending, nothing_new

from contracts.error_record import ErrorRecord
from contracts.errors import StoreUnavailable
from contracts.settings import Settings, read_settings
from monitoring import alerts

GREEN = dict.fromkeys(("validate", "features", "materialize", "train", "evaluate", "gate"), "success")
RELEASED = {**GREEN, "champion_stays": "skipped", "register": "success", "offer": "success"}
REFUSED = {**GREEN, "champion_stays": "success", "register": "skipped", "offer": "skipped"}
NOTHING = dict.fromkeys(RELEASED, "skipped")
CRASHED = {**dict.fromkeys(RELEASED, "upstream_failed"), "validate": "success", "train": "failed"}
DAY = (datetime.now(UTC).date() - timedelta(days=2)).isoformat()


class Pages:
    """The notes that were written in Airflow."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    def note_run(self, run: str, text: str, dag: str) -> None:
        self.notes["run"] = text

    def note(self, run: str, task: str, text: str, dag: str) -> None:
        self.notes[task] = text


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    found = read_settings(home=tmp_path)
    found.paths.home.mkdir(parents=True)
    return found


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, s: Settings) -> Pages:
    found = Pages()
    monkeypatch.setattr("caravan_airflow.active.here", lambda: s)
    monkeypatch.setattr("caravan_airflow.service.Service.of", lambda _: nullcontext(found))
    monkeypatch.setattr("artifacts.ledger.Ledger.of", lambda _: SimpleNamespace(champion=lambda _source: None))
    monkeypatch.setattr("artifacts.object_store.ObjectStore.of", lambda _: None)
    monkeypatch.setattr("monitoring.nights.watch_nights", lambda *_: None)
    return found


def context(
    states: dict[str, str], left: dict[tuple[str, str], str], *, kind: str = "scheduled", source: str = "shop"
) -> dict[str, Any]:
    """A finished night, as its last task is told of it."""
    ti = SimpleNamespace(
        dag_id="nightly", run_id="r1", task_id="report",
        get_task_states=lambda **_: {"r1": {**states, "report": "running"}},
        xcom_pull=lambda *, task_ids, key: left.get((task_ids, key)),
    )  # fmt: skip
    run = SimpleNamespace(run_type=kind, data_interval_start=datetime.fromisoformat(f"{DAY}T00:00:00+00:00"))
    return {"params": {"source": source, "recipe": "tiny"}, "dag_run": run, "ti": ti}


@pytest.mark.parametrize(
    ("states", "kind", "task"),
    [
        (RELEASED, "released", "offer"), (REFUSED, "refused", "champion_stays"),
        (NOTHING, "nothing landed", "validate"), (CRASHED, "crashed", "train"),
        ({**RELEASED, "offer": "removed"}, "crashed", "offer"),
    ],
)  # fmt: skip
def test_the_five_ways_a_night_ends_are_told_apart(states: dict[str, str], kind: str, task: str) -> None:
    found = ending(states, lambda _task, _name: None)
    assert found.kind == kind
    assert found.task == task


def test_what_is_refused_before_the_gate_is_stopped_and_not_crashed() -> None:
    states = {**CRASHED, "train": "upstream_failed", "validate": "failed"}
    error = ErrorRecord(error="SchemaChanged", what="a column was lost", remedy="repair the export")
    found = ending(states, lambda *_: error.to_json())
    assert found.note == "stopped in validate: SchemaChanged: a column was lost -> repair the export"


def test_the_sentence_of_a_refused_night_names_what_serves() -> None:
    served: Any = SimpleNamespace(source="shop", digest="ab" * 32)
    assert nothing_new("shop", served, "It is worse.") == (
        "nothing new tonight, the champion abababababab serves, because it is worse."
    )
    assert nothing_new("shop", None, "x").startswith("nothing new tonight, nothing serves yet, because")
    assert "no release of other serves" in nothing_new("other", served, "x")


def test_a_crash_is_noted_and_told_once(s: Settings, pages: Pages) -> None:
    error = ErrorRecord(error="TrainingError", what="training ended with code -9", remedy="run it again")
    left = {("train", "error"): error.to_json()}
    for _ in range(2):
        night_ending.end(context(CRASHED, left))
    assert pages.notes["run"].startswith(
        "crashed in train: TrainingError: training ended with code -9 -> run it again\n"
    )
    (told,) = alerts.read_alerts(s)
    assert (told.severity, told.part) == ("critical", "nightly")
    assert f"the night of {DAY} crashed in train: TrainingError" in told.text


def test_a_killed_task_left_no_word_and_is_told_all_the_same(s: Settings, pages: Pages) -> None:
    night_ending.end(context(CRASHED, {}))
    assert "ended without a word" in alerts.read_alerts(s)[0].text


@pytest.mark.parametrize(
    ("states", "left", "note"),
    [
        (REFUSED, {("champion_stays", "says"): "nothing new tonight"}, "refused: nothing new tonight\n"),
        (NOTHING, {("validate", "says"): "no event has landed"}, "nothing landed: no event has landed\n"),
        (RELEASED, {("offer", "says"): "reviewers are asked"}, "released: reviewers are asked\n"),
    ],
)
def test_other_endings_are_noted_and_no_alert(
    s: Settings, pages: Pages, states: dict[str, str], left: dict[tuple[str, str], str], note: str
) -> None:
    night_ending.end(context(states, left))
    assert pages.notes["run"].startswith(note)
    assert pages.notes.get("champion_stays") == ("nothing new tonight" if states is REFUSED else None)
    assert alerts.read_alerts(s) == []


@pytest.mark.parametrize("other", [{"kind": "backfill"}, {"source": "other"}])
def test_a_backfill_and_another_source_are_noted_and_alarm_nobody(
    s: Settings, pages: Pages, other: dict[str, str]
) -> None:
    night_ending.end(context(CRASHED, {}, **other))
    assert pages.notes["run"].startswith("crashed in train")
    assert alerts.read_alerts(s) == []


def test_a_page_that_can_not_be_written_leaves_the_night_as_it_is(
    s: Settings, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Settings) -> Any:
        raise StoreUnavailable("Airflow is away")

    monkeypatch.setattr("caravan_airflow.service.Service.of", away)
    assert night_ending.end(context(CRASHED, {})).kind == "crashed"
    assert len(alerts.read_alerts(s)) == 1


def test_a_long_note_keeps_what_it_is_about(pages: Pages) -> None:
    night_ending.end(context(REFUSED, {("champion_stays", "says"): "because " * 500}))
    assert len(pages.notes["run"]) <= 1000
    assert pages.notes["run"].endswith(f"shop, {DAY}, recipe tiny; started by schedule")
