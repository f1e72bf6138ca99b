"""The client of Airflow: a run that is stopped stays stopped."""

from __future__ import annotations

import json

import httpx
import pytest

from caravan.cli import airflow_api
from caravan.cli.airflow_api import Airflow


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
