"""A backfill's runs are of the shop that it names, also where another backfill has run those days before."""

from __future__ import annotations

import inspect
import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from caravan_airflow.conf import PARAMETERS, read_conf

from caravan.cli import nightly
from caravan.cli.airflow_api import Airflow
from contracts.settings import Settings

DAYS = {"first": "2026-01-01", "last": "2026-01-02"}
ASKED = [
    {"source": "probe", "recipe": "tiny"},
    {"source": "probe-two", "recipe": "quick"},
    {"source": "probe"},
    {"source": "probe-two", "rollout": "demo"},
    {"source": "probe", "recipe": "quick", "rollout": "default"},
    {"recipe": "tiny"},
    {"rollout": "demo"},
    {"recipe": "quick", "rollout": "demo"},
    {"source": ""},
    {},
]


def bodies(monkeypatch: pytest.MonkeyPatch, asked: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What Airflow is sent for backfills, one after the other."""
    found: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        if request.url.path.endswith("/backfills"):
            found.append(json.loads(request.content))
            return httpx.Response(200, json={"id": len(found)})
        return httpx.Response(200, json={"is_paused": False, "dag_id": "nightly"})

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    airflow = Airflow(client, "admin", "secret")
    monkeypatch.setattr(airflow, "ensure_ready", lambda _dag: False)
    monkeypatch.setattr(nightly.Airflow, "of", classmethod(lambda *_a, **_k: airflow))
    monkeypatch.setattr(nightly, "settings", lambda: Settings(shop="own", canary_policy="default"))
    for options in asked:
        nightly.backfill(DAYS["first"], DAYS["last"], wait=False, **options)  # type: ignore[arg-type]
    return found


def test_every_backfill_names_every_parameter_so_that_nothing_of_an_earlier_run_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for options, body in zip(ASKED, bodies(monkeypatch, ASKED), strict=True):
        conf = body["dag_run_conf"]
        assert set(conf) == set(PARAMETERS["nightly"]) - {"day"}  # the dates of a backfill are its days
        assert all(conf.values())
        assert conf["source"] == (options.get("source") or "own")
        assert conf["recipe"] == options.get("recipe", "default")
        assert conf["rollout"] == options.get("rollout", "default")
        assert body["reprocess_behavior"] == "completed"
        assert read_conf("nightly", conf) == conf


def test_two_shops_in_turn_each_get_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = bodies(monkeypatch, [ASKED[0], ASKED[1], ASKED[0]])
    assert [b["dag_run_conf"]["source"] for b in found] == ["probe", "probe-two", "probe"]
    assert [b["dag_run_conf"]["recipe"] for b in found] == ["tiny", "quick", "tiny"]
    assert {(b["from_date"], b["to_date"]) for b in found} == {("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")}


@pytest.mark.filterwarnings("ignore")
def test_airflow_replaces_the_conf_of_a_run_that_is_there_by_that_of_the_backfill() -> None:
    """The pinned version does; one that keeps the conf of the run before would run the first shop's days again."""
    from airflow.models.backfill import _handle_clear_run

    statements: list[Any] = []
    session = SimpleNamespace(execute=statements.append, add=lambda _row: None)
    given: dict[str, Any] = {
        "session": session,
        "dag": SimpleNamespace(dag_id="nightly", clear=lambda **_: None),
        "dr": SimpleNamespace(run_id="backfill__1", id=1),
        "info": SimpleNamespace(logical_date=None, partition_key=None),
        "backfill_id": 2,
        "sort_ordinal": 1,
        "dag_run_conf": {"source": "probe-two"},
    }
    known = inspect.signature(_handle_clear_run).parameters
    _handle_clear_run(**{name: value for name, value in given.items() if name in known})
    written = [statement.compile().params for statement in statements]
    assert [values["conf"] for values in written] == [{"source": "probe-two"}]
