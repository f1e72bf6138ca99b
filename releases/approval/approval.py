"""Lets a release go on: takes answers of signed-in people, each bound to one digest, and keeps them in the ledger.

Every door (Airflow's required actions, the MLflow registry, the command line) ends in `answer`, which records an answer
or refuses it; a refusal is a row of the ledger too. `recheck` is asked again before shoppers meet the release: a state
that was set without enough answers behind it counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from artifacts.ledger import Ledger, Move, PlannedMove
from contracts.errors import Conflict, NotApproved, NotFound
from contracts.release import DIGEST, State
from contracts.settings import Settings
from contracts.text import one_line
from releases.served_shop import find_foreign
from releases.text import LONGEST_REASON

Door = Literal["airflow", "mlflow", "command line"]
#: States in which an answer is awaited: after the gate, and after a rollback.
AWAITING: tuple[State, ...] = ("gated", "rolled_back")
#: Digits of a digest that a person must name at least.
SHORTEST_DIGEST = 12
#: How many different people an emergency release takes, where `approvers_required` asks for fewer.
EMERGENCY_APPROVERS = 2


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Who may answer, how many must, how long an answer is awaited, and the setting of the shop that is served.

    Without a `shop` releases of all shops may be approved: for tests; every door uses `of`.
    """

    reviewers: frozenset[str]
    required: int = 1
    timeout: timedelta = timedelta(days=1)
    shop: str = ""

    @classmethod
    def of(cls, s: Settings) -> Rules:
        names = frozenset(name.strip() for name in s.reviewers.split(",") if name.strip())
        timeout = timedelta(seconds=s.approval_timeout)
        return cls(reviewers=names, required=s.approvers_required, timeout=timeout, shop=s.shop)


@dataclass(frozen=True, kw_only=True)
class ApprovalAnswer:
    """What a person said, and where. `named` is the digest, or its beginning, that the person saw and named."""

    source: str
    digest: str
    named: str
    person: str
    door: Door
    approves: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class ApprovalOutcome:
    """What came of an answer: the state now, and how many more people must approve."""

    state: State
    missing: int = 0


def ask(ledger: Ledger, rules: Rules, source: str, digest: str, *, actor: str, now: datetime | None = None) -> Move:
    """Record that people were asked about a release, and until when; a request that still runs stays as it is.

    Raises NotApproved if the time of a gated release is over: no answer was a no, even if that is noticed only now.
    After a rollback people may be asked as often as one likes.
    """
    at = now or datetime.now(UTC)
    open_since = _asked(ledger, source, digest)
    if open_since is not None and at < _until(open_since, rules):
        return open_since
    if expire(ledger, rules, source, digest, now=at) and ledger.state(source, digest) == "rejected":
        raise NotApproved(
            f"release {digest[:12]} does not go on: {unsettled(ledger, rules, source, digest)}",
            remedy="it is rejected for good: offer a newer one",
        )
    until = (at + rules.timeout).isoformat()
    evidence = {"until": until, "required": rules.required, "reviewers": sorted(rules.reviewers)}
    return ledger.note(source, digest, "asked", actor=actor, reason="approval requested", evidence=evidence, now=at)


def answer(ledger: Ledger, rules: Rules, given: ApprovalAnswer, *, now: datetime | None = None) -> ApprovalOutcome:
    """Take a person's answer. Raises NotApproved if it may not count, NotFound for an unknown release.

    An approval that completes the required number moves the release to `approved`; a rejection moves it to `rejected`.
    """
    at = now or datetime.now(UTC)
    state = ledger.state(given.source, given.digest)
    if state is None:
        raise NotFound(f"no release {given.digest[:12]} of {given.source}", remedy="`caravan release list` shows them")
    given = replace(given, reason=one_line(given.reason)[:LONGEST_REASON])
    _refuse_unless_usable(ledger, rules, given, at)
    evidence = {"approval": given.approves, "door": given.door, "digest": given.digest}
    if not given.approves:
        ledger.note(
            given.source, given.digest, "approval", actor=given.person, reason=given.reason, evidence=evidence, now=at
        )
        if state == "gated":
            _move(ledger, given, state, to="rejected", evidence=evidence, at=at)
        return ApprovalOutcome(state=ledger.state(given.source, given.digest) or state)
    if given.person not in counted(ledger, rules, given.source, given.digest):
        ledger.note(
            given.source, given.digest, "approval", actor=given.person, reason=given.reason, evidence=evidence, now=at
        )
    people = counted(ledger, rules, given.source, given.digest)
    if len(people) < rules.required:
        return ApprovalOutcome(state=state, missing=rules.required - len(people))
    _move(ledger, given, state, to="approved", evidence={**evidence, "approvers": people}, at=at)
    return ApprovalOutcome(state=ledger.state(given.source, given.digest) or state)


