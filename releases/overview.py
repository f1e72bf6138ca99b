"""Collects everything about the release in progress: from ledger, memory, edge and engines; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from artifacts.ledger import CurrentRelease, Ledger, Move
from contracts.errors import SettingsError
from contracts.release import IN_FLIGHT, NOTES
from contracts.settings import Settings
from monitoring.canary_policy import CanaryPolicy, policy_named, without_waiting
from releases.approval.approval import AWAITING
from releases.rollout import canary_record
from releases.rollout.canary_record import Memory
from releases.rollout.deployed import release_in_progress
from releases.rollout.freeze import frozen
from releases.rollout.region import EngineReadiness, Region
from releases.rollout.routing_wait import Beat, last_beat
from releases.served_shop import permitted_shop
from serving.edge.edge import TrafficSplit

#: A release that came to its end is shown for so long, if no other is in progress.
SHOWN_AFTERWARDS = timedelta(hours=12)
#: Last moves that are shown.
SHOWN_MOVES = 6


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The release that is looked at. `since`: when it came to its state; `over`: it is no longer in progress."""

    release: CurrentRelease
    since: datetime
    why: str
    over: bool = False
    emergency: bool = False
    known: Memory | None = None
    policy: CanaryPolicy | None = None

    @property
    def verdict(self) -> dict[str, Any]:
        return (self.known.verdict or {}) if self.known else {}

    def gained(self) -> int:
        """Count the shoppers that the smaller arm has gained in this step."""
        state = self.known.canary if self.known else None
        if state is None:
            return 0
        arms = []
        for side, before in zip(("control", "canary"), state.shoppers_at_step, strict=True):
            exposed = max((e.get(f"{side}_shoppers") or 0 for e in self.verdict.get("guardrails", ())), default=0)
            arms.append(exposed - before)
        return max(0, int(min(arms)))


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One look at a region."""

    at: datetime
    region: str
    source: str
    champion: str | None
    former: str | None
    split: TrafficSplit | None
    engines: Mapping[str, EngineReadiness]
    beat: Beat | None
    frozen: Move | None
    subject: Subject | None
    moves: Sequence[Move]


def gather_overview(
    s: Settings, ledger: Ledger, database: Engine, region: Region, *, source: str = "", now: datetime | None = None
) -> Overview:
    """Look once. Without `source`: at the release that the controller moves, else at the shop that serves."""
    at = now or datetime.now(UTC)
    candidate = release_in_progress(ledger, source or None)
    if not source:
        source = candidate.source if candidate else permitted_shop(ledger, s.shop)
    releases = ledger.releases(source)
    subject = _subject(ledger, database, candidate or (releases[0] if releases else None), at)
    champion = next((p.digest for p in releases if p.state == "champion"), None)
    story = ledger.history(source, subject.release.digest if subject else champion) if subject or champion else []
    return Overview(
        at=at,
        region=s.region,
        source=source,
        champion=champion,
        former=next((p.digest for p in releases if p.state == "retired"), None),
        split=region.split(),
        engines=region.readiness(),
        beat=last_beat(s),
        frozen=frozen(ledger, now=at),
        subject=subject,
        moves=story[-SHOWN_MOVES:],
    )


def _subject(ledger: Ledger, database: Engine, release: CurrentRelease | None, at: datetime) -> Subject | None:
    if release is None:
        return None
    came = ledger.newest(release.state, source=release.source, digest=release.digest)
    over = release.state not in IN_FLIGHT
    if came is None or (over and at - came.at > SHOWN_AFTERWARDS):
        return None
    approved = ledger.newest("approved", source=release.source, digest=release.digest)
    emergency = bool(approved and approved.evidence.get("emergency"))
    known = canary_record.load(database, release.source, release.digest)
    return Subject(
        release=release, since=came.at, why=came.reason, over=over, emergency=emergency, known=known,
        policy=_policy(known, emergency=emergency),
    )  # fmt: skip


def _policy(known: Memory | None, *, emergency: bool) -> CanaryPolicy | None:
    if known is None:
        return None
    try:
        policy = policy_named(known.policy)
    except SettingsError:
        return None
    return without_waiting(policy) if emergency else policy


@dataclass(frozen=True, kw_only=True)
class ListedRelease:
    """A release in a list: where it is, since when, and the last that was said about it."""

    release: CurrentRelease
    version: int | None
    moved: Move
    note: Move | None


def listed(ledger: Ledger, source: str) -> list[ListedRelease]:
    """List every release of a source, those moved last first; a note never hides the state."""
    moves: dict[str, list[Move]] = {}
    for move in ledger.history(source):
        moves.setdefault(move.digest, []).append(move)
    found = []
    for release in ledger.releases(source):
        story = moves.get(release.digest, [])
        moved = next((m for m in reversed(story) if m.to_state not in NOTES), None)
        if moved is not None:
            version = next((m.version for m in reversed(story) if m.version is not None), None)
            note = story[-1] if story[-1].to_state in NOTES else None
            found.append(ListedRelease(release=release, version=version, moved=moved, note=note))
    return found


def let_by(story: Sequence[Move], until: int) -> list[Move]:
    """Find in one release's story the approvals that let it go on, as they were at row `until`."""
    given: dict[str, Move] = {}
    for move in story:
        if move.sequence > until:
            break
        if move.to_state in AWAITING:
            given = {}
        elif move.to_state == "approval":
            given.pop(move.actor, None)
            if move.evidence.get("approval"):
                given[move.actor] = move
    return list(given.values())
