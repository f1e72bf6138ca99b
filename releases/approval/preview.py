"""Foresees what a person's answer about a release would do, and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.ledger import Ledger
from contracts.release import State
from releases.approval import approval
from releases.approval.approval import ApprovalAnswer, ApprovalOutcome, Rules


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What an answer would do now: it is taken with an outcome, or, without one, refused with an objection."""

    before: State | None
    objection: tuple[str, str] | None = None  # why, and what to do about it
    approvers: tuple[str, ...] = ()  # counted so far, first answer first
    approvers_after: tuple[str, ...] = ()
    outcome: ApprovalOutcome | None = None
    rows: int = 0  # that the ledger would gain


def preview(ledger: Ledger, rules: Rules, given: ApprovalAnswer) -> Preview:
    """Foresee `approval.answer` for a release that the ledger knows."""
    before = ledger.state(given.source, given.digest)
    objection = approval.objection(ledger, rules, given)
    if before is None or objection is not None:
        return Preview(before=before, objection=objection)
    approvers = tuple(approval.counted(ledger, rules, given.source, given.digest))
    new = given.person not in approvers
    after = (*approvers, given.person) if given.approves and new else approvers
    missing = max(0, rules.required - len(after)) if given.approves else 0
    state = before
    if given.approves and not missing:
        state = "approved"
    elif not given.approves and before == "gated":
        state = "rejected"
    answers = int(new or not given.approves)
    return Preview(
        before=before, approvers=approvers, approvers_after=after, rows=answers + (state != before),
        outcome=ApprovalOutcome(state=state, missing=missing),
    )  # fmt: skip
