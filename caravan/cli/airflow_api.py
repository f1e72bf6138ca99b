"""Calls Airflow's REST API for the command line, signed in as the stack's admin."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import httpx

from caravan.stack.keys import credentials
from contracts.errors import CaravanError, StackError
from contracts.settings import Settings

ENDED = {"success", "failed"}
SIGN_IN = "/auth/token"
#: Seconds a new installation may take until its scheduler knows the DAG.
FIRST_PARSE_TIMEOUT_S = 60.0
#: Seconds that a run which is stopped may take for its teardown.
TEARDOWN_TIMEOUT_S = 60.0


class Airflow:
    """A signed-in client; tokens are renewed when they run out."""

    def __init__(self, client: httpx.Client, username: str, password: str, patience: float = 0.0) -> None:
        self._client = client
        self._patience = patience
        self._login = {"username": username, "password": password}
        self._token = ""

    @classmethod
    def of(cls, s: Settings, user: str = "admin", *, patience: float = 0.0) -> Airflow:
        """`patience`: seconds in which a server that does not answer is asked again; three times at least."""
        client = httpx.Client(base_url=s.airflow_address, timeout=30.0, trust_env=False)
        return cls(client, user, credentials.read_secret(s, f"airflow_{user}_password"), patience)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, *, json: object = None, params: dict[str, Any] | None = None) -> Any:
        """Send one request to /api/v2. Raises StackError when Airflow does not answer, CaravanError when it refuses."""
        answer = self._send(method, path, json, params)
        if answer.status_code == 401:
            self._sign_in()
            answer = self._send(method, path, json, params)
        if answer.is_success:
            return answer.json() if answer.content else None
        remedy = {404: "wait until Airflow has read dags/, then try again", 409: "wait until it has ended"}
        raise CaravanError(
            f"Airflow refused {method} {path}: {_detail(answer)}",
            remedy=remedy.get(answer.status_code, "see `caravan logs api-server`"),
        )

    def ensure_ready(self, dag: str) -> bool:
        """Wait until Airflow knows `dag`, and switch it on; True when it was paused."""
        deadline = time.monotonic() + FIRST_PARSE_TIMEOUT_S
        while True:
            try:
                about = self.call("GET", f"/dags/{dag}")
                break
            except StackError:
                raise
            except CaravanError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
        if about["is_paused"]:
            self.call("PATCH", f"/dags/{dag}", json={"is_paused": False})
        return bool(about["is_paused"])

    def trigger(self, dag: str, conf: dict[str, Any], *, note: str) -> str:
        """Start a run with the form's values; its id. It has no logical date: the form names the day."""
        run = self.call("POST", f"/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf, "note": note})
        return str(run["dag_run_id"])

    def stop(self, dag: str, run_id: str, *, note: str) -> None:
        """End a run: what it does now is killed, what it has made stays. The note says why on its page."""
        path, body = f"/dags/{dag}/dagRuns/{run_id}", {"state": "failed", "note": note}
        self.call("PATCH", path, json=body)
        deadline = time.monotonic() + TEARDOWN_TIMEOUT_S
        while (state := self.run(dag, run_id)["state"]) not in ENDED and time.monotonic() < deadline:
            time.sleep(1)
        if state != "failed":  # a teardown ran all the same, and its run took that for its own end
            self.call("PATCH", path, json=body)

    def run(self, dag: str, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/dags/{dag}/dagRuns/{run_id}"))

    def running(self, dag: str) -> list[dict[str, Any]]:
        """List the runs that are under way now."""
        return list(self.call("GET", f"/dags/{dag}/dagRuns", params={"state": "running", "limit": 10})["dag_runs"])

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """List the run's task instances."""
        found = self.call("GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances", params={"limit": 100})
        return list(found["task_instances"])

    def backfill(self, dag: str, first: date, last: date, conf: dict[str, Any]) -> int:
        """Start Airflow's own backfill of the days `first` to `last`, one by one, done ones again; return its id."""
        body = {
            "dag_id": dag,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "dag_run_conf": conf,
            "reprocess_behavior": "completed",
            "max_active_runs": 1,
            "run_backwards": False,
        }
        return int(self.call("POST", "/backfills", json=body)["id"])

    def backfill_state(self, number: int) -> dict[str, Any]:
        return dict(self.call("GET", f"/backfills/{number}"))

    def runs_between(self, dag: str, first: date, last: date) -> list[dict[str, Any]]:
        """List runs by logical date, oldest first."""
        params = {
            "logical_date_gte": f"{first}T00:00:00Z",
            "logical_date_lte": f"{last}T00:00:00Z",
            "order_by": "logical_date",
            "limit": 100,
        }
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"/dags/{dag}/dagRuns", params={**params, "offset": len(found)})
            found += page["dag_runs"]
            if len(found) >= page["total_entries"] or not page["dag_runs"]:
                return found

    def left(self, dag: str, run_id: str, task: str, name: str) -> Any:
        """Return what a task left under this name (an XCom), or None."""
        path = f"/dags/{dag}/dagRuns/{run_id}/taskInstances/{task}/xcomEntries"
        found = self.call("GET", path, params={"xcom_key_pattern": name, "limit": 100})["xcom_entries"]
        if not any(entry["key"] == name for entry in found):
            return None
        return self.call("GET", f"{path}/{name}")["value"]

    def log(self, dag: str, run_id: str, task: str, attempt: int) -> list[dict[str, Any]]:
        """Return a task's log as events with `event`, `level` and, for an exception, `error_detail`."""
        path = f"/dags/{dag}/dagRuns/{run_id}/taskInstances/{task}/logs/{max(attempt, 1)}"
        content = self.call("GET", path, params={"full_content": True})["content"]
        return [entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content]

    def _send(self, method: str, path: str, json: object, params: dict[str, Any] | None) -> httpx.Response:
        if not self._token:
            self._sign_in()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return self._reach(method, f"/api/v2{path}", json=json, params=params, headers=headers)

    def _sign_in(self) -> None:
        answer = self._reach("POST", SIGN_IN, json=self._login)
        if not answer.is_success:
            raise StackError(
                f"Airflow does not let the admin in ({answer.status_code})",
                remedy="`caravan up` sets its users up again from the secrets folder",
            )
        self._token = str(answer.json()["access_token"])

    def _reach(self, method: str, path: str, **options: Any) -> httpx.Response:
        last: httpx.HTTPError | None = None
        began, tries = time.monotonic(), 0
        while tries < 3 or time.monotonic() - began < self._patience:
            try:
                return self._client.request(method, path, **options)
            except httpx.ConnectError as error:
                last = error
            except httpx.HTTPError as error:
                last = error
                if method == "POST" and path != SIGN_IN:  # it may have been done
                    break
            tries += 1
            time.sleep(min(0.5 * 4 ** (tries - 1), 5.0))
        raise StackError(
            f"Airflow at {self._client.base_url} does not answer ({type(last).__name__})",
            remedy="`caravan status` shows whether it runs; `caravan up` starts it",
        ) from last


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json().get("detail", "")
    except (ValueError, AttributeError):
        detail = answer.text[:300]
    if isinstance(detail, list):
        detail = "; ".join(str(part.get("msg", part)) if isinstance(part, dict) else str(part) for part in detail)
    return f"{detail} ({answer.status_code})"
