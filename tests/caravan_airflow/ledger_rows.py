"""Rows of a ledger without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from artifacts.ledger import Move, PlannedMove
from contracts.release import NOTES

DIGEST = "ab" * 32
START = datetime(2026, 3, 1, tzinfo=UTC)


def rows(*road: str | tuple[str, dict[str, Any]]) -> list[Move]:
    """One row per state or note, in order, a minute apart; a pair gives its evidence, with `reason` and `actor`."""
    found: list[Move] = []
    present: Any = None
    for number, step in enumerate(road, start=1):
        to, about = (step, {}) if isinstance(step, str) else step
        evidence = {k: v for k, v in about.items() if k not in ("actor", "reason", "version")}
        note = to in NOTES
        found.append(
            Move(
                sequence=number, at=START + timedelta(minutes=number), source="shop", digest=DIGEST,
                version=about.get("version"), from_state=None if note else present, to_state=to,  # type: ignore[arg-type]
                actor=about.get("actor", "nightly"), reason=about.get("reason", "because"), evidence=evidence,
                region="primary", epoch=0, previous_hash="", hash="",
            )
        )  # fmt: skip
        present = present if note else to
    return found


class RowLedger:
    """The part of a ledger that is asked here, kept in a list."""

    def __init__(self, *road: str | tuple[str, dict[str, Any]]) -> None:
        self.moves = rows(*road)

    def history(self, *_: str) -> list[Move]:
        return self.moves

    def state(self, *_: str) -> Any:
        return next((m.to_state for m in reversed(self.moves) if m.to_state not in NOTES), None)

    def newest(self, *to: str, **_: str) -> Move | None:
        return next((m for m in reversed(self.moves) if m.to_state in to), None)

    def champion(self, *_: Any) -> Move | None:
        last = self.newest("champion")
        return last if self.state() == "champion" else None

    def move(self, planned: PlannedMove) -> None:
        self.add(planned.to, {**planned.evidence, "actor": planned.actor, "reason": planned.reason})

    def note(self, source: str, digest: str, kind: str, **about: Any) -> Move:
        self.add(kind, {**(about.get("evidence") or {}), "actor": about["actor"], "reason": about["reason"]})
        return self.moves[-1]

    def add(self, to: str, about: dict[str, Any] | None = None) -> None:
        road = [(str(m.to_state), {**m.evidence, "actor": m.actor, "reason": m.reason}) for m in self.moves]
        self.moves = rows(*road, (to, about or {}))
