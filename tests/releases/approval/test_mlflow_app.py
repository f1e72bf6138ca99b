"""The door of approval in MLflow, on the real server: who may, what is taken, and that nothing slips by."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from artifacts.registry import DIGEST_TAG, mlflow_client
from caravan.stack.host import environment
from caravan.stack.keys import credentials
from caravan.stack.services import mlflow_server, region
from contracts.settings import Settings
from releases.approval.mlflow_app import TAG
from tests.releases.parts import Case, alone, gated
from tests.waiting import until

pytestmark = pytest.mark.stack

VERSIONS, MODELS = "/api/2.0/mlflow/model-versions", "/api/2.0/mlflow/registered-models"


@pytest.fixture(scope="module", autouse=True)
def _alone(stack: Settings) -> Iterator[None]:
    with alone(stack):
        yield


class Door:
    """Somebody at one MLflow server; the user `caravan` is the service account."""

    def __init__(self, s: Settings, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=60.0, trust_env=False)
        self._settings = s

    def call(self, user: str | None, method: str, path: str, **options: Any) -> httpx.Response:
        name = "caravan_mlflow_password" if user == "caravan" else f"mlflow_{user}_password"
        auth = (user, credentials.read_secret(self._settings, name)) if user else None
        return self.client.request(method, path, auth=auth, **options)

    def tag(self, user: str | None, case: Case, value: str, *, key: str = TAG, **about: str) -> httpx.Response:
        body = {"name": case.name, "version": str(case.version), "key": key, "value": value, **about}
        return self.call(user, "POST", f"{VERSIONS}/set-tag", json=body)

    def tags(self, case: Case) -> dict[str, str]:
        about = {"name": case.name, "version": str(case.version)}
        answer = self.call("viewer", "GET", f"{VERSIONS}/get", params=about)
        return {tag["key"]: tag["value"] for tag in answer.json()["model_version"].get("tags", [])}


@pytest.fixture(scope="module")
def door(stack: Settings) -> Iterator[Door]:
    found = Door(stack, stack.mlflow_address)
    yield found
    found.client.close()


def answers(door: Door, process: subprocess.Popen[bytes]) -> bool:
    try:
        return door.client.get("/health").is_success
    except httpx.TransportError:
        assert process.poll() is None, "the server ended"
        return False


@pytest.fixture(scope="module")
def strict_door(stack: Settings) -> Iterator[Door]:
    """A second MLflow server of the region, whose setting asks for two approvers."""
    strict = stack.model_copy(update={"approvers_required": 2, "reviewers": "admin,reviewer,oncall"})
    program = mlflow_server.mlflow(strict)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [part.replace(str(stack.ports.mlflow), port) for part in program.command]
    variables = {**environment.base(stack), **program.environment}
    process = subprocess.Popen(
        command, env=variables, cwd=program.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    found = Door(stack, f"http://127.0.0.1:{port}")
    try:
        until(lambda: answers(found, process), 180, every=0.5, otherwise="the server does not answer")
        yield found
    finally:
        found.client.close()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def case(stack: Settings) -> Case:
    return gated(stack, register=True)


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    """In MLflow's own shape, readable, with a remedy."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error_code"]
    assert " -> " in body["message"]
    for word in words:
        assert word in body["message"]


def test_a_reviewers_tag_approves_that_digest(door: Door, case: Case) -> None:
    case.ask()
    answer = door.tag("reviewer", case, f"approve {case.digest[:12]} better on new items")
    assert answer.status_code == 200, answer.text
    assert case.state == "approved"
    move = case.told("approved")[0]
    assert (move.actor, move.reason, move.evidence["door"]) == ("reviewer", "better on new items", "mlflow")
    assert move.evidence["digest"] == case.digest
    assert door.tags(case)[TAG] == f"approved {case.digest[:12]} by reviewer: better on new items"


def test_a_reviewers_tag_rejects_through_the_pages_path_too(door: Door, case: Case) -> None:
    body = {"name": case.name, "version": "1", "key": TAG, "value": f"REJECT {case.digest} worse for\nnew shoppers"}
    answer = door.call("reviewer", "POST", "/ajax-api/2.0/mlflow/model-versions/set-tag", json=body)
    assert answer.status_code == 200, answer.text
    assert case.state == "rejected"
    assert case.told("rejected")[0].reason == "worse for new shoppers"
    refused(door.tag("reviewer", case, f"approve {case.digest[:12]} after all"), 403, "no answer is awaited")


@pytest.mark.parametrize("user", ["viewer", "oncall", "caravan"])
def test_others_are_refused_and_named(door: Door, case: Case, user: str) -> None:
    for value in (f"approve {case.digest[:12]} fine", "yes", ""):
        refused(door.tag(user, case, value), 403, f"{user} is no reviewer", "admin, reviewer")
    assert {(m.actor, m.evidence["door"]) for m in case.told("refused")} == {(user, "mlflow")}
    assert case.state == "gated"
    assert TAG not in door.tags(case)


