"""Lets a release go on without the waiting, for two named reviewers: an emergency release.

What is skipped is time: minimum exposures and the proof at the end. What is never skipped: the signature, the canary's
ABORT, and the record. An alert informs everybody else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from artifacts.ledger import Ledger, Move, PlannedMove
from contracts.errors import Conflict, NotApproved, NotFound
from contracts.settings import Settings
from monitoring import alerts
from releases.approval import approval
from releases.approval.approval import ApprovalAnswer, Rules
from releases.text import reason_given


@dataclass(frozen=True, kw_only=True)
class EmergencyRequest:
    """Two people want a release to go on without the waiting; `named` is what they gave of its digest."""

    source: str
    digest: str
    people: tuple[str, str]
    reason: str
    named: str = ""

    def answer_of(self, person: str) -> ApprovalAnswer:
        return ApprovalAnswer(
            source=self.source, digest=self.digest, named=self.named or self.digest, person=person,
            door="command line", approves=True, reason=self.reason,
        )  # fmt: skip


def objection(
    ledger: Ledger, rules: Rules, wanted: EmergencyRequest, *, now: datetime | None = None
) -> tuple[str, str] | None:
    """Say why this emergency release could not be let through now, and what to do; None if it could.

    Changes nothing.
    """
    people = wanted.people
    if people[0] == people[1]:
        return f"{people[0]} is one person", "an emergency release takes two different reviewers"
    # two different people: so the author may be one of them, and is not the only one
    alone = replace(rules, required=1)
    for person in people:
        found = approval.objection(ledger, alone, wanted.answer_of(person), now=now)
        if found is not None:
            return found
    known = approval.counted(ledger, rules, wanted.source, wanted.digest)
    if (count := len({*people, *known})) < rules.required:
        return f"{count} of {rules.required} people", "the setting approvers_required asks for more: approve it first"
    return None


def approve(
    s: Settings, ledger: Ledger, rules: Rules, wanted: EmergencyRequest, *, now: datetime | None = None
) -> Move:
    """Approve a release in the name of two signed-in people; NotApproved, recorded, when they may not."""
    at, wanted = now or datetime.now(UTC), replace(wanted, reason=reason_given(wanted.reason))
    source, digest, people, reason = wanted.source, wanted.digest, wanted.people, wanted.reason
    state = ledger.state(source, digest)
    if state is None:
        raise NotFound(f"no release {digest[:12]} of {source}", remedy="`caravan release list` shows them")
    found = objection(ledger, rules, wanted, now=at)
    if found is not None:
        approval.refuse(ledger, wanted.answer_of(" and ".join(people)), f"emergency: {found[0]}", now=at)
        raise NotApproved(f"not taken: {found[0]}", remedy=found[1])
    about = {"approval": True, "door": "command line", "digest": digest, "emergency": True}
    known = approval.counted(ledger, rules, source, digest)
    for person in people:
        if person not in known:
            ledger.note(source, digest, "approval", actor=person, reason=reason, evidence=about, now=at)
    try:
        planned = PlannedMove(
            source=source, digest=digest, to="approved", expected=state, actor=" and ".join(people), reason=reason,
            evidence={**about, "approvers": list(people)}, at=at,
        )  # fmt: skip
        moved = ledger.move(planned)
    except Conflict as error:
        raise Conflict(error.what, remedy="somebody else answered at this moment; look at it again") from error
    text = f"emergency release {digest[:12]} of {source}, by {people[0]} and {people[1]}: {reason}"
    alerts.tell(s, part="releases", severity="critical", text=text, now=at)
    return moved