def expire(ledger: Ledger, rules: Rules, source: str, digest: str, *, now: datetime | None = None) -> bool:
    """Reject a release whose request ran out; True when it did. No answer is not a yes."""
    at = now or datetime.now(UTC)
    asked, state = _asked(ledger, source, digest), ledger.state(source, digest)
    if state not in AWAITING or asked is None or at < _until(asked, rules):
        return False
    if state == "gated":
        reason = unsettled(ledger, rules, source, digest)
        try:
            planned = PlannedMove(
                source=source, digest=digest, to="rejected", expected="gated", actor="timeout", reason=reason, at=at
            )
            ledger.move(planned)
        except Conflict:  # an answer at the last moment, or another look at the clock, was faster
            return ledger.state(source, digest) == "rejected"
    return True


def unsettled(ledger: Ledger, rules: Rules, source: str, digest: str) -> str:
    """Say what had come of the newest request when its time was over."""
    asked = _asked(ledger, source, digest)
    if asked is None:
        return "nobody was asked"
    by = f"by {_until(asked, rules):%Y-%m-%d %H:%M} UTC"
    since = [move for move in ledger.history(source, digest) if move.sequence > asked.sequence]
    said = [move for move in since if move.to_state == "approval"]
    yes = counted(ledger, rules, source, digest)
    no = sorted({move.actor for move in said if not move.evidence.get("approval")} - set(yes))
    refused = sum(move.to_state == "refused" for move in since)
    if not (said or yes or refused):
        return f"nobody answered {by}"
    parts = [f"{len(yes)} of {rules.required} approvals {by}" + (f", of {', '.join(yes)}" if yes else "")]
    parts += [f"no from {', '.join(no)}"] if no else []
    parts += [f"answers not counted: {refused}"] if refused else []
    return "; ".join(parts)


def approvers(ledger: Ledger, source: str, digest: str) -> list[str]:
    """List who approved this release since it last came to a state in which answers are awaited; first answer first.

    Who rejects it later no longer approves it.
    """
    people: list[str] = []
    for move in ledger.history(source, digest):
        if move.to_state in AWAITING:
            people = []
        elif move.to_state == "approval" and move.actor in people:
            if not move.evidence.get("approval"):
                people.remove(move.actor)
        elif move.to_state == "approval" and move.evidence.get("approval"):
            people.append(move.actor)
    return people


def counted(ledger: Ledger, rules: Rules, source: str, digest: str) -> list[str]:
    """List the approvers who are still reviewers."""
    return [person for person in approvers(ledger, source, digest) if person in rules.reviewers]


def recheck(ledger: Ledger, rules: Rules, source: str, digest: str) -> None:
    """Raise NotApproved unless enough reviewers approved this very digest. Asked before a release meets shoppers.

    Raises it too for a release of another shop than the region serves.
    """
    if rules.shop and (foreign := find_foreign(ledger, rules.shop, source)) is not None:
        raise NotApproved(foreign[0], remedy=foreign[1])
    moved = ledger.newest("approved", source=source, digest=digest)
    came = ledger.newest(*AWAITING, source=source, digest=digest)
    if moved is not None and came is not None and came.sequence > moved.sequence:
        moved = None  # it was rolled back since: its former approval is used up
    if moved is not None and moved.evidence.get("first_release") and not _served_before(ledger, source, digest):
        return
    people = counted(ledger, rules, source, digest)
    emergency = moved is not None and moved.evidence.get("emergency")
    needed = max(rules.required, EMERGENCY_APPROVERS) if emergency else rules.required
    if moved is None or len(people) < needed:
        raise NotApproved(
            f"release {digest[:12]} has {len(people)} of {needed} approvals",
            remedy=f"`caravan release approve {digest[:12]}`, signed in as a reviewer",
        )


