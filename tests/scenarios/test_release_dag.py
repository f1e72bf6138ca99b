"""Releases through the real scheduler: asked, answered, refused, forged, answered elsewhere, and not in time.

Nothing is trained, and no shopper meets these releases: the controller is stopped, and a hand moves the ledger.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from caravan_airflow.release.answers import AskingTask, take
from caravan_airflow.service import Service

from artifacts.ledger import Ledger
from caravan.cli.airflow_api import ENDED, Airflow
from caravan.stack.keys import credentials
from contracts.errors import CaravanError, NotApproved
from contracts.release import State
from contracts.settings import Settings
from releases.approval.approval import ApprovalAnswer, Rules, answer, ask
from tests.scenarios import made_release
from tests.waiting import until

pytestmark = [pytest.mark.airflow, pytest.mark.stack, pytest.mark.timeout(900)]

PATIENCE = 300
ROAD: tuple[State, ...] = ("shadow", "canary_1", "canary_5", "canary_25", "canary_50", "champion")
#: How long the request that nobody answers stays open, from before its run starts.
SHORT = timedelta(seconds=75)


class Case:
    """One release and its run."""

    def __init__(self, airflow: Airflow, source: str, digest: str) -> None:
        self.airflow, self.source, self.digest = airflow, source, digest
        self.run = airflow.trigger("release", {"source": source, "digest": digest}, note="a test")

    def states(self) -> dict[str, str | None]:
        return {task["task_id"]: task["state"] for task in self.airflow.tasks("release", self.run)}

    def wait(self, task: str, *wanted: str, attempt: int = 1) -> None:
        """Until the task is in one of these states, at this attempt or a later one."""

        def there() -> bool:
            found = {t["task_id"]: t for t in self.airflow.tasks("release", self.run)}
            return task in found and found[task]["state"] in wanted and found[task]["try_number"] >= attempt

        until(there, PATIENCE, every=0.5, otherwise=self.states)

    def ended(self) -> str:
        def over() -> str | None:
            state = str(self.airflow.run("release", self.run)["state"])
            return state if state in ENDED else None

        return until(over, PATIENCE, every=0.5, otherwise=self.states)

    def request(self) -> dict[str, Any]:
        path = f"/dags/release/dagRuns/{self.run}/taskInstances/approval/-1/hitlDetails"
        return dict(self.airflow.call("GET", path))

    def note(self, task: str) -> str | None:
        found = {t["task_id"]: t["note"] for t in self.airflow.tasks("release", self.run)}
        return found[task]

    def says(self, task: str, attempt: int = 1) -> str:
        """The task's log, errors included."""
        events = self.airflow.log("release", self.run, task, attempt)
        return "\n".join(f"{e.get('event')} {json.dumps(e.get('error_detail') or '')}" for e in events)

    def rows(self, s: Settings, kind: str) -> list[Any]:
        return [move for move in Ledger.of(s).history(self.source, self.digest) if move.to_state == kind]


@pytest.fixture(scope="module")
def release_dag(stack: Settings, airflow: Airflow) -> Iterator[Airflow]:
    """Airflow with the DAG switched on, and a region whose controller does not act."""
    airflow.ensure_ready("release")
    with made_release.resting_controller(stack):
        yield airflow


@pytest.fixture(scope="module")
def cases(stack: Settings, release_dag: Airflow) -> dict[str, Case]:
    """All runs, started together: they wait without holding a worker."""
    made: dict[str, Case] = {}
    source = f"dag-{uuid.uuid4().hex[:6]}"
    for name in ("approve", "reject", "elsewhere", "rolled_back", "late"):
        digest = made_release.make(stack, source, author="{{ 1234567*9 }} <b>*me*</b>")
        if name == "late":
            ask(Ledger.of(stack), Rules(reviewers=frozenset({"reviewer"}), timeout=SHORT), source, digest, actor="test")
        made[name] = Case(release_dag, source, digest)
    return made


