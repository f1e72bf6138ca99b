"""Decides what becomes of a release that has had a step's whole time and not proven itself: a person is asked.

By the policy's `overdue` it is asked about, goes back, or is held. One that is asked about or held gives way to a newer
approved release of its shop. An answer is `extend`, which gives it more time, or `releases.rollback.stop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from artifacts.ledger import CurrentRelease, Ledger, Move
from contracts.errors import IllegalMove, SettingsError
from contracts.release import CANARY_STEPS, State
from contracts.settings import Settings
from monitoring import alerts
from monitoring.canary_policy import Overdue
from releases.text import reason_given

#: States in which a release may be overdue.
TIMED: tuple[State, ...] = ("shadow", *CANARY_STEPS)
ASKER = "controller"


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """A release past its step's maximum time. Seconds since 1970; `lacking`: the counts that are missing, in words."""

    release: CurrentRelease
    entered: float
    now: float
    lacking: str
    evidence: dict[str, Any]

    def say(self) -> str:
        return f"after {self.now - self.entered:.0f} s in this step there is no verdict: {self.lacking}"


def settle(s: Settings, ledger: Ledger, rule: Overdue, late: Lateness) -> str | None:
    """Return why the release goes back, or None when it stays where it is; ask people about it once, where it is due.

    Asked again when an extension is over.
    """
    if rule == "rollback":
        return late.say()
    newer = _newer_approved(ledger, late.release)
    if newer is not None:
        return f"it gives way to {newer.digest[:12]}, which was approved after it; {late.say()}"
    if rule == "ask" and _is_due(ledger, late):
        _ask(s, ledger, late)
    return None


def extend(
    ledger: Ledger, source: str, digest: str, *, until: datetime, person: str, reason: str, now: datetime | None = None
) -> Move:
    """Give a release in its shadow or canary more time before people are asked again.

    Raises IllegalMove when it is in neither, SettingsError for a time that is over.
    """
    at, reason = now or datetime.now(UTC), reason_given(reason)
    state = ledger.state(source, digest)
    if state not in TIMED:
        raise IllegalMove(
            f"release {digest[:12]} is {state or 'not in the ledger'}: it has no step that could take longer",
            remedy="`caravan release list` shows where each one is",
        )
    if until <= at:
        raise SettingsError(f"{until.isoformat()} is over", remedy="name a time to come")
    evidence = {"until": until.isoformat(), "state": state}
    return ledger.note(source, digest, "extended", actor=person, reason=reason, evidence=evidence, now=at)


def what_to_do(digest: str) -> str:
    """Name the commands that answer."""
    short = digest[:12]
    return (
        f"`caravan release extend {short} --until 1d --reason …` gives it more time, `caravan release stop {short} "
        "--reason …` ends it; a newer release that is approved takes its place"
    )


def _is_due(ledger: Ledger, late: Lateness) -> bool:
    """Say whether people are to be asked now: not yet in this step, or not since an extension that is over."""
    release = late.release
    said = ledger.newest("overdue", "extended", source=release.source, digest=release.digest)
    if said is None or said.at.timestamp() < late.entered:
        return True
    return said.to_state == "extended" and late.now >= datetime.fromisoformat(said.evidence["until"]).timestamp()


def _ask(s: Settings, ledger: Ledger, late: Lateness) -> None:
    release, at = late.release, datetime.fromtimestamp(late.now, UTC)
    ledger.note(
        release.source, release.digest, "overdue", actor=ASKER, reason=f"{late.say()}; {what_to_do(release.digest)}",
        evidence=late.evidence, now=at,
    )  # fmt: skip
    text = (
        f"release {release.digest[:12]} of {release.source} stays in {release.state}: {late.say()}; "
        f"{what_to_do(release.digest)}"
    )
    alerts.tell(s, part="releases", severity="warning", text=text, now=at)


def _newer_approved(ledger: Ledger, release: CurrentRelease) -> CurrentRelease | None:
    """Find the release of the same shop that waits with an approval given after that of `release`."""
    mine = ledger.newest("approved", source=release.source, digest=release.digest)
    among: tuple[State, ...] = ("approved",)
    waiting = ledger.releases(release.source, among=among)
    return next((other for other in waiting if mine is None or other.sequence > mine.sequence), None)
