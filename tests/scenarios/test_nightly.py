"""The whole chain through the real scheduler: two days by backfill, then again, which changes nothing."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from artifacts.lake import Lake
from artifacts.ledger import Ledger
from artifacts.publish import read_manifest
from artifacts.registry import Registry
from caravan.cli.airflow_api import Airflow
from contracts.errors import CaravanError
from contracts.settings import Settings
from releases.approval.approval import ApprovalAnswer, Rules, answer
from serving import reach
from tests.scenarios.nights import complaints, ended
from tests.scenarios.snapshot import snapshot
from tests.waiting import until

pytestmark = [pytest.mark.airflow, pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1500)]

TABLES = (
    "shopper_activity", "shopper_affinity", "shopper_sequence", "shopper_purchases", "item_popularity", "item_text"
)  # fmt: skip


def test_every_task_of_every_day_is_green(airflow: Airflow, backfilled: list[dict[str, Any]], last: date) -> None:
    assert [run["logical_date"][:10] for run in backfilled] == [str(last - timedelta(days=1)), str(last)]
    assert {run["dag_run_id"]: complaints(airflow, run["dag_run_id"]) for run in backfilled} == {
        run["dag_run_id"]: {} for run in backfilled
    }
    for run in backfilled:
        assert run["note"].startswith("released: release "), run["note"]
    assert {run["state"] for run in backfilled} == {"success"}


def test_each_day_has_its_partitions_features_release_and_report(
    stack: Settings, source: str, last: date, backfilled: list[dict[str, Any]], first_of_all: bool
) -> None:
    lake, registry = Lake.of(stack, source), Registry.of(stack)
    days = [str(last - timedelta(days=1)), str(last)]
    for table in ("events", "catalog", *TABLES, "drift"):
        assert set(days) <= set(lake.partitions(table)), table
    releases = {version.number: read_manifest(lake.store, version.digest).meta for version in registry.versions(source)}
    assert [releases[number]["day"] for number in sorted(releases)] == days
    assert {f.path for f in lake.manifest("drift", days[1]).files} == {"data.parquet", "report.html", "report.json"}
    first, second = registry.versions(source)
    if first_of_all:  # the second day met the first one's release, and its drift is measured against it
        assert releases[2]["champion"] == first.digest
        assert lake.manifest("drift", days[1]).meta["reference"] == first.digest
    # a backfill asks nobody
    assert Ledger.of(stack).state(source, first.digest) == ("champion" if first_of_all else "gated")
    assert Ledger.of(stack).state(source, second.digest) == "gated"
    assert Ledger.of(stack).newest("asked", source=source) is None


def test_what_passes_between_tasks_are_identifiers(airflow: Airflow, backfilled: list[dict[str, Any]]) -> None:
    digest = re.compile(r"[0-9a-f]{64}")
    for run in backfilled:
        for task in (t["task_id"] for t in airflow.tasks("nightly", run["dag_run_id"])):
            if task == "champion_stays":  # the way that these nights did not take
                continue
            # a task that decides how the night goes on leaves what it made under a name of its own
            value = airflow.left("nightly", run["dag_run_id"], task, "made" if task == "gate" else "return_value")
            made = value.values() if isinstance(value, dict) else [value]
            assert made
            assert all(digest.fullmatch(text) for text in made), f"{task}: {value}"


def test_lineage_names_what_was_made(
    airflow: Airflow, source: str, last: date, backfilled: list[dict[str, Any]]
) -> None:
    events = airflow.call("GET", "/assets/events", params={"limit": 100, "order_by": "-timestamp"})["asset_events"]
    ours = [event for event in events if event["extra"].get("source") == source and event["extra"]["day"] == str(last)]
    assert {event["source_task_id"] for event in ours} == {
        "validate", "features", "materialize", "train", "evaluate", "gate", "register", "offer", "report",
    }  # fmt: skip
    assert all(len(event["extra"]) > 2 for event in ours)


def engine(s: Settings) -> str | None:
    """What the engine of all shoppers serves."""
    found: str | None = reach.get(s.engine_address, "/readyz", timeout=10).json().get("release")
    return found


def test_the_released_model_answers_at_the_edge(stack: Settings, source: str, backfilled: list[dict[str, Any]]) -> None:
    ledger, champion = Ledger.of(stack), Registry.of(stack).versions(source)[0]
    if ledger.state(source, champion.digest) == "gated":  # another shop serves here: this one has to be asked about
        given = ApprovalAnswer(
            source=source, digest=champion.digest, named=champion.digest, person="reviewer", door="command line",
            approves=True, reason="a test",
        )  # fmt: skip
        answer(ledger, Rules.of(stack), given)
    until(
        lambda: Registry.of(stack).alias(source, "champion") == champion and engine(stack) == champion.digest,
        180,
        every=1,
        otherwise=lambda: ledger.state(source, champion.digest),
    )
    ready = reach.get(stack.engine_address, "/readyz", timeout=10).json()
    assert ready["release"] == champion.digest
    with reach.as_shop(stack, timeout=10) as shop:
        shown = shop.post("/recommend", json={"user_id": "nobody", "k": 5}).json()
    assert shown["release"] == champion.digest
    assert len(shown["items"]) == 5
    title = shown["items"][0]["title"]
    found = httpx.get(f"{stack.edge_address}/search", params={"q": title, "k": 10}, timeout=10).json()
    assert title in [item["title"] for item in found["items"]]


def test_a_day_run_again_changes_nothing(
    stack: Settings, airflow: Airflow, source: str, last: date, backfilled: list[dict[str, Any]]
) -> None:
    before, ledger = snapshot(stack, source), Ledger.of(stack)
    second = Registry.of(stack).versions(source)[1].digest
    asked = f"{source}-{second[:12]}"
    for day in (last - timedelta(days=1), last):  # the one that serves, and the newest
        conf = {"day": str(day), "source": source, "recipe": "tiny"}
        run = ended(airflow, airflow.trigger("nightly", conf, note="again"))
        assert complaints(airflow, run["dag_run_id"]) == {}
        assert snapshot(stack, source) == before
    for _ in range(2):  # by hand, people are asked about the newest; once
        assert airflow.left("nightly", run["dag_run_id"], "offer", "release").endswith(asked)
        once_more = {"dag_run_id": run["dag_run_id"], "task_ids": ["offer"], "dry_run": False, "only_failed": False}
        airflow.call("POST", "/dags/nightly/clearTaskInstances", json=once_more)
        run = ended(airflow, run["dag_run_id"])
        assert complaints(airflow, run["dag_run_id"]) == {}
    runs = airflow.call("GET", "/dags/release/dagRuns", params={"limit": 100, "order_by": "-start_date"})["dag_runs"]
    assert [r["dag_run_id"] for r in runs if r["conf"]["source"] == source] == [asked]
    until(lambda: ledger.newest("asked", source=source, digest=second), 120, every=1, otherwise="nobody is asked")


@pytest.mark.parametrize(
    "conf",
    [
        {"source": "{{7*7}}"}, {"source": "../etc"}, {"source": "a; touch /tmp/x"}, {"source": 7},
        {"day": "yesterday"}, {"day": "{{ds}}"}, {"recipe": "none"}, {"recipe": ["default"]},
        {"rollout": "at once"},
    ],
)  # fmt: skip
def test_the_form_refuses_what_is_not_of_its_type(airflow: Airflow, conf: dict[str, Any]) -> None:
    with pytest.raises(CaravanError, match=r"\((400|422)\)"):
        airflow.trigger("nightly", conf, note="")