def respond(
    s: Settings, user: str, case: Case, *, named: str, reason: str = "looks right", option: str = "Approve"
) -> int:
    """Answer the request through Airflow's API, signed in as `user`; the status code."""
    with httpx.Client(base_url=s.airflow_address, timeout=60, trust_env=False) as client:
        login = {"username": user, "password": credentials.read_secret(s, f"airflow_{user}_password")}
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        answered = client.patch(
            f"/api/v2/dags/release/dagRuns/{case.run}/taskInstances/approval/-1/hitlDetails",
            json={"chosen_options": [option], "params_input": {"digest": named, "reason": reason}},
            headers={"Authorization": f"Bearer {token}"},
        )
        return answered.status_code


def test_a_request_shows_the_brief_and_templates_nothing(cases: dict[str, Case]) -> None:
    case = cases["approve"]
    case.wait("approval", "awaiting_input")
    asked = case.request()
    assert case.digest[:12] in asked["subject"]
    assert case.digest in asked["body"]
    assert "1234567\\*9" in asked["body"]
    assert "11111103" not in asked["body"]
    assert "<b>" not in asked["body"]
    assert "NDCG@10" in asked["body"]
    assert asked["params"]["digest"]["value"] == case.digest[:12]
    assert asked["defaults"] is None


def test_a_request_can_be_forged_by_no_task(stack: Settings, cases: dict[str, Case]) -> None:
    case = cases["approve"]
    case.wait("approval", "awaiting_input")
    cases["reject"].wait("approval", "awaiting_input")
    ledger, rules = Ledger.of(stack), Rules.of(stack)
    asked = case.request()["task_instance"]
    about = {"source": case.source, "digest": case.digest, "run": case.run}
    forged = {
        "only the approval": AskingTask(dag="nightly", task="offer", id="1", **about),
        "no signed-in person": AskingTask(dag="release", task="approval", id=str(asked["id"]), **about),
        "another attempt": AskingTask(dag="release", task="approval", id="1", **about),
        "no such request": AskingTask(dag="release", task="approval", id="1", **{**about, "run": "made-up"}),
        "another release": AskingTask(
            dag="release", task="approval", id=str(asked["id"]), **{**about, "run": cases["reject"].run}
        ),
    }
    with Service.of(stack) as service:
        for why, caller in forged.items():
            with pytest.raises(NotApproved, match=why):
                take(ledger, rules, service, caller)
    refused = case.rows(stack, "refused")
    assert len(refused) == len(forged)
    assert {move.actor for move in refused} == {"task nightly.offer", "task release.approval"}
    # an XCom that says it all, and a step marked as done, change nothing either
    event = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "reviewer"}}
    path = f"/dags/release/dagRuns/{case.run}/taskInstances"
    body = {"key": "return_value", "value": event, "map_index": -1}
    case.airflow.call("POST", f"{path}/approval/xcomEntries", json=body)
    with pytest.raises(NotApproved, match="no signed-in person"), Service.of(stack) as service:
        take(ledger, rules, service, forged["no signed-in person"])
    assert ledger.state(case.source, case.digest) == "gated"


def test_the_service_user_may_not_answer(stack: Settings, cases: dict[str, Case]) -> None:
    case = cases["approve"]
    case.wait("approval", "awaiting_input")
    with Service.of(stack) as service, pytest.raises(CaravanError, match="403"):
        service._call(
            "PATCH", f"/api/v2/dags/release/dagRuns/{case.run}/taskInstances/approval/-1/hitlDetails",
            json={"chosen_options": ["Approve"], "params_input": {}},
        )  # fmt: skip


