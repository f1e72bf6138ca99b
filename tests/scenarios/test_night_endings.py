"""A night refused by right, one of which nothing landed, one that crashed: graph, note and exit code differ."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import fetch, point, publish, read_manifest, refs, resolve
from artifacts.registry import Registry
from caravan.cli.airflow_api import Airflow
from contracts import release as files
from contracts.settings import Settings
from monitoring import alerts
from releases.served_shop import find_served
from training.jobs import job
from training.ranker import program

pytestmark = [pytest.mark.airflow, pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1500)]


def night(s: Settings, source: str, day: date) -> subprocess.CompletedProcess[str]:
    """`caravan nightly` for this day, followed to its end."""
    command = [str(Path(sys.executable).with_name("caravan")), "nightly", "--source", source, "--recipe", "tiny"]
    home = {"CARAVAN_HOME": str(s.home), "CARAVAN_PORT_OFFSET": str(s.port_offset)}
    return subprocess.run(
        [*command, "--day", str(day)], env=os.environ | home, capture_output=True, text=True, timeout=1200, check=False
    )


def newest(airflow: Airflow, source: str, day: date) -> dict[str, Any]:
    """The run of this day that was started last."""
    found = airflow.call("GET", "/dags/nightly/dagRuns", params={"limit": 20, "order_by": "-run_after"})["dag_runs"]
    conf = {"source": source, "day": str(day)}
    return next(run for run in found if {name: (run["conf"] or {}).get(name) for name in conf} == conf)


def states(airflow: Airflow, run: dict[str, Any]) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in airflow.tasks("nightly", run["dag_run_id"])}


@contextmanager
def instead(s: Settings, source: str, day: date, folder: Path) -> Iterator[None]:
    """A model made of `folder` in the place of the one that was trained for `day`."""
    store = ObjectStore.of(s)
    for name in refs(store, f"models/{source}"):
        digest = str(resolve(store, name))
        about = read_manifest(store, digest)
        if about.meta.get("day") == str(day):
            break
    else:
        pytest.fail("nothing was trained for this day")
    other = publish(store, folder, kind="model", meta=about.meta).digest
    point(store, name, other)
    try:
        yield
    finally:
        point(store, name, digest)


@pytest.fixture
def model(stack: Settings, source: str, last: date, backfilled: list[dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the model of the shop's last day."""
    store = ObjectStore.of(stack)
    digests = [str(resolve(store, name)) for name in refs(store, f"models/{source}")]
    mine = next(d for d in digests if read_manifest(store, d).meta.get("day") == str(last))
    return Path(shutil.copytree(fetch(store, mine, stack.cache / "objects"), tmp_path / "model"))


class Backwards(nn.Module):
    """A ranker that prefers what the sources think least of."""

    def forward(self, shares: Tensor, context: Tensor) -> Tensor:
        parts: Tensor = 0.0 * context.sum(-1, keepdim=True) - shares
        return parts


def test_a_night_refused_by_right_is_a_success_and_says_what_serves(
    stack: Settings, airflow: Airflow, source: str, last: date, model: Path
) -> None:
    about = json.loads((model / files.RANKER_ABOUT).read_text())
    program.write(Backwards(), about, model)  # a spoiled sequence model alone would be made up for by its other sources
    versions, told = Registry.of(stack).versions(source), alerts.read_alerts(stack)
    with instead(stack, source, last, model):
        ended = night(stack, source, last)
    run = newest(airflow, source, last)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert run["state"] == "success"
    found = states(airflow, run)
    assert (found["register"], found["offer"]) == ("skipped", "skipped")
    assert found.pop("report") in ("success", "skipped")  # where nothing serves, there is nothing to compare with
    assert {state for name, state in found.items() if name not in ("register", "offer")} == {"success"}
    served = find_served(Ledger.of(stack))
    if served is None:
        serves = "nothing serves yet"
    else:
        serves = (
            f"champion {served.digest[:12]} serves" if served.source == source else f"no release of {source} serves"
        )
    assert run["note"].startswith("refused: nothing new tonight, ")
    assert serves in run["note"]
    assert f"{serves}, because" in " ".join(ended.stdout.split())
    task = next(t for t in airflow.tasks("nightly", run["dag_run_id"]) if t["task_id"] == "champion_stays")
    assert serves in task["note"]
    events = airflow.call("GET", "/assets/events", params={"limit": 50, "order_by": "-timestamp"})["asset_events"]
    verdict = next(e["extra"] for e in events if e["source_task_id"] == "gate" and e["extra"]["source"] == source)
    assert verdict["passed"] is False
    assert verdict["verdict"].startswith("refused: ")
    assert Registry.of(stack).versions(source) == versions
    assert alerts.read_alerts(stack) == told


def test_a_night_of_which_nothing_landed_is_skipped_and_says_what_to_do(
    stack: Settings, airflow: Airflow, source: str, last: date, backfilled: list[dict[str, Any]]
) -> None:
    day = last + timedelta(days=40)
    ended = night(stack, source, day)
    run = newest(airflow, source, day)
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert run["state"] == "success"
    assert set(states(airflow, run).values()) == {"skipped"}
    assert run["note"].startswith(f"nothing landed: no event of {day} has landed for {source} -> ")
    assert f"no event of {day} has landed for {source}" in ended.stdout
    assert "caravan ingest" in ended.stdout


def test_a_night_that_crashed_is_red_and_names_the_error(
    stack: Settings, airflow: Airflow, source: str, last: date, model: Path
) -> None:
    (model / job.WEIGHTS).write_bytes(b"no weights at all")
    with instead(stack, source, last, model):
        ended = night(stack, source, last)
    run = newest(airflow, source, last)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert run["state"] == "failed"
    found = states(airflow, run)
    assert found["evaluate"] == "failed"
    assert {found[name] for name in ("gate", "champion_stays", "register", "offer")} == {"upstream_failed"}
    assert found["report"] in ("success", "skipped")
    assert run["note"].startswith("crashed in evaluate: TrainingError: ")
    assert "TrainingError" in ended.stdout
