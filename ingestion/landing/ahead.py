"""Takes in what came too early, once its time has come: by the next landing or validation, with nobody's doing.

A row whose time lies ahead of the clock is quarantined, since no day can hold it yet, and kept whole in
`landing-ahead/<batch>`. When its time has come it joins its file's rows as if it had landed with them, and its file's
entry counts it as kept. A process that dies in between has done nothing that the next one does not mend.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.events import CLOCK_SKEW, EVENTS
from ingestion.landing import batches
from ingestion.landing.manifests import WITHDRAWN, LandedDay, LandedFile, LandedSegment
from ingestion.rules.quarantine import QUARANTINE, QUARANTINED
from ingestion.rules.reasons import FOR_LATER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class EarlyRows:
    """What became of rows that came too early: taken in now, by day, and those that still wait."""

    taken: dict[str, int]
    waiting: int = 0
    next_time: str = ""

    def __str__(self) -> str:
        lines = [f"taken in now: {n} that came too early for {day}" for day, n in sorted(self.taken.items())]
        if self.waiting:
            lines.append(
                f"ahead of the clock: {self.waiting}; what came too early comes in by itself, the first at the next "
                f"landing or run after {self.next_time}"
            )
        return "\n".join(lines)


def take_due(lake: Lake, now: datetime) -> EarlyRows:
    """Take in every row whose time has come. Doing it twice takes nothing twice."""
    limit = now + CLOCK_SKEW
    taken: Counter[str] = Counter()
    waiting, first = 0, None
    for partition in lake.partitions(batches.AHEAD_TABLE):
        about = lake.manifest(batches.AHEAD_TABLE, partition).meta
        if about["first_us"] is None:
            continue
        rows = pq.read_table(lake.fetch(batches.AHEAD_TABLE, partition) / DATA, schema=batches.LANDED)
        due = pc.less_equal(rows.column("event_time"), pa.scalar(limit, EVENTS.field("event_time").type))
        later = rows.filter(pc.invert(due)).combine_chunks()
        if later.num_rows < rows.num_rows:
            taken += _take(lake, partition, rows.filter(due).combine_chunks(), about)
            batches.publish_ahead(lake, partition, later, _kept_about(about))
        if later.num_rows:
            waiting += later.num_rows
            earliest = pc.min(later.column("event_time").cast(pa.int64())).as_py()
            first = earliest if first is None else min(first, earliest)
    return EarlyRows(taken=dict(taken), waiting=waiting, next_time=_clock(first))


def drop_ahead(lake: Lake, days: set[str], spared: set[str]) -> None:
    """Drop what waits for one of `days`, of every batch of files but the `spared`: other files replace it."""
    for partition in lake.partitions(batches.AHEAD_TABLE):
        about = lake.manifest(batches.AHEAD_TABLE, partition).meta
        if partition in spared or about["origin"] != "file" or about["first_us"] is None:
            continue
        rows = pq.read_table(lake.fetch(batches.AHEAD_TABLE, partition) / DATA, schema=batches.LANDED)
        own = [batches.day_name(d) in days for d in batches.day_numbers(rows.column("event_time")).tolist()]
        if any(own):
            batches.publish_ahead(lake, partition, rows.filter(pa.array([not o for o in own])), _kept_about(about))


def _take(lake: Lake, partition: str, rows: pa.Table, about: dict[str, Any]) -> Counter[str]:
    """Add rows to their batch's days, then to its file's entry; return how many by day."""
    numbers = batches.day_numbers(rows.column("event_time"))
    taken: Counter[str] = Counter()
    for number in np.unique(numbers).tolist():
        day = batches.day_name(number)
        if _join(lake, f"{day}/{partition}", rows.filter(pa.array(numbers == number)), about):
            taken[day] = int((numbers == number).sum())
    _count_as_kept(lake, partition, rows, taken)
    return taken


def _join(lake: Lake, name: str, rows: pa.Table, about: dict[str, Any]) -> bool:
    """Publish a batch's day with `rows` among its own; False where other files have replaced that day since."""
    landed = LandedDay(
        origin=about["origin"], file=about["file"], families=about["families"], values={}, read=0, kept=0
    )
    aside = QUARANTINE.empty_table()
    if lake.digest(batches.EVENTS_TABLE, name) is not None:
        landed = LandedDay.from_meta(lake.manifest(batches.EVENTS_TABLE, name).meta)
        if landed.origin == WITHDRAWN:
            return False
        folder = lake.fetch(batches.EVENTS_TABLE, name)
        before = pq.read_table(folder / DATA, schema=batches.LANDED)
        aside = pq.read_table(folder / QUARANTINED, schema=QUARANTINE)
        there = pc.is_in(rows.column("record"), before.column("record").combine_chunks())
        rows = pa.concat_tables([before, rows.filter(pc.invert(there))])
    rows = rows.sort_by([("event_time", "ascending"), ("event_id", "ascending")]).combine_chunks()
    landed = replace(
        landed,
        values={n: rows.num_rows - rows.column(n).null_count for n in EVENTS.names},
        read=rows.num_rows + aside.num_rows,
        kept=rows.num_rows,
    )
    batches.publish_tables(lake, batches.EVENTS_TABLE, name, rows, aside, landed.to_meta())
    return True


def _count_as_kept(lake: Lake, partition: str, rows: pa.Table, taken: Counter[str]) -> None:
    """Write in the file's entry that these records are kept; those of a replaced day stay set aside."""
    if lake.digest(batches.FILES_TABLE, partition) is None:
        return
    about = lake.manifest(batches.FILES_TABLE, partition).meta
    aside = pq.read_table(_quarantine(lake, partition), schema=QUARANTINE)
    own = [batches.day_name(d) in taken for d in batches.day_numbers(rows.column("event_time")).tolist()]
    records = rows.filter(pa.array(own)).column("record").combine_chunks()
    mine = pc.and_(pc.is_in(aside.column("record"), records), pc.is_in(aside.column("reason"), pa.array(FOR_LATER)))
    entry = (LandedSegment if "bytes" in about else LandedFile).from_meta(about)
    found = Counter(entry.quarantined)
    moved = int(pc.sum(mine).as_py() or 0)
    found.subtract({FOR_LATER[0]: moved})
    entry = replace(
        entry,
        kept=entry.kept + moved,
        quarantined={reason: n for reason, n in sorted(found.items()) if n > 0},
        days=sorted({*entry.days, *taken}),
    )
    listed = pa.table({"day": pa.array(entry.days, pa.string())})
    batches.publish_tables(lake, batches.FILES_TABLE, partition, listed, aside.filter(pc.invert(mine)), entry.to_meta())


def _quarantine(lake: Lake, partition: str) -> Path:
    return lake.fetch(batches.FILES_TABLE, partition) / QUARANTINED


def _kept_about(about: dict[str, Any]) -> dict[str, Any]:
    return {name: about[name] for name in ("origin", "file", "families")}


def _clock(micros: int | None) -> str:
    """Write the moment from which on a row with this time is taken in."""
    if micros is None:
        return ""
    try:
        return f"{_EPOCH + timedelta(microseconds=micros) - CLOCK_SKEW:%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return "a year that no calendar has"
