"""Whose answer is taken down: only what the API server has of a signed-in person. Without Airflow."""

from __future__ import annotations

from typing import Any, cast

import pytest
from caravan_airflow.release.answers import AskingTask, take, unrecorded

from artifacts.ledger import Ledger
from contracts.errors import NotApproved, NotFound
from releases.approval.approval import Rules
from tests.caravan_airflow.ledger_rows import DIGEST, RowLedger

RULES = Rules(reviewers=frozenset({"anna"}))


class Server:
    """An API server with one request of one run."""

    def __init__(self, **detail: Any) -> None:
        self.detail = {
            "task_instance": {"id": "7"}, "response_received": True, "chosen_options": ["Approve"],
            "params_input": {"digest": DIGEST[:12], "reason": "good"}, "responded_by_user": {"id": "2", "name": "anna"},
            **detail,
        }  # fmt: skip
        self.conf = {"source": "shop", "digest": DIGEST}

    def request(self, run: str, task: str) -> dict[str, Any]:
        if (run, task) != ("run", "approval"):
            raise NotFound("no such request")
        return self.detail

    def run(self, run: str) -> dict[str, Any]:
        return {"conf": self.conf}


def caller(**other: str) -> AskingTask:
    return AskingTask(
        **{
            "dag": "release",
            "run": "run",
            "task": "approval",
            "id": "7",
            "source": "shop",
            "digest": DIGEST,
            **other,
        }
    )


def given(server: Server, who: AskingTask | None = None) -> tuple[RowLedger, Any]:
    ledger = RowLedger("built", "gated", ("asked", {"until": "2099-01-01T00:00:00+00:00"}))
    try:
        return ledger, take(cast("Ledger", ledger), RULES, server, who or caller())
    except NotApproved as error:
        return ledger, error


def test_a_reviewers_answer_is_recorded_with_the_name_that_signed_in() -> None:
    ledger, outcome = given(Server())
    assert outcome.state == "approved"
    assert ledger.moves[-1].actor == "anna"
    assert ledger.moves[-1].evidence["door"] == "airflow"


def test_a_rejection_is_one() -> None:
    ledger, outcome = given(Server(chosen_options=["Reject"]))
    assert outcome.state == "rejected"
    assert ledger.moves[-1].reason == "good"


@pytest.mark.parametrize(
    ("server", "who"),
    [
        (Server(), caller(dag="nightly", task="offer")),
        (Server(), caller(task="brief")),
        (Server(), caller(run="made-up")),
        (Server(), caller(id="8")),
        (Server(response_received=False), caller()),
        (Server(responded_by_user=None), caller()),
        (Server(responded_by_user={"id": "2", "name": ""}), caller()),
        (Server(task_instance={}), caller()),
        (Server(responded_by_user={"id": "3", "name": "eve"}), caller()),
        (Server(params_input={"digest": "c" * 12, "reason": "good"}), caller()),
        (Server(params_input={"digest": DIGEST[:12], "reason": " \n"}), caller()),
        (Server(params_input={"digest": DIGEST[:12], "reason": {"a": 1}}), caller()),
        (Server(params_input=None), caller()),
    ],
)
def test_any_other_is_refused_and_recorded(server: Server, who: AskingTask) -> None:
    ledger, error = given(server, who)
    assert isinstance(error, NotApproved)
    assert ledger.state() == "gated"
    assert ledger.moves[-1].to_state == "refused"


def test_an_answer_counts_for_the_release_of_its_run_alone() -> None:
    server = Server()
    server.conf = {"source": "shop", "digest": "cd" * 32}
    ledger, error = given(server)
    assert "another release" in str(error)
    assert ledger.moves[-1].actor == "task release.approval"


def test_a_run_that_was_started_with_the_digest_alone_is_about_the_shop_of_the_settings() -> None:
    server = Server()
    server.conf = {"digest": DIGEST}
    assert given(server)[1].state == "approved"
    _, error = given(server, caller(source="other"))
    assert "another release" in str(error)


def test_what_no_database_takes_is_left_out() -> None:
    ledger, outcome = given(Server(params_input={"digest": DIGEST, "reason": "go\x00od \x1b[31m"}))
    assert outcome.state == "approved"
    assert ledger.moves[-1].reason == "good [31m"


def test_an_answer_that_nobody_lived_to_record_is_found_once() -> None:
    at = "2026-03-01T00:05:00Z"
    road = ("built", "gated", "asked")

    def found(*since: Any, **detail: Any) -> bool:
        server = Server(**{"responded_at": at, **detail})
        return unrecorded(cast("Ledger", RowLedger(*road, *since)), server, caller())

    assert found()
    assert not found(response_received=False)
    assert not found(responded_by_user=None)
    early, late = ("refused", {"actor": "anna"}), ("thawed", {})
    assert found(early)  # minute 4: what anna said before
    assert not found(late, early)  # minute 5
    assert found(late, ("refused", {"actor": "ben"}))
    assert not found(("approval", {"actor": "anna", "approval": True}))
    assert not unrecorded(cast("Ledger", RowLedger(*road)), Server(responded_at=at), caller(run="another"))
