"""Runs of the chain, looked at from outside."""

from __future__ import annotations

from typing import Any

from caravan.cli.airflow_api import ENDED, Airflow
from tests.waiting import until

PATIENCE = 1200


def ended(airflow: Airflow, run_id: str, dag: str = "nightly", *, patience: float = PATIENCE) -> dict[str, Any]:
    """The run, once it has ended; its failed tasks' errors are in the assertion's message."""

    def over() -> dict[str, Any] | None:
        run = airflow.run(dag, run_id)
        return run if run["state"] in ENDED else None

    return until(over, patience, every=1, otherwise=lambda: f"{run_id} is still {airflow.run(dag, run_id)['state']}")


def complaints(airflow: Airflow, run_id: str, dag: str = "nightly") -> dict[str, str]:
    """Error of every task of a run that is not green, except the way that a night with a release does not take."""
    found = {}
    for task in airflow.tasks(dag, run_id):
        if task["state"] != "success" and (task["task_id"], task["state"]) != ("champion_stays", "skipped"):
            events = airflow.log(dag, run_id, task["task_id"], task["try_number"]) if task["state"] == "failed" else []
            errors = [e["error_detail"][0] for e in events if e.get("error_detail")]
            found[task["task_id"]] = f"{task['state']}: {errors[-1].get('exc_value') if errors else ''}"
    return found
