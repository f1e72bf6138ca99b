"""Finds large changes of a day and of a catalog: shrunk, emptied, exploded, against the days before.

A large change is refused with both numbers. A person who lets it pass makes it the new usual: days before it say
nothing about that number any more. What was let pass stays in the manifest, and reviewers of a release are shown it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from artifacts.lake import Lake
from contracts.errors import LargeChange
from contracts.events import KINDS
from contracts.settings import Settings
from ingestion.rules.usual import Change, amount_changed, share_changed

#: How many days before a day are looked at, and how many must be there for a verdict; of a catalog, which is a state
#: and not a flow, one is enough to see it shrink.
WINDOW, LEAST_DAYS, LEAST_CATALOGS = 28, 5, 1
#: The first Sunday may be this many times further from the usual day, since nobody knows yet what Sundays are like.
FIRST_OF_ITS_KIND = 2
UNREADABLE, UNKNOWN = "rows that cannot be used", "interactions with unknown items"
ITEMS = "items"
_SHARES = (UNREADABLE, UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class DayFigures:
    """The numbers of one day (or its catalog) by name, and which of them a person let pass as a large change."""

    numbers: Mapping[str, float]
    changes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def accepted(self) -> set[str]:
        """The names of the numbers with which something new began."""
        return {str(change["what"]) for change in self.changes}


def figures_of_events(kept: pa.Table, bad: int) -> dict[str, float]:
    """Return the numbers of a day's clean rows; `bad`: its rows that cannot be used."""
    kinds = {v["values"]: v["counts"] for v in pc.value_counts(kept.column("kind")).to_pylist()}
    return {
        "events": kept.num_rows,
        "shoppers": pc.count_distinct(kept.column("user_id")).as_py(),
        "items in events": pc.count_distinct(kept.column("item_id")).as_py(),
        **{f"{kind} events": kinds.get(kind, 0) for kind in KINDS},
        UNREADABLE: bad / max(kept.num_rows + bad, 1),
    }


def figures_of_catalog(rows: pa.Table, unknown: float) -> dict[str, float]:
    """Return the numbers of a catalog: its items, those that can be bought, and those that say something in a column.

    `unknown`: the share of the day's interactions that it does not know.
    """
    filled = {
        f"items with {name}": rows.num_rows - rows.column(name).null_count
        for name in ("description", "brand", "category", "price")
    }
    on_sale = int(pc.sum(rows.column("available")).as_py() or 0)
    return {ITEMS: rows.num_rows, "items that can be bought": on_sale, **filled, UNKNOWN: unknown}


def large_changes(
    day: str,
    numbers: Mapping[str, float],
    history: Mapping[str, DayFigures],
    *,
    least: float,
    s: Settings,
    state: bool = False,
    today: str = "",
) -> list[Change]:
    """Return the numbers of `day` that are far from the usual ones of the days before it in `history`.

    A day that is not over `today` may still grow. A `state` (a catalog) has no days of the week.
    """
    before = sorted(d for d in history if d < day)[-WINDOW:]
    over = not today or day < today
    found = []
    for name, value in numbers.items():
        began = max((d for d in before if name in history[d].accepted), default="")
        known = {d: history[d].numbers[name] for d in before if d >= began and name in history[d].numbers}
        change = None
        if name in _SHARES:
            if len(known) >= LEAST_DAYS:
                change = share_changed(name, value, list(known.values()), above=s.bad_above)
        elif len(known) >= (LEAST_CATALOGS if state else LEAST_DAYS):
            alike = [v for d, v in known.items() if _weekday(d) == _weekday(day)]
            slack = 1 if state or alike else FIRST_OF_ITS_KIND
            most = slack * s.day_most if len(known) >= LEAST_DAYS else float("inf")
            change = amount_changed(name, value, list(known.values()), alike, least=least / slack, most=most, over=over)
        if change is not None:
            found.append(change)
    return found


def refuse(lake: Lake, day: str, what: str, changes: Sequence[Change], remedy: str) -> NoReturn:
    """Raise LargeChange, with both numbers of each change."""
    told = "; ".join(map(str, changes))
    raise LargeChange(
        f"{what} is far from what was usual before it ({told})",
        remedy=f"{remedy}; or let it pass with `caravan validate {day} --source {lake.source} --accept-changes`",
    )


def near(numbers: Mapping[str, float], former: Mapping[str, float], s: Settings) -> bool:
    """Say whether a day that is made again is about what it was: late rows say nothing against it."""
    return all(
        numbers[name] - old <= s.bad_above
        if name in _SHARES
        else s.day_least * old <= numbers[name] <= max(s.day_most * old, 1)
        for name, old in former.items()
        if name in numbers
    )


def at_rest(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return changes that were let pass as a manifest keeps them."""
    return [asdict(change) for change in changes]


def sentences(day: str, changes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Write what a manifest keeps of changes that were let pass."""
    return tuple(f"let pass on {day}: {Change(**change)}" for change in changes)


def _weekday(day: str) -> int:
    return date.fromisoformat(day).weekday()