def _served_before(ledger: Ledger, source: str, digest: str) -> bool:
    """Say whether another release was champion before this one ever was: then this one is not the first."""
    first = next((move for move in ledger.history() if move.to_state == "champion"), None)
    return first is not None and (first.source, first.digest) != (source, digest)


def author(ledger: Ledger, source: str, digest: str) -> str:
    """Return who had the release made: the person who started the run, or the schedule."""
    built = ledger.newest("built", source=source, digest=digest)
    return str(built.evidence.get("author") or built.actor) if built else ""


def objection(
    ledger: Ledger, rules: Rules, given: ApprovalAnswer, *, now: datetime | None = None
) -> tuple[str, str] | None:
    """Say why this answer could not be taken now, and what to do about it; None if it could. Changes nothing."""
    at, state = now or datetime.now(UTC), ledger.state(given.source, given.digest)
    named, asked = given.named.strip().lower(), _asked(ledger, given.source, given.digest)
    before = counted(ledger, rules, given.source, given.digest)
    if given.person not in rules.reviewers:
        return f"{given.person or 'nobody'} is no reviewer", "ask one of: " + ", ".join(sorted(rules.reviewers))
    if not DIGEST.match(given.digest) or len(named) < SHORTEST_DIGEST or not given.digest.startswith(named):
        about = one_line(named)[:SHORTEST_DIGEST] or "no digest"
        return (
            f"the answer is about {about}, the request about {given.digest[:SHORTEST_DIGEST]}",
            f"name at least {SHORTEST_DIGEST} digits of the digest you looked at",
        )
    if given.approves and rules.shop and (foreign := find_foreign(ledger, rules.shop, given.source)) is not None:
        return foreign
    if not one_line(given.reason):
        return "an answer needs a reason", "say in a few words why"
    if state not in AWAITING:
        return f"the release is {state}; no answer is awaited", "`caravan release show` tells its story"
    if asked is not None and at >= _until(asked, rules):
        again = "ask again with a run of `release`" if state == "rolled_back" else "offer a newer release"
        return "the answer came after the time to answer was over", again
    made_by = author(ledger, given.source, given.digest)
    if given.approves and rules.required > 1 and given.person == made_by and not before:
        return f"{given.person} made this release and cannot be the first to approve it", "ask another reviewer"
    return None


def _refuse_unless_usable(ledger: Ledger, rules: Rules, given: ApprovalAnswer, at: datetime) -> None:
    found = objection(ledger, rules, given, now=at)
    if found is None:
        return
    expire(ledger, rules, given.source, given.digest, now=at)
    refuse(ledger, given, found[0], now=at)
    raise NotApproved(f"not taken: {found[0]}", remedy=found[1])


def refuse(ledger: Ledger, given: ApprovalAnswer, why: str, *, now: datetime | None = None) -> None:
    """Record an answer that does not count, and why."""
    evidence: dict[str, Any] = {
        "door": given.door, "named": one_line(given.named)[:64], "approval": given.approves,
        "reason": one_line(given.reason)[:500],
    }  # fmt: skip
    person, why = one_line(given.person)[:128] or "unknown", one_line(why)
    ledger.note(given.source, given.digest, "refused", actor=person, reason=why, evidence=evidence, now=now)


def _until(asked: Move, rules: Rules) -> datetime:
    """Return the end of the time to answer, as people were shown it."""
    until = asked.evidence.get("until")
    return datetime.fromisoformat(str(until)) if until else asked.at + rules.timeout


def _asked(ledger: Ledger, source: str, digest: str) -> Move | None:
    """Find the newest request about this release since it came to where it is."""
    asked = ledger.newest("asked", source=source, digest=digest)
    came = ledger.newest(*AWAITING, source=source, digest=digest)
    return asked if asked is not None and came is not None and asked.sequence > came.sequence else None


def _move(
    ledger: Ledger, given: ApprovalAnswer, state: State, *, to: State, evidence: dict[str, Any], at: datetime
) -> None:
    try:
        planned = PlannedMove(
            source=given.source, digest=given.digest, to=to, expected=state, actor=given.person, reason=given.reason,
            evidence=evidence, at=at,
        )  # fmt: skip
        ledger.move(planned)
    except Conflict:
        if ledger.state(given.source, given.digest) != to:  # another answer was faster, and said otherwise
            raise
