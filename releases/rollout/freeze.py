"""Freezes releases: for a time none is promoted, while training and judging go on."""

from __future__ import annotations

from datetime import UTC, datetime

from artifacts.ledger import Ledger, Move
from contracts.errors import SettingsError


def freeze(ledger: Ledger, *, until: datetime, person: str, reason: str, now: datetime | None = None) -> Move:
    """Let no release start a canary, take another step or become champion until `until`. An ABORT still acts."""
    at = now or datetime.now(UTC)
    if until <= at:
        raise SettingsError(f"{until.isoformat()} is over", remedy="name a time to come")
    evidence = {"until": until.isoformat()}
    return ledger.note("", "", "frozen", actor=person, reason=reason, evidence=evidence, now=at)


def thaw(ledger: Ledger, *, person: str, reason: str, now: datetime | None = None) -> Move:
    """End a freeze before its time."""
    return ledger.note("", "", "thawed", actor=person, reason=reason, now=now)


def frozen(ledger: Ledger, *, now: datetime | None = None) -> Move | None:
    """Return the freeze in force, or None."""
    last = ledger.newest("frozen", "thawed")
    if last is None or last.to_state == "thawed":
        return None
    return last if (now or datetime.now(UTC)) < datetime.fromisoformat(last.evidence["until"]) else None
