"""Calls Airflow's REST API for our own tasks: signed in as the service user, who may read answers and close requests.

Tasks may not touch Airflow's database, and what a task is handed (XCom, an event, a context) another task could have
made up. Who answered a request, only the API server knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from contracts.errors import CaravanError, NotFound, StackError

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

    from contracts.settings import Settings


#: Characters that Airflow keeps of a note.
NOTE_MAX_CHARS = 1000


class Service:
    """A signed-in client, for one task; a context manager."""

    def __init__(self, client: httpx.Client, username: str, password: str) -> None:
        self._client = client
        self._login = {"username": username, "password": password}
        self._token = ""

    @classmethod
    def of(cls, s: Settings) -> Self:
        import httpx

        client = httpx.Client(base_url=s.airflow_address, timeout=30.0, trust_env=False)
        return cls(client, s.airflow_username, s.secret("airflow_password"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def request(self, run: str, task: str, dag: str = "release") -> dict[str, Any]:
        """Return what a task of a run asks people for, and what was answered by whom. Raises NotFound."""
        return dict(self._call("GET", f"{_task(run, task, dag)}/-1/hitlDetails"))

    def run(self, run: str) -> dict[str, Any]:
        """Return a run of `release`. Raises NotFound."""
        return dict(self._call("GET", f"/api/v2/dags/release/dagRuns/{quote(run, safe='')}"))

    def start(self, run: str, conf: dict[str, str], note: str) -> bool:
        """Start a run of `release` under this name; False when there is one already."""
        body = {"dag_run_id": run, "logical_date": None, "conf": conf, "note": note}
        return self._call("POST", "/api/v2/dags/release/dagRuns", json=body, passing=(409,)) is not None

    def state(self, run: str, task: str) -> str | None:
        """Return the state of a task of a run of `release`."""
        found: str | None = self._call("GET", _task(run, task))["state"]
        return found

    def note(self, run: str, task: str, text: str, dag: str = "release") -> None:
        """Say something on the page of a task of a run."""
        self._call("PATCH", _task(run, task, dag), json={"note": text[:NOTE_MAX_CHARS]})

    def note_run(self, run: str, text: str, dag: str) -> None:
        """Say something on the page of a run."""
        self._call("PATCH", f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}", json={"note": text[:NOTE_MAX_CHARS]})

    def skip(self, run: str, task: str, note: str) -> None:
        """End a task of a run of `release` that waits: no answer is needed any more."""
        self._call("PATCH", _task(run, task), json={"new_state": "skipped", "note": note[:1000]})

    def _call(self, method: str, path: str, *, passing: tuple[int, ...] = (), **options: Any) -> Any:
        """Send one request. Raises StackError when Airflow does not answer, NotFound or CaravanError on refusal."""
        if not self._token:
            self._token = str(self._send("POST", "/auth/token", json=self._login).json()["access_token"])
        answer = self._send(
            method, path, passing=passing, headers={"Authorization": f"Bearer {self._token}"}, **options
        )
        return None if answer.status_code in passing else answer.json()

    def _send(self, method: str, path: str, *, passing: tuple[int, ...] = (), **options: Any) -> httpx.Response:
        import httpx

        try:
            answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise StackError(
                f"Airflow at {self._client.base_url} does not answer ({type(error).__name__})",
                remedy="`caravan status` shows whether it runs",
            ) from error
        if answer.is_success or answer.status_code in passing:
            return answer
        kind = NotFound if answer.status_code == 404 else CaravanError
        raise kind(
            f"Airflow refused {method} {path} ({answer.status_code}): {answer.text[:300]}",
            remedy="`caravan up` sets its users up again",
        )


def _task(run: str, task: str, dag: str = "release") -> str:
    return f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/{quote(task, safe='')}"
