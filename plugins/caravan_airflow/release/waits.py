"""Waits, as a task, until a release has passed a step, and logs what the ledger says. It moves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from contracts.errors import NotApproved, ReleaseError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from artifacts.ledger import Move
    from contracts.release import State


class LedgerWait(BaseOperator):
    """Succeeds when the release has gone beyond `step`, is skipped when it never was there, fails when it stopped.

    The event that wakes it up is not believed: the ledger is read again.
    """

    ui_color = "#e6f1ff"

    def __init__(self, *, step: State, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> str:
        from artifacts.ledger import Ledger
        from caravan_airflow.active import here
        from releases import progress

        source, digest = str(context["params"]["source"]), str(context["params"]["digest"])
        ledger = Ledger.of(here())
        if self.step == "approved":
            _expire(ledger, source, digest)
        found = progress.read_progress(ledger.history(source, digest), self.step)
        if found.outcome == "waiting":
            self._wait(source, digest, progress.now_at(ledger, source, digest, here()))
        self.log.info("%s", progress.says(found.move) if found.move else "the ledger does not know this release")
        if found.move and (evidence := progress.evidence(found.move)):
            self.log.info("evidence: %s", evidence)
        if found.outcome == "skipped":
            from airflow.sdk.exceptions import AirflowSkipException

            raise AirflowSkipException(f"the release went past {self.step}")
        if found.outcome == "stopped":
            raise stopped(digest, found.move)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"source": source, "digest": digest}
        return digest

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        if event.get("outcome") == "silence":
            raise ReleaseError("the ledger did not answer for long", remedy="`caravan status`, then clear this task")
        return self.execute(context)

    def _wait(self, source: str, digest: str, line: str) -> None:
        from caravan_airflow.triggers import LedgerTrigger

        self.log.info("waiting: %s", line)
        self.defer(trigger=LedgerTrigger(source, digest, self.step), method_name="execute_complete")


def stopped(digest: str, move: Move | None) -> ReleaseError:
    """Make the error of a release that will not go on, with the ledger's words and the guardrail, if one is named."""
    from releases.progress import says

    if move is None:
        return ReleaseError(f"release {digest[:12]} is not in the ledger", remedy="`caravan release list`")
    if move.to_state == "rolled_back":
        return ReleaseError(
            f"release {digest[:12]} was rolled back: {says(move)}",
            remedy="`caravan release show` has the evidence; it returns only with a new approval",
        )
    return NotApproved(
        f"release {digest[:12]} was not approved: {says(move)}",
        remedy="nothing changes for shoppers, and nothing is due",
    )


def _expire(ledger: Any, source: str, digest: str) -> None:
    from caravan_airflow.active import here
    from releases.approval.approval import Rules, expire

    expire(ledger, Rules.of(here()), source, digest)
