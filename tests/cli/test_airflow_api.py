"""The client of Airflow: a run that is stopped stays stopped, and a server that is slow is no server that is gone."""

from __future__ import annotations

import json

import httpx
import pytest

from caravan.cli import airflow_api
from caravan.cli.airflow_api import Airflow
from contracts.errors import StackError


@pytest.mark.parametrize(
    ("verdicts", "orders"),
    [
        (["failed"], 1),
        (["running", "running", "failed"], 1),
        (["running", "success"], 2),  # its teardown ran, found nothing to do, and gave the run another verdict
    ],
)
def test_a_run_that_is_stopped_ends_failed_with_the_note(
    monkeypatch: pytest.MonkeyPatch, verdicts: list[str], orders: int
) -> None:
    monkeypatch.setattr(airflow_api.time, "sleep", lambda _: None)
    bodies, states = list[dict[str, str]](), iter(verdicts)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        assert request.url.path == "/api/v2/dags/nightly/dagRuns/run"
        if request.method == "PATCH":
            bodies.append(json.loads(request.content))
            return httpx.Response(200, json={})
        return httpx.Response(200, json={"state": next(states)})

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    Airflow(client, "admin", "secret").stop("nightly", "run", note="makes way")
    assert bodies == [{"state": "failed", "note": "makes way"}] * orders


@pytest.mark.parametrize(("method", "path", "asked"), [("GET", "/x", 6), ("PATCH", "/x", 6), ("POST", "/x", 1)])
def test_a_slow_server_is_asked_again_where_that_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, asked: int
) -> None:
    monkeypatch.setattr(airflow_api.time, "sleep", lambda _: None)
    seen = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        if len(seen) in (1, 2, 3, 5, 6, 7, 8, 9):  # signing in takes four tries, the request six
            raise httpx.ReadTimeout("busy", request=request)
        return httpx.Response(200, json={"access_token": "t"})

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    airflow = Airflow(client, "admin", "secret", patience=60.0)
    if method == "POST":  # it may have been done: twice would be two runs
        with pytest.raises(StackError):
            airflow.call(method, path)
    else:
        airflow.call(method, path)
    assert (seen.count("/auth/token"), seen.count(f"/api/v2{path}")) == (4, asked)