def test_nobody_and_a_wrong_password_get_no_further_than_the_door(door: Door, case: Case) -> None:
    body = {"name": case.name, "version": "1", "key": TAG, "value": f"approve {case.digest[:12]} fine"}
    for headers in (
        {},
        {"Authorization": "Basic cmV2aWV3ZXI6d3Jvbmc="},  # reviewer:wrong
        {"Authorization": "Basic AAA6AAA="},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Bearer reviewer"},
    ):
        answer = door.client.post(f"{VERSIONS}/set-tag", json=body, headers=headers)
        assert answer.status_code == 401, (headers, answer.text)
    assert case.state == "gated"
    assert not case.told("refused")


@pytest.mark.parametrize(
    ("value", "status", "why"),
    [
        ("yes", 400, "a bare tag is no answer"),
        ("", 400, "a bare tag is no answer"),
        ("approve", 400, "a bare tag is no answer"),
        ("approved {digest} fine", 400, "a bare tag is no answer"),
        ("approve {short} fine", 403, "the answer is about"),
        ("approve {other} fine", 403, "the answer is about ffffffffffff"),
        ("approve looks good to me", 403, "the answer is about looks"),
        ("approve {digest}", 403, "an answer needs a reason"),
        ("approve {digest}  \t\n ", 403, "an answer needs a reason"),
        ("reject {digest}", 403, "an answer needs a reason"),
    ],
)
def test_what_does_not_name_the_digest_and_the_reason_is_refused(
    door: Door, case: Case, value: str, status: int, why: str
) -> None:
    value = value.format(digest=case.digest[:12], short=case.digest[:11], other="f" * 64)
    refused(door.tag("reviewer", case, value), status, why)
    (told,) = case.told("refused")
    assert why in told.reason
    assert told.actor == "reviewer"
    assert case.state == "gated"
    assert TAG not in door.tags(case)


def test_after_the_timeout_it_is_refused_and_rejected(door: Door, case: Case) -> None:
    case.ask(now=datetime.now(UTC) - timedelta(days=2))
    refused(door.tag("reviewer", case, f"approve {case.digest[:12]} fine"), 403, "after the time to answer was over")
    assert case.state == "rejected"


def test_an_answer_on_another_version_is_refused(stack: Settings, door: Door, case: Case) -> None:
    newer = gated(stack, source=case.source, register=True)
    assert (case.version, newer.version) == (1, 2)
    refused(door.tag("reviewer", newer, f"approve {case.digest[:12]} fine"), 403, "the answer is about")
    assert newer.told("refused")
    for version in ("7", "x", "01", " 1", "١", "999999999999999"):
        refused(
            door.tag("reviewer", case, f"approve {case.digest[:12]} fine", version=version), 404, "knows no release"
        )
    refused(door.tag("reviewer", case, f"approve {case.digest[:12]} fine", name="other"), 404, "knows no release")
    assert (case.state, newer.state) == ("gated", "gated")


def test_a_registry_that_was_changed_behind_the_ledger_is_refused(stack: Settings, door: Door, case: Case) -> None:
    mlflow_client(stack).set_model_version_tag(case.name, "1", DIGEST_TAG, "f" * 64)
    refused(door.tag("reviewer", case, f"approve {case.digest[:12]} fine"), 403, "the registry shows the digest ffff")
    assert case.told("refused")
    unregistered = gated(stack)
    answer = door.tag("reviewer", unregistered, f"approve {unregistered.digest[:12]} fine")
    assert answer.status_code == 404
    assert (case.state, unregistered.state) == ("gated", "gated")


def test_two_approvers(strict_door: Door, stack: Settings) -> None:
    case = gated(stack, register=True, author="oncall")
    refused(strict_door.tag("oncall", case, f"approve {case.digest[:12]} mine"), 403, "cannot be the first")
    answer = strict_door.tag("reviewer", case, f"approve {case.digest[:12]} fine")
    assert answer.status_code == 200, answer.text
    assert case.state == "gated"
    assert strict_door.tags(case)[TAG].endswith("; 1 more must approve")
    assert strict_door.tag("oncall", case, f"approve {case.digest[:12]} so do I").status_code == 200
    assert case.state == "approved"
    assert case.told("approved")[0].evidence["approvers"] == ["reviewer", "oncall"]


def test_the_tag_can_not_come_with_a_version_or_on_a_model(door: Door, case: Case) -> None:
    tags = [{"key": DIGEST_TAG, "value": case.digest}, {"key": TAG, "value": f"approve {case.digest[:12]} fine"}]
    body = {"name": case.name, "source": "mlflow-artifacts:/x", "tags": tags}
    refused(door.call("caravan", "POST", f"{VERSIONS}/create", json=body), 403, "create a version")
    assert case.told("refused")[-1].actor == "caravan"
    new = {"name": f"{case.name}-new", "tags": tags[1:]}
    refused(door.call("caravan", "POST", f"{MODELS}/create", json=new), 403, "no tag of a whole model")
    on_model = {"name": case.name, **tags[1]}
    refused(door.call("caravan", "POST", f"{MODELS}/set-tag", json=on_model), 403, "no tag of a whole model")
    assert case.state == "gated"


