"""Records what a person answered in Airflow's required actions.

The person, the choice and the release are read from the API server, which alone has seen the signed-in person: not from
an event, a context or an XCom, which any task can make up.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from contracts.errors import NotApproved, NotFound
from contracts.release import DIGEST
from contracts.settings import settings
from contracts.text import printable

if TYPE_CHECKING:
    from artifacts.ledger import Ledger
    from releases.approval.approval import ApprovalOutcome, Rules

log = logging.getLogger(__name__)

DAG, TASK = "release", "approval"
APPROVE, REJECT = "Approve", "Reject"


class Requests(Protocol):
    """The part of Airflow's REST API that is needed; a seam, so that tests may answer."""

    def request(self, run: str, task: str) -> dict[str, Any]: ...
    def run(self, run: str) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class AskingTask:
    """The task that says it brings an answer, and the release it says the answer is about."""

    dag: str
    run: str
    task: str
    id: str
    source: str
    digest: str

    @classmethod
    def of(cls, context: Any) -> AskingTask:
        ti, params = context["ti"], context["params"]
        return cls(
            dag=ti.dag_id, run=ti.run_id, task=ti.task_id, id=str(ti.id),
            source=_text(params.get("source")), digest=_text(params.get("digest")),
        )  # fmt: skip


def take(ledger: Ledger, rules: Rules, requests: Requests, caller: AskingTask) -> ApprovalOutcome:
    """Record the answer to the request of `caller`. Raises NotApproved if it does not count; that is recorded too."""
    from releases.approval.approval import ApprovalAnswer, answer

    detail = _answered(ledger, requests, caller)
    said: dict[str, Any] = detail.get("params_input") or {}
    given = ApprovalAnswer(
        source=caller.source,
        digest=caller.digest,
        named=_text(said.get("digest")),
        person=_text(detail["responded_by_user"]["name"]),
        door="airflow",
        approves=detail.get("chosen_options") == [APPROVE],
        reason=_text(said.get("reason")),
    )
    log.info("%s chose %s: %s", given.person, detail.get("chosen_options"), given.reason)
    return answer(ledger, rules, given)


def unrecorded(ledger: Ledger, requests: Requests, caller: AskingTask) -> bool:
    """Say whether a person has answered the request and the ledger does not know it."""
    from releases.approval.approval import approvers

    try:
        detail = requests.request(caller.run, caller.task)
    except NotFound:
        return False
    person, at = (detail.get("responded_by_user") or {}).get("name"), detail.get("responded_at")
    if not detail.get("response_received") or not person or not at:
        return False
    if person in approvers(ledger, caller.source, caller.digest):
        return False
    return not any(
        move.to_state in ("approval", "refused") and move.actor == person and move.at >= datetime.fromisoformat(at)
        for move in ledger.history(caller.source, caller.digest)
    )


def _answered(ledger: Ledger, requests: Requests, caller: AskingTask) -> dict[str, Any]:
    """Return the answered request behind `caller`, as the API server has it; a forged one is refused."""
    if (caller.dag, caller.task) != (DAG, TASK):
        raise _forged(ledger, caller, "only the approval of a release run brings answers")
    try:
        detail, conf = requests.request(caller.run, TASK), requests.run(caller.run).get("conf") or {}
    except NotFound:
        raise _forged(ledger, caller, "Airflow knows no such request") from None
    # a run that is started by hand may leave the source to the form's default
    if (conf.get("source", settings().shop), conf.get("digest")) != (caller.source, caller.digest):
        raise _forged(ledger, caller, "the run is about another release")
    if str(detail.get("task_instance", {}).get("id")) != caller.id:
        raise _forged(ledger, caller, "another attempt is asking now")
    if not detail.get("response_received") or not (detail.get("responded_by_user") or {}).get("name"):
        raise _forged(ledger, caller, "no signed-in person has answered")
    return detail


def _forged(ledger: Ledger, caller: AskingTask, why: str) -> NotApproved:
    from releases.approval.approval import ApprovalAnswer, refuse

    if DIGEST.match(caller.digest) and ledger.state(caller.source, caller.digest) is not None:
        given = ApprovalAnswer(
            source=caller.source, digest=caller.digest, named="", person=f"task {caller.dag}.{caller.task}"[:128],
            door="airflow", approves=True, reason="",
        )  # fmt: skip
        refuse(ledger, given, why)
    return NotApproved(f"not taken from task {caller.dag}.{caller.task}: {why}", remedy="answer in required actions")


def _text(value: Any) -> str:
    """Return a form's value as text: control characters and anything that is no text are left out."""
    return printable(value, instead="").strip() if isinstance(value, str) else ""
