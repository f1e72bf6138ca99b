"""The home of an earlier version, taken over in the middle of things: nothing is lost, and all of it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from artifacts.lake import Lake
from artifacts.ledger import Ledger
from caravan.cli.airflow_api import ENDED, Airflow
from caravan.stack import down, up
from caravan.stack.keys import key_inventory
from caravan.stack.machine import EmbeddedMachine
from contracts.settings import Settings, read_settings
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore import restore
from recovery.snapshots.verify import verify
from recovery.vault.catalog import Catalog
from serving import reach
from tests import waiting
from tests.conftest import free_offset
from tests.recovery.old_home import OldHome, old_home
from tests.scenarios.drill import vault_of
from tests.scenarios.nights import ended

pytestmark = [pytest.mark.stack, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1500)]
COMMIT = "64f8502"
until = partial(waiting.until, seconds=120.0, every=0.5)


@pytest.fixture(scope="module")
def home() -> Iterator[OldHome]:
    with old_home(COMMIT) as found:
        yield found


@pytest.fixture(scope="module")
def taken_over(home: OldHome) -> Iterator[tuple[Settings, list[str]]]:
    """Settings of the running stack, and what `caravan up` says of its keys."""
    s, said = read_settings(home=home.path, port_offset=free_offset()), list[str]()
    try:
        s = up(s, regions=("primary", "standby"), control=True, tell=said.append)
        yield s, said
    finally:
        down(s)


@pytest.fixture(scope="module")
def airflow(taken_over: tuple[Settings, list[str]]) -> Iterator[Airflow]:
    client = Airflow.of(taken_over[0], "admin")
    yield client
    client.close()


def test_new_keys_are_said_and_the_data_are_whole(home: OldHome, taken_over: tuple[Settings, list[str]]) -> None:
    s, said = taken_over
    assert any("caravan_token_key" in line and "were made" in line for line in said)
    assert any("recorded from now on" in line for line in said)
    assert key_inventory.is_recorded(s)
    ledger = Ledger.of(s)
    assert ledger.verify() >= home.ledger_rows
    assert ledger.state(home.source, home.champion) == "champion"
    lake = Lake.of(s, home.source)
    for day in lake.partitions("events"):
        assert lake.fetch("events", day).is_dir()
    until(lambda: reach.get(s.engine_address, "/readyz").json()["release"] == home.champion)
    answered = httpx.post(f"{s.edge_address}/recommend", json={"user_id": "anna"}, headers=reach.shop_headers(s))
    assert answered.json()["release"] == home.champion


def test_the_canary_on_its_way_is_known(home: OldHome, taken_over: tuple[Settings, list[str]]) -> None:
    """It goes on, or is sent back for its age and its logs alone: this home lay for long, without them."""
    ledger = Ledger.of(taken_over[0])
    state, last = ledger.state(home.source, home.canary), ledger.history(home.source, home.canary)[-1]
    sent_back = state == "rolled_back" and ("no proof in time" in last.reason or "there is no verdict" in last.reason)
    assert state == home.canary_state or sent_back


def test_a_pending_approval_is_answered(
    home: OldHome, taken_over: tuple[Settings, list[str]], airflow: Airflow
) -> None:
    s, run, ledger = taken_over[0], home.pending_run, Ledger.of(taken_over[0])
    airflow.ensure_ready("release")
    if airflow.run("release", run)["state"] in ENDED:  # Airflow ends a run after a month; the request still stands
        run = airflow.trigger("release", {"source": home.source, "digest": home.pending}, note="asked again")
    path = f"/dags/release/dagRuns/{run}/taskInstances/approval/-1"
    until(lambda: airflow.call("GET", path)["state"] == "awaiting_input")
    reviewer = Airflow.of(s, "reviewer")
    said = {"chosen_options": ["Approve"], "params_input": {"digest": home.pending[:12], "reason": "as good"}}
    reviewer.call("PATCH", f"{path}/hitlDetails", json=said)
    reviewer.close()
    until(lambda: any(m.to_state == "approved" for m in ledger.history(home.source, home.pending)))


def test_a_half_trained_night_ends(home: OldHome, taken_over: tuple[Settings, list[str]], airflow: Airflow) -> None:
    """It goes on from its checkpoint, or begins again and says so."""
    run = home.half_trained_run
    airflow.ensure_ready("nightly")
    if ended(airflow, run, patience=600)["state"] == "failed":  # the time of a night is over: somebody starts it again
        airflow.call("POST", f"/dags/nightly/dagRuns/{run}/clear", json={"dry_run": False, "only_failed": False})
        until(lambda: airflow.run("nightly", run)["state"] not in ENDED, seconds=30)
        ended(airflow, run, patience=600)
    tasks = {task["task_id"]: task for task in airflow.tasks("nightly", run)}
    assert tasks["train"]["state"] == "success"
    told = " ".join(str(e.get("event")) for e in airflow.log("nightly", run, "train", tasks["train"]["try_number"]))
    assert "resumes at epoch" in told or "does not go on with the half-done training" in told


def test_a_snapshot_from_before_restores(home: OldHome, taken_over: tuple[Settings, list[str]]) -> None:
    s = taken_over[0]
    standby = s.of_region("standby")
    vault = vault_of(standby)
    snapshot = Catalog(vault, standby).named(home.snapshot)
    assert verify(vault, snapshot, standby, deep=True).problems == ()
    options = RestoreOptions(reason="a test", although_alive=True)
    restore(standby, EmbeddedMachine(standby), Point.parse(home.snapshot), options)
    ledger = Ledger.of(standby)
    assert ledger.verify() >= home.ledger_rows - 1
    assert ledger.state(home.source, home.champion) == "champion"
    assert ledger.state(home.source, home.pending) in ("gated", "approval")
