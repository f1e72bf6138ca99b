"""Requests approval: by Airflow's own required action, with the review brief, and an answer that is recorded.

Everybody who may answer requests in Airflow may answer this one; the ledger's side decides who is a reviewer, so that
a wrong answer is recorded too. (Airflow's own assigned users go by numbers that no API tells a task.)

A refused answer, or one of two that are needed, ends the attempt; the next attempt asks again and says why in a note
(the text of a request stays that of its first attempt). So every answer stays on the task's page, each in its attempt.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk.definitions.param import ParamsDict

from caravan_airflow.active import here
from contracts.errors import CaravanError, DataError, NotApproved, SettingsError, Tampered
from contracts.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from artifacts.ledger import Ledger
    from caravan_airflow.release.answers import AskingTask
    from releases.approval.approval import Rules

#: Attempts to answer, all of one request together.
ATTEMPTS = 99


class AskAgain(Exception):
    """The answer did not settle it: the request is made again."""


#: An unsettled request is made again at once; no answer in time, or a release that cannot be read, is final.
ASKED_AGAIN = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[AskAgain], action=RetryAction.RETRY, retry_delay=timedelta(seconds=1), reason="Asked again."
        ),
        RetryRule(
            exception=[NotApproved, DataError, SettingsError, Tampered],
            action=RetryAction.FAIL,
            reason="Asking again would not change it; the message says what to do.",
        ),
    ]
)


class ReleaseApproval(ApprovalOperator):
    """Asks the reviewers about the release of this run, and records what they say in the ledger."""

    #: Nothing is a template: what the brief quotes (titles, reasons, names) is data.
    template_fields = ()

    def __init__(self, **kwargs: Any) -> None:
        timeout = timedelta(seconds=settings().approval_timeout)
        super().__init__(subject="May this release meet shoppers?", response_timeout=timeout, **kwargs)

    def execute(self, context: Context) -> Any:
        from airflow.sdk.exceptions import AirflowSkipException

        from artifacts.ledger import Ledger
        from caravan_airflow.release import answers, tasks
        from releases.approval.approval import AWAITING, Rules, ask

        s = here()
        source, digest = str(context["params"]["source"]), str(context["params"]["digest"])
        ledger, rules = Ledger.of(s), Rules.of(s)
        state = ledger.state(source, digest)
        if _left_behind(self, ledger, rules, answers.AskingTask.of(context)):
            state = ledger.state(source, digest)
            if state not in AWAITING:
                self.log.info("recorded: the release is %s", state)
                return None
        if state not in AWAITING:
            raise AirflowSkipException(f"the release is {state or 'not in the ledger'}: no answer is awaited")
        request = tasks.request(s, ledger, rules, source, digest)
        self.subject, self.body = request.subject, request.body
        self.params = _form(digest)
        if request.notice:  # Airflow keeps the text of the first attempt: a note tells what came of it
            _note(self, context, request.notice)
        asked = ask(ledger, rules, source, digest, actor="airflow")
        until = datetime.fromisoformat(str(asked.evidence["until"]))
        self.response_timeout = max(until - datetime.now(UTC), timedelta(seconds=1))
        self.log.info("asking %s until %s", ", ".join(sorted(rules.reviewers)), until.isoformat(timespec="seconds"))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        from artifacts.ledger import Ledger
        from caravan_airflow.release import answers
        from caravan_airflow.service import Service
        from releases.approval.approval import AWAITING, Rules, expire, unsettled

        s = here()
        ledger, rules, caller = Ledger.of(s), Rules.of(s), answers.AskingTask.of(context)
        if "error" in event:
            if not expire(ledger, rules, caller.source, caller.digest):
                raise NotApproved(
                    f"the request about release {caller.digest[:12]} ended without an answer: {event['error']}",
                    remedy=f"`caravan release approve {caller.digest[:12]}` answers it too",
                )
            raise NotApproved(
                f"release {caller.digest[:12]} does not go on: "
                f"{unsettled(ledger, rules, caller.source, caller.digest)}",
                remedy="offer a newer one; one that was rolled back may be asked about again",
            )
        try:
            with Service.of(s) as service:
                outcome = answers.take(ledger, rules, service, caller)
        except NotApproved as refused:
            state = ledger.state(caller.source, caller.digest)
            if state not in AWAITING:
                self.log.warning("%s; the release is %s meanwhile", refused, state)
                return
            if expire(ledger, rules, caller.source, caller.digest):
                raise
            raise AskAgain(f"{refused.what}; asked again") from None
        if outcome.missing:
            raise AskAgain(f"recorded; {outcome.missing} more must approve, so it is asked again")
        self.log.info("recorded: the release is %s", outcome.state)


def _left_behind(operator: ReleaseApproval, ledger: Ledger, rules: Rules, caller: AskingTask) -> bool:
    """Record an answer that an attempt before this one was given and did not live to record; True if there was one.

    Airflow kills an attempt that is answered in the very second in which it began to wait.
    """
    from caravan_airflow.release import answers
    from caravan_airflow.service import Service

    with Service.of(here()) as service:
        if not answers.unrecorded(ledger, service, caller):
            return False
        try:
            answers.take(ledger, rules, service, caller)
        except NotApproved as refused:
            operator.log.warning("%s", refused)
    return True


def _note(operator: ReleaseApproval, context: Context, text: str) -> None:
    from caravan_airflow.release import answers
    from caravan_airflow.service import Service

    operator.log.info("%s", text)
    try:
        with Service.of(here()) as service:
            service.note(str(context["ti"].run_id), answers.TASK, text)
    except CaravanError as error:
        operator.log.warning("the note could not be left: %s", error)


def _form(digest: str) -> ParamsDict:
    """Make the form that a person fills in beside the choice."""
    return ParamsDict(
        {
            "digest": Param(
                digest[:12],
                type="string",
                minLength=12,
                maxLength=64,
                title="Digest",
                description="The release that you looked at: at least 12 digits of its digest.",
            ),
            "reason": Param(
                "",
                type="string",
                minLength=1,
                maxLength=1000,
                title="Reason",
                description="Why, in a few words; it is kept with your name.",
            ),
        }
    )
