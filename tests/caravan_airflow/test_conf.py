"""What a run may be started with: known names, and the same values as on the command line, at every way in."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from caravan_airflow.conf import PARAMETERS, demand_known, read_conf
from caravan_airflow.recovery import tasks as recovery_tasks
from caravan_airflow.release import tasks as release_tasks
from caravan_airflow.step import chosen
from caravan_airflow.ui import forms
from caravan_airflow.ui.conf_door import MAX_BODY, ConfDoor
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from contracts.errors import CaravanError, RecoveryError, SettingsError
from recovery.restore.recovery_point import Point

NOW = datetime(2026, 11, 28, 11, 30, tzinfo=UTC)
PAST = (datetime.now(UTC).date() - timedelta(days=3)).isoformat()


@pytest.mark.parametrize(
    ("dag", "name", "meant"),
    [
        ("nightly", "Day", "day"),
        ("nightly", "date", "day"),
        ("nightly", "day ", "day"),
        ("nightly", "reciep", "recipe"),
        ("nightly", "Source", "source"),
        ("nightly", "roll_out", "rollout"),
        ("release", "digset", "digest"),
        ("recover", "too", "to"),
        ("recover", "although-alive", "although_alive"),
        ("recover", "Region", "region"),
        ("fail_back", "reasons", "reason"),
        ("back_up", "Full", "full"),
        ("rehearse_recovery", "question", "questions"),
        ("rehearse_recovery", "faults", "fault"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(dag: str, name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"no such parameter: {name}; did you mean {meant}?")) as refused:
        demand_known(dag, {name: "x"})
    assert all(known in refused.value.remedy for known in PARAMETERS[dag])


@given(dag=st.sampled_from(sorted(PARAMETERS)), name=st.text(max_size=200))
def test_no_name_but_the_forms_own_gets_through(dag: str, name: str) -> None:
    if name in PARAMETERS[dag]:
        demand_known(dag, {name: None})
    else:
        with pytest.raises(SettingsError):
            demand_known(dag, {name: None})


@pytest.mark.parametrize(
    ("day", "read"),
    [
        ("2026-11-22", "2026-11-22"),
        ("2026-11-22 ", "2026-11-22"),
        ("\n2026-11-22", "2026-11-22"),
        (None, None),
        ("", None),
    ],
)
def test_a_day_with_blanks_is_forgiven_and_none_is_left_to_the_schedule(day: Any, read: Any) -> None:
    assert read_conf("nightly", {"day": day, "recipe": "tiny "}, now=NOW) == {"day": read, "recipe": "tiny"}


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("20261122", "write 2026-11-22"),
        (20261122, "is a number"),
        ("2026-11-22T00:00:00Z", "a moment, not a day"),
        ("2026-11-22+02:00", "a day with a zone"),
        ("2026-02-30", "not a day of the calendar"),
        ("2026-11-28", "not over yet"),
        ("2099-01-01", "not over yet"),
        ("yesterday", "is not a day"),
        (False, "is a bool"),
        (["2026-11-22"], "is a list"),
    ],
)
def test_what_is_no_day_is_refused_by_form_and_task_in_the_same_words(day: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as at_the_door:
        read_conf("nightly", {"day": day}, now=NOW)
    if not day:
        return
    run = SimpleNamespace(run_type="manual", data_interval_start=None, run_after=NOW)
    params = {"day": day, "source": "shop", "recipe": "tiny"}
    with pytest.raises(SettingsError) as in_the_task:
        chosen({"params": params, "dag_run": run}, now=NOW)
    assert str(in_the_task.value) == str(at_the_door.value)


@pytest.mark.parametrize(
    "text",
    [
        "newest", " newest", "s000012", "s12", "12", "2026-03-01 02:17", "2026-03-01T02:17Z", "2026-03-01T02:17+02:00",
        "2026-03-01T02:17 ", "2026-03-01 02:17 UTC", "2026-03-01T02:17:30,5-0330", "20260301T0217Z", "2026-03-01",
        "2026-03-01T02:17:30.123456789Z",
    ],
)  # fmt: skip
def test_the_form_of_recover_takes_what_the_command_takes(text: str) -> None:
    read = read_conf("recover", {"to": text}, now=NOW)["to"]
    assert read == Point.parse(text, now=NOW).asked
    assert re.search(forms.RECOVERY_POINT, read)
    assert re.search(forms.RECOVERY_POINT, text)


@pytest.mark.parametrize("text", ["20261127", "2099-01-01T00:00", "2026-02-30T10:00", "yesterday", ""])
def test_the_form_of_recover_refuses_what_the_command_refuses(text: str) -> None:
    with pytest.raises(RecoveryError) as by_command:
        Point.parse(text, now=NOW)
    with pytest.raises(RecoveryError) as by_form:
        read_conf("recover", {"to": text}, now=NOW)
    assert by_form.value.what == by_command.value.what


@pytest.mark.parametrize(
    "task",
    [
        lambda context: chosen(context | {"dag_run": SimpleNamespace(run_type="manual", data_interval_start=NOW)}),
        release_tasks.brief,
        recovery_tasks.look,
        lambda context: recovery_tasks.back(context, "look"),
        recovery_tasks.back_up,
        recovery_tasks.rehearse,
    ],
    ids=PARAMETERS,
)
def test_the_first_task_refuses_what_came_past_the_door(task: Any, request: pytest.FixtureRequest) -> None:
    dag = request.node.callspec.id
    params = dict.fromkeys(PARAMETERS[dag], "x") | {"Day": "2026-11-22"}
    with pytest.raises(SettingsError, match="no such parameter: Day") as refused:
        task({"params": params})
    assert f"the parameters of {dag} are" in refused.value.remedy


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"got": (await request.body()).decode(errors="replace")})


@pytest.fixture
def airflow() -> httpx.AsyncClient:
    """The door before an API that repeats what it was sent."""
    routes = [Route("/{path:path}", _echo, methods=["GET", "POST", "PATCH"])]
    transport = httpx.ASGITransport(ConfDoor(Starlette(routes=routes)))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://airflow")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("dags/nightly/dagRuns", {"conf": {"Day": PAST}}, "no such parameter: Day; did you mean day?"),
        ("dags/nightly/dagRuns", {"conf": {"date": PAST}}, "no such parameter: date; did you mean day?"),
        ("dags/nightly/dagRuns", {"conf": {"day": PAST, "reciep": "tiny"}}, "did you mean recipe?"),
        ("dags/nightly/dagRuns/", {"conf": {"Day": PAST}}, "no such parameter: Day"),
        ("dags/nightly/dagRuns", {"conf": {"day": "2026-02-30"}}, "2026-02-30 is not a day of the calendar"),
        ("dags/nightly/dagRuns", {"conf": {"day": f"{PAST}T00:00:00Z"}}, f"write {PAST}, its day in UTC"),
        ("dags/nightly/dagRuns", {"conf": {"day": int(PAST.replace("-", ""))}}, "is a number, not a day"),
        ("dags/nightly/dagRuns", {"conf": {"day": "2099-01-01"}}, "is not over yet"),
        ("dags/release/dagRuns", {"conf": {"digest": "a" * 64, "shop": "x"}}, "no such parameter: shop"),
        ("dags/recover/dagRuns", {"conf": {"to": "20260301", "reason": "gone"}}, "a day or the number of a snapshot"),
        ("dags/recover/dagRuns", {"conf": {"To": "newest"}}, "did you mean to?"),
        ("dags/fail_back/dagRuns", {"conf": {"to": "newest"}}, "no such parameter: to"),
        ("dags/back_up/dagRuns", {"conf": {"deep": True}}, "no such parameter: deep"),
        ("dags/rehearse_recovery/dagRuns", {"conf": {"count": 10}}, "no such parameter: count"),
        ("backfills", {"dag_id": "nightly", "dag_run_conf": {"Recipe": "tiny"}}, "did you mean recipe?"),
        ("backfills", {"dag_id": "nightly", "dag_run_conf": {"day": PAST}}, "the dates of a backfill are its days"),
        ("backfills/dry_run", {"dag_id": "nightly", "dag_run_conf": {"Recipe": "tiny"}}, "did you mean recipe?"),
    ],
)
async def test_a_wrong_parameter_starts_no_run(airflow: httpx.AsyncClient, path: str, body: Any, words: str) -> None:
    answer = await airflow.post(f"/api/v2/{path}", json=body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


@pytest.mark.anyio
async def test_what_is_right_reaches_airflow_as_it_reads_it(airflow: httpx.AsyncClient) -> None:
    async def got(path: str, body: Any, method: str = "POST") -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await airflow.request(method, path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        return answer.json()["got"].encode()

    runs = "/api/v2/dags/nightly/dagRuns"
    spaced = {"logical_date": None, "conf": {"day": f"{PAST} ", "source": "probe"}}
    assert json.loads(await got(runs, spaced)) == {"logical_date": None, "conf": {"day": PAST, "source": "probe"}}
    untouched: list[tuple[str, Any, str]] = [
        (runs, {"conf": {}}, "POST"),
        (runs, {"conf": None}, "POST"),
        (runs, {"conf": ["Day"]}, "POST"),
        (runs, b"not json", "POST"),
        (runs, b"", "POST"),
        (runs, b'{"conf": {"Day": "' + b"x" * MAX_BODY + b'"}}', "POST"),
        ("/api/v2/dags/somebody_elses/dagRuns", {"conf": {"Day": 1}}, "POST"),
        ("/api/v2/dags/nightly/dagRuns/list", {"conf": {"Day": 1}}, "POST"),
        (runs, {"conf": {"Day": 1}}, "PATCH"),
        ("/api/v2/backfills", {"dag_id": ["nightly"], "dag_run_conf": {"x": 1}}, "POST"),
    ]
    for path, body, method in untouched:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert await got(path, content, method) == content


@given(conf=st.dictionaries(st.text(max_size=20), st.none() | st.booleans() | st.integers() | st.text(max_size=40)))
def test_reading_twice_is_reading_once(conf: dict[str, Any]) -> None:
    for dag in PARAMETERS:
        try:
            read = read_conf(dag, conf, now=NOW)
        except CaravanError:
            continue
        assert read_conf(dag, read, now=NOW) == read
