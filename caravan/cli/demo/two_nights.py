"""Runs the demo's nights in Airflow: never a second one beside one that runs, and never silently behind another.

`nightly` runs one night at a time. What the demo finds before its own: its own run of an interrupted demo is followed;
a night that the schedule began for this shop makes way, because the demo's own does its work in a tenth of the time;
somebody else's is waited for, in plain sight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from caravan.cli import nightly
from caravan.cli.airflow_api import ENDED, Airflow
from caravan.cli.demo.rollout import POLICY
from contracts.errors import StackError

if TYPE_CHECKING:
    from datetime import date

    from contracts.settings import Settings

#: Longest wait for the schedule's own run in an Airflow that has just started, in seconds.
SCHEDULED_RUN_TIMEOUT_S = 60.0
#: Seconds between two lines that say what is waited for.
WAIT_LINE_INTERVAL_S = 15.0
MADE_WAY = "Stopped: the demo's own night goes first. `caravan nightly --day {day}` runs this one."


class Nights:
    """Nights of one shop, one after the other."""

    def __init__(self, airflow: Airflow, s: Settings, say: Callable[[str], object]) -> None:
        self._airflow, self._s, self._say = airflow, s, say
        self._told: dict[str, float] = {}
        #: Days whose scheduled night made way.
        self.stopped: list[str] = []

    def run(self, day: date) -> str | None:
        """Let the chain make a release of `day`, and follow it; the digest that it offers, None without one.

        Raises typer.Exit with the exit code of `caravan nightly` when the night did not end well.
        """
        conf = {"day": day.isoformat(), "source": self._s.shop, "recipe": "quick", "rollout": POLICY}
        run_id = self._under_way(conf)
        if run_id is not None:
            self._say(f"the night of a demo before this one is under way: {self._page(run_id)}")
        else:
            run_id = self._start(conf)
            self._say(f"started {self._page(run_id)}")

        def look() -> list[dict[str, Any]]:
            run = self._airflow.run(nightly.DAG, run_id)
            if run["state"] == "queued":
                self._clear_the_way(run_id)
            return [run]

        nightly.follow(self._airflow, look, done=lambda runs: runs[0]["state"] in ENDED)
        nightly.conclude(self._airflow, self._s, [self._airflow.run(nightly.DAG, run_id)])
        offered = self._airflow.left(nightly.DAG, run_id, "offer", "return_value")
        return str(offered) if offered else None

    def let_the_schedule_pass(self) -> None:
        """Wait for the run that the schedule starts by itself in an Airflow that was not up at midnight.

        It finds nothing of yesterday in a new shop and ends. Were the day there already, it would train the long
        recipe; so it is waited for before the shop's files land.
        """
        today, deadline = datetime.now(UTC).date().isoformat(), time.monotonic() + SCHEDULED_RUN_TIMEOUT_S
        newest = {"run_type": "scheduled", "order_by": "-run_after", "limit": 1}
        while time.monotonic() < deadline:
            runs = self._airflow.call("GET", f"/dags/{nightly.DAG}/dagRuns", params=newest)["dag_runs"]
            if runs and str(runs[0]["run_after"])[:10] >= today and runs[0]["state"] in ENDED:
                return
            self._tell("schedule", "waiting for the schedule's own first run, which finds nothing to do")
            time.sleep(1)

    def _under_way(self, conf: dict[str, str]) -> str | None:
        return next((str(run["dag_run_id"]) for run in self._active() if _is(run, conf)), None)

    def _start(self, conf: dict[str, str]) -> str:
        note = f"{conf['source']}, {conf['day']}; started with `caravan demo`"
        try:
            return self._airflow.trigger(nightly.DAG, conf, note=note)
        except StackError:  # on a busy machine it may have been done all the same
            return self._under_way(conf) or self._airflow.trigger(nightly.DAG, conf, note=note)

    def _clear_the_way(self, ours: str) -> None:
        for run in self._active():
            name = str(run["dag_run_id"])
            if name == ours or run["state"] != "running":
                continue
            if run["run_type"] == "scheduled":
                day = str(run["logical_date"])[:10]
                self._airflow.stop(nightly.DAG, name, note=MADE_WAY.format(day=day))
                self.stopped.append(day)
                self._say(f"the schedule's night of {day} makes way for the demo's: {self._page(name)}")
            else:
                who = run.get("triggering_user_name") or run["run_type"]
                self._tell(name, f"behind another night, started by {who}, which ends first: {self._page(name)}")

    def _active(self) -> list[dict[str, Any]]:
        """Return the nights that run or wait for their turn, the one that began first at the head."""
        params = {"state": ["running", "queued"], "order_by": "run_after", "limit": 100}
        return list(self._airflow.call("GET", f"/dags/{nightly.DAG}/dagRuns", params=params)["dag_runs"])

    def _tell(self, about: str, line: str) -> None:
        """Say it now and then, not with every look."""
        if time.monotonic() - self._told.get(about, float("-inf")) >= WAIT_LINE_INTERVAL_S:
            self._told[about] = time.monotonic()
            self._say(line)

    def _page(self, run_id: str) -> str:
        return f"{self._s.airflow_address}/dags/{nightly.DAG}/runs/{run_id}"


def _is(run: dict[str, Any], conf: dict[str, str]) -> bool:
    """Check whether this run does what `conf` asks for."""
    given = run.get("conf") or {}
    return all(given.get(name) == value for name, value in conf.items())
