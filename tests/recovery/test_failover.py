"""A primary that slept through its own failover, and the way back: nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import httpx
import psutil
import pytest

from artifacts.ledger import Ledger
from caravan.cli.airflow_api import Airflow
from caravan.stack.machine import EmbeddedMachine
from caravan.stack.supervision import supervisor
from contracts.errors import CaravanError, Fenced
from contracts.settings import Settings
from recovery.drills.rehearsal import rehearse
from recovery.region_lease.lease import RegionLease
from recovery.snapshots.create import create
from serving.edge.edge import read_split
from serving.reach import shop_headers
from tests.releases.own_ledger import move_release
from tests.scenarios.lost_region import Shop, logged, serves
from tests.scenarios.nights import complaints, ended
from tests.serving import tiny_release
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1800)]


def sent(s: Settings, count: int) -> list[str]:
    """Ids of events that were acknowledged at the global edge."""
    events = [
        {
            "event_id": uuid.uuid4().hex, "event_time": datetime.now(UTC).isoformat(), "kind": "view",
            "user_id": f"shopper-{number}", "item_id": tiny_release.item_id(number),
        }
        for number in range(count)
    ]  # fmt: skip
    answer = httpx.post(f"{s.global_edge_address}/events", json={"events": events}, headers=shop_headers(s), timeout=10)
    assert answer.json().get("accepted") == count, answer.text
    return [str(event["event_id"]) for event in events]


def processes(s: Settings, *services: str) -> list[psutil.Process]:
    """Of a region, with their children; of some services only."""
    found = []
    for name, about in supervisor.processes(s).items():
        if about["group"] == s.region and about["pid"] and (not services or name.partition("-")[2] in services):
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(int(about["pid"]))
                found += [root, *root.children(recursive=True)]
    return found


@contextmanager
def asleep(s: Settings, *services: str) -> Iterator[None]:
    """Stopped with SIGSTOP; SIGCONT at the end of the block."""
    stopped = processes(s, *services)
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def confirm(s: Settings, run: str, task: str, user: str) -> None:
    """Say yes as this person, until the task has heard it: one that is answered as soon as it asks asks again."""
    person, task_path = Airflow.of(s, user), f"/dags/recover/dagRuns/{run}/taskInstances/{task}"
    deadline = time.monotonic() + 180
    while (state := person.call("GET", task_path)["state"]) != "success":
        assert time.monotonic() < deadline, f"{task} is {state}"
        time.sleep(2)
        if state == "awaiting_input":
            with suppress(CaravanError):  # answered, and not woken up yet
                yes = {"chosen_options": ["Approve"], "params_input": {}}
                person.call("PATCH", f"{task_path}/-1/hitlDetails", json=yes)
    person.close()


def left(airflow: Airflow, run: str) -> dict[str, str]:
    """State of each task of a failback that is not done."""
    return {t["task_id"]: t["state"] for t in airflow.tasks("fail_back", run) if t["state"] != "success"}


def refused(s: Settings, shop: Shop) -> None:
    """Whatever the region that woke up tries to write is refused by the resource itself."""
    event = {"event_id": "late", "event_time": datetime.now(UTC).isoformat(), "kind": "view", "user_id": "anna",
             "item_id": tiny_release.item_id(1)}  # fmt: skip
    answer = httpx.post(f"{s.edge_address}/events", json={"events": [event]}, headers=shop_headers(s), timeout=10)
    assert answer.status_code == 503
    assert "takes no writes" in answer.json()["error"]
    with pytest.raises(Fenced):
        move_release(
            Ledger.of(s), shop.source, shop.digest, to="rolled_back", expected="champion", actor="x", reason="awake"
        )
    split = read_split(s.paths.edge)

    def doing() -> str:
        return str(json.loads(s.paths.heartbeat("controller").read_text())["doing"])

    until(lambda: "takes no writes" in doing(), 30, every=0.5, otherwise=doing)
    assert read_split(s.paths.edge) == split


def test_a_sleeping_primary_wakes_up_too_late_and_serves_again_with_nothing_lost(
    two_regions: Settings, oncall: Airflow
) -> None:
    s, active = two_regions, RegionLease.of(two_regions)
    standby = s.of_region("standby")
    shop = Shop(s)
    shop.prepare()
    until(
        lambda: serves(s, s.global_edge_address) == shop.digest,
        30,
        every=0.2,
        otherwise="the global edge does not lead to the primary",
    )
    acknowledged = sent(s, 10)
    create(s, EmbeddedMachine(s))
    epoch = active.look().epoch

    with asleep(s, "feed"):  # what comes now does not reach the standby any more
        acknowledged += sent(s, 7)
        rows = [Ledger.of(s).note("", "", "asked", actor="test", reason=f"late {n}").hash for n in range(3)]
        with asleep(s):
            conf = {"region": "standby", "to": "newest", "reason": "it hangs", "although_alive": True}
            run = oncall.trigger("recover", conf, note="the primary hangs")
            confirm(s, run, "first_person", "oncall")
            confirm(s, run, "second_person", "admin")
            assert ended(oncall, run, "recover")["state"] == "success", complaints(oncall, run, "recover")
            assert (active.look().region, active.look().epoch) == ("standby", epoch + 1)
            assert serves(standby, s.global_edge_address) == shop.digest
            acknowledged += sent(s, 5)
        refused(s, shop)
    assert not set(acknowledged) <= logged(standby)

    # somebody rehearses meanwhile, on the region that alone has what came last
    score, _ = rehearse(s, EmbeddedMachine(s), EmbeddedMachine(standby), count=10)
    assert score.failures() == []
    assert set(acknowledged) <= logged(standby)

    back = oncall.trigger("fail_back", {"region": "primary", "reason": "it is awake"}, note="back")
    while oncall.run("fail_back", back)["state"] not in ("success", "failed"):
        found = httpx.post(
            f"{s.global_edge_address}/recommend", json={"user_id": "anna"}, headers=shop_headers(s), timeout=5
        )
        assert found.status_code == 200, (found.text, left(oncall, back))  # shoppers are answered all the while
        assert found.json()["release"] == shop.digest
        time.sleep(0.3)
    assert ended(oncall, back, "fail_back")["state"] == "success", complaints(oncall, back, "fail_back")
    assert (active.look().region, active.look().epoch) == ("primary", epoch + 2)
    acknowledged += sent(s, 4)
    assert set(acknowledged) <= logged(s)
    notes = [move for move in Ledger.of(s).history() if move.to_state == "reconciled"]
    assert set(rows) <= {move.evidence["hash"] for move in notes}
    Ledger.of(s).verify()
    with pytest.raises(Fenced):
        Ledger.of(standby).note("", "", "asked", actor="x", reason="not here any more")
    active.close()


def test_one_person_is_not_enough_while_the_other_region_answers(two_regions: Settings, oncall: Airflow) -> None:
    before = RegionLease.of(two_regions).look()
    conf = {"region": "standby", "to": "newest", "reason": "I say so", "although_alive": True}
    run = oncall.trigger("recover", conf, note="alone")
    for task in ("first_person", "second_person"):
        confirm(two_regions, run, task, "oncall")
    assert ended(oncall, run, "recover")["state"] == "failed"
    assert "one person is not enough" in complaints(oncall, run, "recover")["two_people"]
    after = RegionLease.of(two_regions).look()
    assert (after.region, after.epoch) == (before.region, before.epoch)
