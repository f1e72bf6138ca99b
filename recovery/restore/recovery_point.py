"""Which moment a restore goes to, and from what: the newest valid snapshot that reaches it, and the log after it."""

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
    """What was asked for: the newest state there is, one snapshot's, or the state at a moment."""

    asked: str
    snapshot: str = ""
    at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> Point:
        """'newest', a snapshot's id, or a time in ISO 8601 (UTC unless it says otherwise). Raises RecoveryError."""
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
    """From what a restore goes: `log_end` is where the log in the vault ends; `passed_over` says which, and why.

    `cut_short` says why `at` is earlier than what was asked for.
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
    """The snapshot to restore. One that `sound` refuses is passed over for an older one, and that is told. Where a
    note of what came after it is damaged, or an object that it names, the restore goes to the moment before that note.

    Raises NoRecoveryPoint when none is left, NotFound or Tampered when the very snapshot that was named can not serve.
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
    """Where the log that is in the vault ends, without a gap from the snapshot on."""
    pieces = wal.unbroken(wal.pieces(vault, snapshot.system), snapshot.timeline, snapshot.backups[-1].start)
    return max([snapshot.cut, *(piece.end for piece in pieces)])


def as_plan(chosen: Chosen) -> dict[str, Any]:
    """For the state file and for people."""
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
    """What `as_plan` wrote down, of that snapshot."""
    return Chosen(
        snapshot=snapshot,
        exact=plan["exact"],
        at=datetime.fromisoformat(plan["at"]) if plan["at"] else None,
        log_end=snapshot.cut + plan["log_after_cut"],
        passed_over=tuple(plan["passed_over"]),
        cut_short=plan.get("cut_short", ""),
    )