@pytest.mark.parametrize("key", ["Caravan.Approval", " caravan.approval", "caravan.approval\n"])
def test_a_tag_that_looks_like_ours_is_refused(door: Door, case: Case, key: str) -> None:
    answer = door.tag("reviewer", case, f"approve {case.digest[:12]} fine", key=key)
    refused(answer, 400, f"the tag is written {TAG}")
    assert case.state == "gated"


@pytest.mark.parametrize("user", ["reviewer", "viewer", "caravan"])
def test_nobody_deletes_the_tag(door: Door, case: Case, user: str) -> None:
    door.tag("reviewer", case, f"approve {case.digest[:12]} fine")
    body = {"name": case.name, "version": "1", "key": TAG}
    refused(door.call(user, "DELETE", f"{VERSIONS}/delete-tag", json=body), 403, "delete the tag")
    assert case.told("refused")[-1].actor == user
    assert TAG in door.tags(case)


def test_other_tags_and_methods_go_on_to_mlflow(door: Door, case: Case) -> None:
    assert door.tag("caravan", case, "x", key="note").status_code == 200
    assert door.tag("reviewer", case, "x", key="note").status_code == 403
    body = {"name": case.name, "version": "1", "key": TAG, "value": f"approve {case.digest[:12]} fine"}
    for method, path in (("PATCH", "set-tag"), ("PUT", "set-tag"), ("POST", "set-tag/"), ("POST", "Set-Tag")):
        answer = door.call("reviewer", method, f"{VERSIONS}/{path}", json=body)
        assert answer.status_code in {403, 404, 405}, (method, path)
    assert door.call("caravan", "DELETE", f"{VERSIONS}/delete-tag", json={**body, "key": "note"}).status_code == 200
    assert case.state == "gated"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"[1]", b'"x"', b'"[]"', b"1", b"{", b"\xff", b'{"key": 5}',
        b'{"key": ["caravan.approval"]}',
        b'{"name": null, "version": {}, "key": "caravan.approval", "value": 1}', b'{"key": "caravan.approval"}',
        b'{"key": "caravan.approval\\u0000"}', b'{"key": "caravan.approval", "value": "\\ud800"}', b"[" * 100_000,
    ],
    ids=lambda content: content[:24].decode(errors="replace"),
)  # fmt: skip
@pytest.mark.parametrize("path", ["set-tag", "delete-tag", "create"])
def test_a_malformed_request_is_the_callers_fault(door: Door, content: bytes, path: str) -> None:
    method = "DELETE" if path == "delete-tag" else "POST"
    headers = {"Content-Type": "application/json"}
    answer = door.call("reviewer", method, f"{VERSIONS}/{path}", content=content, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text


@given(
    value=st.one_of(
        st.text(max_size=200),
        st.tuples(st.sampled_from(["approve", "reject", "Approve "]), st.text(max_size=80), st.text(max_size=3000)).map(
            " ".join
        ),
    )
)
@example_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_no_value_breaks_the_server_or_approves(door: Door, fuzzed: Case, value: str) -> None:
    answer = door.tag("reviewer", fuzzed, value.replace(fuzzed.digest[:12], ""))
    assert 400 <= answer.status_code < 500, answer.text
    assert fuzzed.state == "gated"


@pytest.fixture(scope="module")
def fuzzed(stack: Settings) -> Case:
    return gated(stack, register=True)


def test_without_the_ledger_nothing_is_taken(stack: Settings, door: Door, case: Case) -> None:
    with ledger_gone(stack):
        refused(
            door.tag("reviewer", case, f"approve {case.digest[:12]} fine"), 503, "does not answer", "caravan status"
        )
    assert case.state == "gated"
    assert door.tag("reviewer", case, f"approve {case.digest[:12]} fine").status_code == 200


@contextmanager
def ledger_gone(s: Settings) -> Iterator[None]:
    """The database `caravan` lets nobody in, while MLflow's own databases do."""
    cluster = region.cluster(s)
    connection = psycopg2.connect(
        host=cluster.host, port=cluster.port, user="postgres", password=cluster.superuser_password, dbname="postgres"
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("alter database caravan allow_connections false")
            cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'caravan'")
            try:
                yield
            finally:
                cursor.execute("alter database caravan allow_connections true")
    finally:
        connection.close()


def test_passwords_that_somebody_changed_are_set_back(stack: Settings, door: Door) -> None:
    changed = {"username": "viewer", "password": "another-long-password"}
    assert door.call("caravan", "PATCH", "/api/2.0/mlflow/users/update-password", json=changed).is_success
    assert door.call("viewer", "GET", "/api/2.0/mlflow/users/current").status_code == 401
    mlflow_server.ensure_people(stack)
    assert door.call("viewer", "GET", "/api/2.0/mlflow/users/current").json()["user"]["is_admin"] is False
