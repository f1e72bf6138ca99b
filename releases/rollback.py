"""Goes back to the release before: one transaction, and no approval, because that release had one when it came.

It also stops a release in progress, which has not become champion yet.

The former champion is warm on an engine of its own, so shoppers reach it by a change of weights; the controller makes
that change, and `releases.rollout.routing_wait` waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from artifacts.ledger import CurrentRelease, Ledger, Move, PlannedMove
from contracts.errors import Conflict, IllegalMove, NotFound
from contracts.release import IN_FLIGHT, State
from releases.served_shop import find_foreign
from releases.text import reason_given

#: How often the controller may move a release while we stop it, before we give up.
STOP_TRIES = 5
#: Within this time a second rollback is taken for a second press of the same button.
JUST_NOW = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """What a rollback would do: from which champion to which release, and which ones in progress are stopped."""

    source: str
    champion: str | None
    former: str
    in_progress: tuple[CurrentRelease, ...] = ()


def foresee(ledger: Ledger, source: str) -> RollbackPlan:
    """Plan what `rollback` would do now. Raises NotFound if no former champion is there to come back.

    Raises IllegalMove for another shop than the one that serves: its shoppers would get the other's items.
    """
    if (found := find_foreign(ledger, source, source)) is not None:
        raise IllegalMove(f"not rolled back: {found[0]}", remedy=found[1])
    releases = ledger.releases(source, among=("champion", "retired", *IN_FLIGHT))
    champion = next((p.digest for p in releases if p.state == "champion"), None)
    former = next((p.digest for p in releases if p.state == "retired"), None)
    moving = tuple(p for p in releases if p.state in IN_FLIGHT)
    if former is None:
        serves = f"{champion[:12]} serves" if champion else "none serves"
        gone = sorted(
            {m.digest[:12] for m in ledger.history(source) if m.from_state == "champion"} - {str(champion)[:12]}
        )
        serves += f", and what served before was rolled back: {', '.join(gone)}" if gone else ", and none served before"
        stop = f"`caravan release stop {moving[0].digest[:12]}` stops the one in progress; else " if moving else ""
        raise NotFound(
            f"no release of {source} can come back: {serves}",
            remedy=f"{stop}name another shop with --source, or let a new release in: `caravan release emergency`",
        )
    return RollbackPlan(source=source, champion=champion, former=former, in_progress=moving)


def just_now(ledger: Ledger, source: str, *, now: datetime | None = None) -> Move | None:
    """Find the rollback that made the present champion a moment ago, or None: two people may press at once."""
    last = ledger.newest("champion", source=source)
    at = now or datetime.now(UTC)
    return last if last and last.evidence.get("rollback") and at - last.at < JUST_NOW else None


def rollback(
    ledger: Ledger, source: str, *, person: str, reason: str, plan: RollbackPlan | None = None,
    now: datetime | None = None,
) -> Move:  # fmt: skip
    """Make the release before champion again, after stopping what is in progress. `plan`: as it was shown.

    Raises Conflict if the champion changes meanwhile: the person looked at what no longer serves.
    """
    at, reason = now or datetime.now(UTC), reason_given(reason)
    plan = plan or foresee(ledger, source)
    for release in plan.in_progress:
        _stop(ledger, source, release.digest, person=person, reason=f"rollback: {reason}", at=at)
    present = foresee(ledger, source)
    if (present.champion, present.former) != (plan.champion, plan.former):
        raise Conflict(
            f"the champion of {source} changed meanwhile: it is {(present.champion or 'none')[:12]} now",
            remedy="look at `caravan release history`, and decide again",
        )
    planned = PlannedMove(
        source=source, digest=plan.former, to="champion", expected="retired", former="rolled_back", actor=person,
        reason=reason, evidence={"rollback": True, "from": plan.champion}, at=at,
    )  # fmt: skip
    return ledger.move(planned)


def stop(ledger: Ledger, source: str, digest: str, *, person: str, reason: str, now: datetime | None = None) -> Move:
    """Stop a release in progress; the controller takes its shoppers away at its next look.

    Raises IllegalMove if it is not in progress. It comes back only with a new approval.
    """
    move = _stop(ledger, source, digest, person=person, reason=reason_given(reason), at=now or datetime.now(UTC))
    if move is None:
        raise _not_in_progress(digest, ledger.state(source, digest))
    return move


def stoppable(ledger: Ledger, source: str, digest: str) -> State:
    """Return the state of a release that `stop` would stop. Raises IllegalMove if it is not in progress."""
    state = ledger.state(source, digest)
    if state not in IN_FLIGHT:
        raise _not_in_progress(digest, state)
    return state


def _not_in_progress(digest: str, state: State | None) -> IllegalMove:
    remedy = "no shopper meets it; `caravan release list` shows where each one is"
    if state == "champion":
        remedy = "it serves all shoppers: `caravan release rollback` brings the one before it back"
    elif state == "gated":
        remedy = f"it waits for an answer: `caravan release reject {digest[:12]}` says no to it"
    return IllegalMove(f"release {digest[:12]} is {state or 'not in the ledger'}: it is not in progress", remedy=remedy)


def _stop(ledger: Ledger, source: str, digest: str, *, person: str, reason: str, at: datetime) -> Move | None:
    """Stop one release, though the controller may be moving it; None if it is no longer in progress."""
    for _ in range(STOP_TRIES):
        state = ledger.state(source, digest)
        if state not in IN_FLIGHT:
            return None
        try:
            planned = PlannedMove(
                source=source, digest=digest, to="rolled_back", expected=state, actor=person, reason=reason, at=at
            )
            return ledger.move(planned)
        except Conflict as error:
            if ledger.state(source, digest) == state:  # it was not moved: the epoch is over
                raise error
    raise Conflict(f"release {digest[:12]} moves faster than it can be stopped", remedy="try again")
