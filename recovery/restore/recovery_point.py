"""Chooses the recovery point: the newest valid snapshot that reaches the moment asked for, and the log after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.dates import compact_day, names_zone, read_moment
from contracts.errors import NoRecoveryPoint, NotFound, RecoveryError, SettingsError, Tampered
from contracts.events import CLOCK_SKEW
from contracts.settings import Settings
from recovery.shipping import journal, wal
from recovery.vault.catalog import Catalog
from recovery.vault.manifest import Snapshot
from recovery.vault.vault import Vault

#: A snapshot as people name it: its id, or its number alone.
_SNAPSHOT = re.compile(r"s[0-9]{1,8}|[0-9]{1,8}")


@dataclass(frozen=True, kw_only=True)
class Point:
    """The recovery point that was asked for: the newest state, a snapshot's state, or the state at a moment."""

    asked: str
    snapshot: str = ""
    at: datetime | None = None

    @classmethod
    def parse(cls, text: str, *, now: datetime | None = None) -> Point:
        """Parse 'newest', a snapshot's id, or an ISO 8601 time (UTC unless it says otherwise), blanks around forgiven.

        Raises RecoveryError for what is none, for what could be two of them, and for a moment that has not been.
        """
        asked, now = text.strip(), now or datetime.now(UTC)
        if asked == "newest":
            return cls(asked=asked)
        if day := compact_day(asked):
            raise RecoveryError(
                f"{asked} can be a day or the number of a snapshot",
                remedy=f"write {day}T00:00 (UTC) for the moment, or s{asked} for the snapshot",
            )
        if _SNAPSHOT.fullmatch(asked):
            return cls(asked=asked, snapshot=asked)
        try:
            at = read_moment(asked)
        except SettingsError as error:
            raise RecoveryError(
                f"{text!r} is no recovery point",
                remedy=f"newest, an id of `caravan snapshot list`, or a moment: {error.remedy}",
            ) from None
        if at > now + CLOCK_SKEW:
            raise RecoveryError(
                f"{asked} has not been yet: it is {now:%Y-%m-%d %H:%M} UTC",
                remedy="`newest` is all there is; or name a moment that is past, in UTC or with its offset",
            )
        return cls(asked=asked, at=at)

    def describe(self) -> str:
        """Describe what was asked for, in words that leave no doubt about the zone."""
        if self.at is None:
            return f"snapshot {self.snapshot}, exactly" if self.snapshot else "newest: all there is"
        assumed = "" if names_zone(self.asked) else "; no offset was given, so it is taken as UTC"
        return f"{self.at:%Y-%m-%d %H:%M:%S} UTC (asked: {self.asked}{assumed})"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The chosen recovery point: the snapshot, and how far the log after it is replayed.

    `log_end` is where the log in the vault ends, `passed_over` which snapshots were skipped and why, and `cut_short`
    why `at` is earlier than what was asked for.
    """

    snapshot: Snapshot
    exact: bool  # to the snapshot's own cut
    at: datetime | None
    log_end: int
    passed_over: tuple[str, ...] = ()
    cut_short: str = ""


def choose(
    vault: Vault, s: Settings, point: Point, *, sound: Callable[[Snapshot], None], tell: Callable[[str], None]
) -> Chosen:
    """Choose the snapshot to restore. One that `sound` refuses is passed over for an older one, and that is reported.

    Where a journal note of what came after the snapshot is damaged, or an object that the note names, the restore goes
    to the moment before that note. Raises NoRecoveryPoint when no snapshot is left, NotFound or Tampered when the
    snapshot that was named cannot be used.
    """
    catalog = Catalog(vault, s)
    if point.snapshot:
        snapshot = catalog.named(point.snapshot)
        sound(snapshot)
        return Chosen(snapshot=snapshot, exact=True, at=None, log_end=snapshot.cut)
    passed: list[str] = []
    oldest: Snapshot | None = None
    for one in catalog.newest_first():
        if isinstance(one, Snapshot):
            if one.region == s.region:
                continue  # the target's own past
            if point.at is not None and one.at > point.at:
                oldest = one  # after the moment
                continue
            try:
                sound(one)
            except (Tampered, NotFound) as error:
                passed.append(f"{one.id}: {error.what}")
            else:
                return _chosen(vault, s, one, point, oldest, passed, tell)
        else:
            passed.append(f"s{one[0]:06d}: {one[1]}")
        tell(f"passed over: {passed[-1]}; going on with an older one")
    more = f" ({'; '.join(passed[:3])})" if passed else ""
    if oldest is not None and not passed:
        raise NoRecoveryPoint(
            f"no snapshot is as old as {point.describe()}: "
            f"the oldest is {oldest.id} of {oldest.at:%Y-%m-%d %H:%M:%S} UTC",
            remedy=f"--to {oldest.id} restores that one, to its own moment; a moment after it is reached by the log",
        )
    raise NoRecoveryPoint(
        f"no valid snapshot reaches {point.describe()}{more}",
        remedy="name one of `caravan snapshot list`: it is restored to its own moment, without what came after it",
    )


def _chosen(
    vault: Vault, s: Settings, one: Snapshot, point: Point, later: Snapshot | None, passed: list[str],
    tell: Callable[[str], None],
) -> Chosen:  # fmt: skip
    """Return how far the log after a sound snapshot is replayed; `later` is the next one after the moment asked for."""
    end, said = log_end(vault, one), tuple(passed)
    if later is not None and _is_cut_off(one, end, later):
        why = f"the log between {one.id} and {later.id} is pruned"
        tell(f"{one.id} exactly, of {one.at:%Y-%m-%d %H:%M:%S} UTC: {why}")
        return Chosen(snapshot=one, exact=True, at=one.at, log_end=one.cut, passed_over=said, cut_short=why)
    at, why = journal.trusted_until(vault, s, one.system, one.at, point.at)
    if why:
        tell(f"{one.id} and what came after it, up to {at:%H:%M:%S} UTC: {why}")
    return Chosen(snapshot=one, exact=False, at=at, log_end=end, passed_over=said, cut_short=why)


def _is_cut_off(one: Snapshot, end: int, later: Snapshot) -> bool:
    """Check whether the log after a snapshot no longer leads to the next one there is of the same database."""
    return (one.system, one.timeline) == (later.system, later.timeline) and end < later.cut


def log_end(vault: Vault, snapshot: Snapshot) -> int:
    """Return the position where the log in the vault ends, without a gap after the snapshot."""
    return max([snapshot.cut, *(piece.end for piece in log_after(vault, snapshot))])


def log_after(vault: Vault, snapshot: Snapshot) -> list[wal.Piece]:
    """Return the log that the vault has after what the snapshot lists, without a gap; only what is ours counts."""
    start = max([snapshot.backups[-1].start, *(segment.end for segment in snapshot.log)])
    return wal.contiguous(wal.pieces(vault, snapshot.system), snapshot.timeline, start, vault.is_ours)


def as_plan(chosen: Chosen) -> dict[str, Any]:
    """Return the plan as JSON values, for the state file and for people."""
    return {
        "snapshot": chosen.snapshot.id,
        "taken_at": chosen.snapshot.at.isoformat(),
        "exact": chosen.exact,
        "at": chosen.at.isoformat() if chosen.at else None,
        "log_after_cut": chosen.log_end - chosen.snapshot.cut,
        "passed_over": list(chosen.passed_over),
        "cut_short": chosen.cut_short,
    }


def of_plan(plan: dict[str, Any], snapshot: Snapshot) -> Chosen:
    """Rebuild the choice from what `as_plan` returned, for that snapshot."""
    return Chosen(
        snapshot=snapshot,
        exact=plan["exact"],
        at=datetime.fromisoformat(plan["at"]) if plan["at"] else None,
        log_end=snapshot.cut + plan["log_after_cut"],
        passed_over=tuple(plan["passed_over"]),
        cut_short=plan.get("cut_short", ""),
    )
