"""Chooses the recovery point: the newest valid snapshot that reaches the moment asked for, and the log after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.errors import NoRecoveryPoint, NotFound, RecoveryError, Tampered
from contracts.settings import Settings
from recovery.shipping import journal, wal
from recovery.vault.catalog import Catalog
from recovery.vault.manifest import Snapshot
from recovery.vault.vault import Vault


@dataclass(frozen=True, kw_only=True)
class Point:
    """The recovery point that was asked for: the newest state, a snapshot's state, or the state at a moment."""

    asked: str
    snapshot: str = ""
    at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> Point:
        """Parse 'newest', a snapshot's id, or an ISO 8601 time (UTC unless it says otherwise). Raises RecoveryError."""
        if text == "newest":
            return cls(asked=text)
        if text.removeprefix("s").isdigit():
            return cls(asked=text, snapshot=text)
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise RecoveryError(
                f"{text!r} is no recovery point", remedy="newest, an id of `caravan snapshot list`, or 2026-01-31T02:17"
            ) from None
        return cls(asked=text, at=(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC))


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
    for one in catalog.newest_first():
        if isinstance(one, Snapshot):
            if one.region == s.region or (point.at is not None and one.at > point.at):
                continue  # the target's own past, or after the moment
            try:
                sound(one)
            except (Tampered, NotFound) as error:
                passed.append(f"{one.id}: {error.what}")
            else:
                at, why = journal.trusted_until(vault, s, one.system, one.at, point.at)
                if why:
                    tell(f"{one.id} and what came after it, up to {at:%H:%M:%S} UTC: {why}")
                end = log_end(vault, one)
                return Chosen(snapshot=one, exact=False, at=at, log_end=end, passed_over=tuple(passed), cut_short=why)
        else:
            passed.append(f"s{one[0]:06d}: {one[1]}")
        tell(f"passed over: {passed[-1]}; going on with an older one")
    more = f" ({'; '.join(passed[:3])})" if passed else ""
    raise NoRecoveryPoint(
        f"no valid snapshot reaches {point.asked}{more}",
        remedy="name one of `caravan snapshot list`: it is restored to its own moment, without what came after it",
    )


def log_end(vault: Vault, snapshot: Snapshot) -> int:
    """Return the position where the log in the vault ends, without a gap after the snapshot."""
    pieces = wal.contiguous(wal.pieces(vault, snapshot.system), snapshot.timeline, snapshot.backups[-1].start)
    return max([snapshot.cut, *(piece.end for piece in pieces)])


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
