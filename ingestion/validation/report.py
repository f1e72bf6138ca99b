"""Reports what became of a day."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ingestion.landing.ahead import EarlyRows
from ingestion.rules import machines as machine_rule
from ingestion.rules.reasons import HARMLESS, describe
from ingestion.validation.changes import sentences
from ingestion.validation.known_items import KnownItems


@dataclass(frozen=True, kw_only=True)
class DayReport:
    """One day: kept + quarantined = read. `written` is False when it was published before as it is."""

    day: str
    digest: str
    read: int
    kept: int
    quarantined: dict[str, int]
    written: bool
    undated: dict[str, int] = field(default_factory=dict)
    machines: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    items: KnownItems = field(default_factory=KnownItems)
    catalog_digest: str = ""
    catalog_items: int = 0
    catalog_notes: tuple[str, ...] = ()
    early: EarlyRows = field(default_factory=lambda: EarlyRows(taken={}))
    caught_up: tuple[DayReport, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    collected: int = 0

    def __str__(self) -> str:
        reasons = _listed(self.quarantined) or "none"
        lines = [
            f"events/{self.day} {self.digest[:12]} {'written' if self.written else 'unchanged'}: "
            f"{self.read} read, {self.kept} kept, {self.read - self.kept} quarantined ({reasons})"
        ]
        if self.undated:
            lines.append(f"and rows of its files without a usable day: {_listed(self.undated)}")
        if nobodys := self.quarantined.get("nobody"):
            lines.append(
                f"{nobodys} of {self.read} rows ({nobodys / self.read:.0%}) are nobody's (guests, `undefined`): "
                "no history, no training"
            )
        if self.machines:
            lines.append(f"of this day alone, {machine_rule.describe(self.machines)}")
        lines += [f"{n} x {describe(r)}" for r, n in (self.quarantined | self.undated).items() if r not in HARMLESS]
        if self.items.unknown:
            lines.append(str(self.items))
        if self.catalog_digest:
            lines.append(f"catalog/{self.day} {self.catalog_digest[:12]}: {self.catalog_items} items")
        lines += [*sentences(self.day, self.changes), *self.catalog_notes, *str(self.early).splitlines()]
        if self.collected:
            lines.append(f"{self.collected} new segments of engines' event logs")
        if self.caught_up:
            days = [r.day for r in self.caught_up]
            rows = sum(r.kept for r in self.caught_up)
            lines.append(f"caught up {len(days)} earlier days with {rows} rows: {days[0]} to {days[-1]}")
        lines += [f"skipped {day}: {why}" for day, why in self.skipped.items()]
        return "\n".join(lines)


def _listed(found: dict[str, int]) -> str:
    return ", ".join(f"{n} {r}" for r, n in found.items())
