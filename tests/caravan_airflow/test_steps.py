"""Which day, source and recipe a run is about, and what a step tells Airflow. All without Airflow."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from caravan_airflow.step import RECIPES, Outcome, Run, chosen, step
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError

NOW = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)


def context(
    *,
    day: str | None = None,
    source: str = "shop",
    recipe: str = RECIPES[0],
    run_type: DagRunType = DagRunType.MANUAL,
    interval_start: datetime | None = None,
    run_after: datetime = NOW,
) -> dict[str, Any]:
    """What Airflow hands to a task, as far as we look at it."""
    run = SimpleNamespace(run_type=run_type, data_interval_start=interval_start, run_after=run_after)
    return {"params": {"day": day, "source": source, "recipe": recipe}, "dag_run": run}


@pytest.mark.parametrize("run_type", [DagRunType.SCHEDULED, DagRunType.BACKFILL])
def test_a_scheduled_or_backfilled_run_is_about_its_own_interval(run_type: DagRunType) -> None:
    start = datetime(1998, 3, 1, tzinfo=UTC)
    run = chosen(context(run_type=run_type, interval_start=start), now=NOW)
    assert (run.day, run.kind) == ("1998-03-01", run_type.value)
    assert run.author == {"scheduled": "schedule"}.get(run.kind, run.kind)


def test_by_hand_the_form_names_the_day_or_it_is_yesterday() -> None:
    assert chosen(context(day="2026-01-02"), now=NOW).day == "2026-01-02"
    assert chosen(context(), now=NOW).day == "2026-03-09"
    # with a logical date the form's default is the last whole interval before it
    assert chosen(context(interval_start=datetime(2026, 3, 9, tzinfo=UTC)), now=NOW).day == "2026-03-09"


def test_a_backfill_that_names_a_day_would_run_that_day_again_and_again() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(SettingsError, match="leave Day empty"):
        chosen(context(run_type=DagRunType.BACKFILL, day="2026-01-02", interval_start=start), now=NOW)


@pytest.mark.parametrize("day", ["2026-03-10", "2026-03-11", "9999-12-31"])
def test_a_day_that_is_not_over_is_refused(day: str) -> None:
    with pytest.raises(SettingsError, match="not over yet"):
        chosen(context(day=day), now=NOW)


@given(days=st.integers(min_value=1, max_value=20_000))
def test_every_past_day_is_itself(days: int) -> None:
    day = NOW.date() - timedelta(days=days)
    assert chosen(context(day=day.isoformat()), now=NOW).day == day.isoformat()
    start = datetime.combine(day, datetime.min.time(), UTC)
    assert chosen(context(run_type="scheduled", interval_start=start), now=NOW).day == day.isoformat()


@given(text=st.text(max_size=60))
def test_only_a_plain_name_becomes_a_source(text: str) -> None:
    try:
        source = chosen(context(source=text), now=NOW).source
    except SettingsError:
        return
    assert source == text
    assert source.isascii()
    assert set(source) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("text", ["{{7*7}}", "../../etc", "shop; rm -rf /", "shop\n", "$(id)", "Shop", ""])
def test_what_the_form_would_not_let_through_is_refused_again(text: str) -> None:
    with pytest.raises(SettingsError):
        chosen(context(source=text), now=NOW)
    with pytest.raises(SettingsError):
        chosen(context(recipe=text), now=NOW)
    if text:
        with pytest.raises(SettingsError):
            chosen(context(day=text), now=NOW)


def test_a_step_tells_the_assets_what_was_made_and_leaves_its_links() -> None:
    @step
    def build(run: Run, before: str) -> Outcome:
        return Outcome(made={"table": f"{run.day} from {before}"}, links={"mlflow": "http://registry"})

    asset, left = object(), {}
    events = {asset: SimpleNamespace(extra=None)}
    yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    made = build(
        {
            **context(day=yesterday),
            "task": SimpleNamespace(outlets=[asset]),
            "outlet_events": events,
            "ti": SimpleNamespace(xcom_push=lambda key, value: left.update({key: value})),
        },
        "events",
    )
    assert made == {"table": f"{yesterday} from events"}
    assert events[asset].extra == {"source": "shop", "day": yesterday, "table": f"{yesterday} from events"}
    assert left == {"mlflow": "http://registry"}


def test_the_functions_behind_the_steps_need_no_airflow() -> None:
    script = (
        "import sys; from caravan_airflow.nightly import offering, tasks; from caravan_airflow.release import answers; "
        "from caravan_airflow.release import tasks as of_release; from releases import first_release, progress; "
        "loaded = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(loaded & {'airflow', 'torch', 'mlflow', 'feast', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