def test_a_reviewer_lets_it_go_on_and_refused_answers_are_asked_again(stack: Settings, cases: dict[str, Case]) -> None:
    case, ledger = cases["approve"], Ledger.of(stack)
    case.wait("approval", "awaiting_input")
    before = len(case.rows(stack, "refused"))
    assert respond(stack, "viewer", case, named=case.digest) == 403
    wrong = [
        ("oncall", {"named": case.digest[:12]}, "oncall is no reviewer"),
        ("reviewer", {"named": "0" * 12}, "the answer is about"),
        ("reviewer", {"named": case.digest[:12], "reason": " "}, "an answer needs a reason"),
    ]
    for attempt, (user, said, why) in enumerate(wrong, start=1):
        case.wait("approval", "awaiting_input", attempt=attempt)
        assert respond(stack, user, case, **said) == 200
        case.wait("approval", "awaiting_input", attempt=attempt + 1)
        refused = case.rows(stack, "refused")
        assert len(refused) == before + attempt
        assert refused[-1].actor == user
        assert why in refused[-1].reason
        assert f"The answer of {user} was not taken" in str(case.note("approval"))
        assert ledger.state(case.source, case.digest) == "gated"
    assert respond(stack, "reviewer", case, named=case.digest[:12], reason="better, and {{ 7*7 }}") == 200
    case.wait("approval", "success")
    case.wait("approved", "success")
    moved = ledger.newest("approved", source=case.source, digest=case.digest)
    assert moved is not None
    assert (moved.actor, moved.reason, moved.evidence["door"]) == ("reviewer", "better, and {{ 7*7 }}", "airflow")
    made_release.move(stack, case.source, case.digest, "shadow")
    for state, beyond in itertools.pairwise(ROAD):
        case.wait(state, "deferred")
        made_release.move(stack, case.source, case.digest, beyond)
    assert case.ended() == "success", case.states()
    assert set(case.states().values()) == {"success"}
    assert "by controller: the test says so" in case.says("canary_5")


def test_a_rejection_ends_the_run_red(stack: Settings, cases: dict[str, Case]) -> None:
    case = cases["reject"]
    case.wait("approval", "awaiting_input")
    assert respond(stack, "reviewer", case, named=case.digest[:12], reason="cold items", option="Reject") == 200
    assert case.ended() == "failed"
    assert Ledger.of(stack).state(case.source, case.digest) == "rejected"
    states = case.states()
    assert (states["approval"], states["approved"], states["champion"]) == ("success", "failed", "upstream_failed")
    assert "by reviewer: cold items" in case.says("approved")


def test_an_answer_elsewhere_closes_the_request(stack: Settings, cases: dict[str, Case]) -> None:
    case = cases["elsewhere"]
    case.wait("approval", "awaiting_input")
    case.wait("approved", "deferred")
    given = ApprovalAnswer(
        source=case.source, digest=case.digest, named=case.digest, person="admin", door="command line", approves=True,
        reason="seen",
    )  # fmt: skip
    answer(Ledger.of(stack), Rules.of(stack), given)
    case.wait("approval", "skipped")
    made_release.move(stack, case.source, case.digest, "champion")
    assert case.ended() == "success"
    states = case.states()
    assert {states[step] for step in ROAD[:-1]} == {"skipped"}
    assert states["champion"] == "success"
    waiting = case.airflow.call("GET", "/dags/~/dagRuns/~/hitlDetails", params={"state": "awaiting_input"})
    assert case.run not in [found["task_instance"]["dag_run_id"] for found in waiting["hitl_details"]]


def test_a_rollback_fails_its_step_with_the_evidence(stack: Settings, cases: dict[str, Case]) -> None:
    case = cases["rolled_back"]
    case.wait("approval", "awaiting_input")
    assert respond(stack, "admin", case, named=case.digest, reason="try it") == 200
    case.wait("approved", "success")
    made_release.move(stack, case.source, case.digest, "shadow", "canary_1")
    case.wait("canary_1", "deferred")
    path = f"/dags/release/dagRuns/{case.run}/taskInstances/canary_1"
    case.airflow.call("PATCH", path, json={"new_state": "success"})
    assert Ledger.of(stack).state(case.source, case.digest) == "canary_1"
    case.wait("canary_5", "deferred")
    made_release.move(
        stack, case.source, case.digest, "rolled_back", reason="abort: errors", evidence={"guardrail": "errors"}
    )
    assert case.ended() == "failed"
    said = case.says("canary_5")
    assert "abort: errors" in said
    assert "guardrail" in said


def test_no_answer_in_time_rejects(stack: Settings, cases: dict[str, Case]) -> None:
    case = cases["late"]
    assert case.ended() == "failed"
    assert Ledger.of(stack).state(case.source, case.digest) == "rejected"
    assert case.states()["approved"] == "failed"
    said = case.says("approval") if case.states()["approval"] == "failed" else case.says("approved")
    assert "nobody answered" in said
