"""Switches all shoppers of a region to another shop at once, answered for by two reviewers, and back again.

There is no canary between two shops: nothing of the one can be compared with the other. A shop that has a champion
serves at the controller's next look; of another one the release that was gated last is approved with the switch, and
serves as soon as its engine is ready. The shop before keeps its champion, so the way back is the same command.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from artifacts.ledger import CurrentRelease, Ledger, Move, PlannedMove
from contracts.errors import NotApproved, NotFound
from contracts.release import IN_FLIGHT, State
from contracts.settings import Settings
from monitoring import alerts
from releases.approval import approval
from releases.approval.approval import AWAITING, EMERGENCY_APPROVERS, Rules
from releases.rollback import stop
from releases.served_shop import permitted_shop, serving_source
from releases.text import reason_given


@dataclass(frozen=True, kw_only=True)
class ShopSwitch:
    """What a switch would do. `release`: what shoppers get; `state`: champion (at once), or where it waits for a yes.

    `before`: the shop that serves now; `stopped`: releases of other shops that are in progress.
    """

    source: str
    before: str | None
    release: str
    state: State
    stopped: tuple[CurrentRelease, ...] = ()

    @property
    def is_done(self) -> bool:
        return self.before == self.source


def foresee(ledger: Ledger, shop: str, source: str) -> ShopSwitch:
    """Plan a switch to `source`; `shop` is the setting. Raises NotFound when the shop has no release to serve."""
    known = ledger.releases(source, among=("champion", "approved", *AWAITING))
    order: tuple[State, ...] = ("champion", "approved", *AWAITING)
    release = min(known, key=lambda r: (order.index(r.state), -r.sequence), default=None)
    if release is None:
        raise NotFound(
            f"{source} has no release that could serve",
            remedy=f"`caravan nightly --source {source}` makes one",
        )
    serving = serving_source(ledger)
    before = serving or (source if permitted_shop(ledger, shop) == source else None)
    stopped = tuple(r for r in ledger.releases(among=IN_FLIGHT) if r.source != source)
    return ShopSwitch(source=source, before=before, release=release.digest, state=release.state, stopped=stopped)


def objection(rules: Rules, people: tuple[str, ...]) -> tuple[str, str] | None:
    """Say why these people cannot answer for a switch, and what to do; None if they can."""
    needed = max(rules.required, EMERGENCY_APPROVERS)
    if len(set(people)) < needed:
        named = " and ".join(sorted(set(people))) or "nobody"
        return f"{named} is not enough: a switch takes {needed} different reviewers", "name each with --as and --and"
    for person in people:
        if person not in rules.reviewers:
            return f"{person} is no reviewer", "ask one of: " + ", ".join(sorted(rules.reviewers))
    return None


def switch(
    s: Settings, ledger: Ledger, rules: Rules, planned: ShopSwitch, *, people: tuple[str, ...], reason: str,
    now: datetime | None = None,
) -> Move:  # fmt: skip
    """Let the region serve another shop, in the name of signed-in people. Raises NotApproved if they may not answer.

    A refusal is recorded. Interrupted anywhere it is done again: a row that is there already is not written twice.
    """
    at, reason = now or datetime.now(UTC), reason_given(reason)
    who, source = " and ".join(dict.fromkeys(people)), planned.source
    if (found := objection(rules, people)) is not None:
        ledger.note(
            source, planned.release, "refused", actor=who[:128] or "nobody", reason=f"switch: {found[0]}", now=at
        )
        raise NotApproved(f"not taken: {found[0]}", remedy=found[1])
    last = ledger.newest("serves")
    if last is not None and last.source == source and serving_source(ledger) != source:
        moved = last
    else:
        evidence = {"from": planned.before, "people": list(people), "switch": True}
        moved = ledger.note(source, planned.release, "serves", actor=who, reason=reason, evidence=evidence, now=at)
        text = f"all shoppers of {s.region} go from {planned.before or 'no shop'} to {source}, by {who}: {reason}"
        alerts.tell(s, part="releases", severity="critical", text=text, now=at)
    for other in planned.stopped:
        stop(ledger, other.source, other.digest, person=who, reason=f"the region serves {source} now: {reason}", now=at)
    if planned.state in AWAITING:
        _approve(ledger, rules, planned, people, reason, at)
    return moved


def _approve(
    ledger: Ledger, rules: Rules, planned: ShopSwitch, people: tuple[str, ...], reason: str, at: datetime
) -> None:
    source, digest = planned.source, planned.release
    about = {"approval": True, "door": "command line", "digest": digest, "switch": True}
    for person in people:
        if person not in approval.counted(ledger, rules, source, digest):
            ledger.note(source, digest, "approval", actor=person, reason=reason, evidence=about, now=at)
    move = PlannedMove(
        source=source, digest=digest, to="approved", expected=planned.state, actor=" and ".join(people), reason=reason,
        evidence={**about, "approvers": list(people)}, at=at,
    )  # fmt: skip
    ledger.move(move)
