"""Plans what `ingest --replace` withdraws: the days that its files are about, and nothing of their neighbours.

Every real file of a day has a few rows of the night before. A day is replaced where the files of the call have a fair
share of what it had, or where most of what they have is; any other day only gets their rows added. More than a little
is withdrawn only when a person has said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.errors import LargeChange
from ingestion.landing import batches

#: A day of which the files have at least this share is one that they are about.
FAIR_SHARE = 0.5
#: And so is one on which they have at least this share of what they have on their fullest day.
MAIN_SHARE = 0.5
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class ReplacedDay:
    """One day of the files: how many different events it had from other files, and how many they bring."""

    day: str
    had: int
    brought: int
    withdrawn: bool

    @property
    def lost(self) -> int:
        """The events that fewer are there afterwards."""
        return max(self.had - self.brought, 0) if self.withdrawn else 0

    def __str__(self) -> str:
        if self.withdrawn:
            return f"{self.day}: withdrawn {self.had}, brought {self.brought}"
        return (
            f"{self.day}: added {self.brought} to the {self.had} that stay, since these files are not about that day; "
            "a file of that day alone replaces it"
        )


def plan_replacement(
    lake: Lake, brought: Mapping[str, pa.Array], spared: set[str], *, largest_loss: float, confirmed: bool
) -> tuple[ReplacedDay, ...]:
    """Plan what becomes of each day on which the files of a call have rows; `brought` are their event ids by day.

    `spared` are the batches of this call. Raises LargeChange when a day would lose a larger share than `largest_loss`
    of its events and nobody has `confirmed` that.
    """
    had = _event_ids(lake, set(brought), spared)
    most = max((len(ids) for ids in brought.values()), default=0)
    plan = []
    for day, ids in sorted(brought.items()):
        before, now = len(had.get(day, ())), len(ids)
        if before:
            withdrawn = now >= FAIR_SHARE * before or now >= MAIN_SHARE * most
            plan.append(ReplacedDay(day=day, had=before, brought=now, withdrawn=withdrawn))
    large = [d for d in plan if d.lost > largest_loss * d.had]
    if large and not confirmed:
        shown = "; ".join(f"{d.day} had {d.had} rows and would have {d.brought}" for d in large[:_SHOWN])
        more = f"; and {len(large) - _SHOWN} more days" if len(large) > _SHOWN else ""
        raise LargeChange(
            f"--replace would withdraw more of {lake.source} than it brings: {shown}{more}; nothing has landed",
            remedy="give whole files of these days; or, if that is meant, the same command with `--yes`",
        )
    return tuple(plan)


def ids_by_day(rows: pa.Table) -> dict[str, pa.Array]:
    """Return the different event ids of landed rows by day."""
    numbers = pa.array(batches.day_numbers(rows.column("event_time")))
    return {
        batches.day_name(n): pc.unique(rows.filter(pc.equal(numbers, n)).column("event_id"))
        for n in pc.unique(numbers).to_pylist()
    }


def merge_ids(several: Iterable[Mapping[str, pa.Array]]) -> dict[str, pa.Array]:
    """Return the different event ids of several files by day."""
    found: dict[str, list[pa.Array]] = {}
    for one in several:
        for day, ids in one.items():
            found.setdefault(day, []).append(ids)
    return {day: pc.unique(pa.chunked_array(ids, pa.string())) for day, ids in found.items()}


def _event_ids(lake: Lake, days: set[str], spared: set[str]) -> dict[str, pa.Array]:
    """Return the different event ids that other files have brought for `days`."""
    found = []
    for name in lake.partitions(batches.EVENTS_TABLE):
        day, _, batch = name.partition("/")
        if day in days and batch not in spared and batch.startswith(batches.OF_FILES):
            ids = pq.read_table(lake.fetch(batches.EVENTS_TABLE, name) / DATA, columns=["event_id"]).column(0)
            found.append({day: pc.unique(ids)})
    return {day: ids for day, ids in merge_ids(found).items() if len(ids)}
