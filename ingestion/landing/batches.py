"""Writes the landing tables: one partition per day and batch, pseudonymous, checked row by row.

`landing-events/<day>/<batch>`, `landing-catalog/<sequence>-<batch>`, and one `landing-files/<batch>` per file
that is complete, written last: a file that has it is never landed twice.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.lake import DATA, Lake, write_table
from contracts.events import EVENTS
from ingestion.formats.raw_files import RawFile
from ingestion.landing.manifests import LandedDay, LandedFile, LandedSegment
from ingestion.pseudonymize import PERSONAL, redact
from ingestion.rules.quarantine import QUARANTINE, QUARANTINED, counts, ordered, quarantine_records, quarantine_rows
from ingestion.rules.reasons import FOR_LATER, HARMLESS
from ingestion.rules.split import QuarantineSplit

EVENTS_TABLE = "landing-events"
CATALOG_TABLE = "landing-catalog"
FILES_TABLE = "landing-files"
REFUSED_TABLE = "landing-refused"
AHEAD_TABLE = "landing-ahead"
#: How the name of a batch of a file begins; others are of engines' logs.
OF_FILES = "events-"

#: An event as landed: the contract and the record it was in its file.
LANDED = EVENTS.append(pa.field("record", pa.int64(), nullable=False))
_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_WRITERS = 4

HashColumn = Callable[[pa.ChunkedArray], pa.Array]


@dataclass(frozen=True, kw_only=True)
class LandedBatch:
    """Rows of one file, checked and pseudonymous, to be published."""

    kept: pa.Table  # the contract's columns and `record`, identifiers hashed
    quarantined: pa.Table  # QUARANTINE
    days: pa.Array  # int32 per quarantined row, days since 1970, null where the row has no usable time
    families: dict[str, str]
    name: str
    read: int
    dropped: tuple[str, ...] = ()
    ahead: pa.Table | None = None  # LANDED rows that wait for their time; they are quarantined until then


def batch_of(
    raw: RawFile, split: QuarantineSplit, hash_column: HashColumn | None, hash_identifier: Callable[[str], str]
) -> LandedBatch:
    """Hash and redact what was kept, and lay aside what was not. `hash_column` None: it is hashed already."""
    good = pc.is_null(split.reasons)
    kept = as_stored(split.kept, hash_column).append_column(LANDED.field("record"), raw.numbers.filter(good))
    bad = split.bad
    rows = quarantine_rows(
        raw.table.take(bad), split.reasons.take(bad), raw.numbers.take(bad), raw.name, hash_identifier
    )
    records = quarantine_records(raw.refused, raw.name)
    days = pa.nulls(len(bad) + len(raw.refused), pa.int32())
    if "event_time" in split.typed.column_names and len(bad):
        times = split.typed.column("event_time").take(bad)
        own = pc.starts_with(pc.fill_null(rows.column("reason"), ""), "event_time_")
        usable = pc.if_else(own, pa.scalar(None, times.type), times)
        days = pa.array(
            np.concatenate([day_numbers(usable), np.full(len(raw.refused), np.iinfo(np.int32).min, np.int32)])
        )
        days = pc.if_else(pc.equal(days, np.iinfo(np.int32).min), pa.scalar(None, pa.int32()), days)
    return LandedBatch(
        kept=kept,
        quarantined=pa.concat_tables([rows, records]),
        days=days,
        families=raw.families,
        name=raw.name,
        read=raw.read,
        dropped=raw.dropped,
        ahead=_waiting(raw, split, hash_column),
    )


def _waiting(raw: RawFile, split: QuarantineSplit, hash_column: HashColumn | None) -> pa.Table | None:
    """Return the rows that only came too early, as the lake may hold them; None of other tables than events."""
    if "event_time" not in split.typed.column_names:
        return None
    rows = split.typed.take(split.ahead).cast(EVENTS)
    return as_stored(rows, hash_column).append_column(LANDED.field("record"), raw.numbers.take(split.ahead))


def as_stored(rows: pa.Table, hash_column: HashColumn | None) -> pa.Table:
    """Return `rows` as the lake may hold them: identifiers of persons hashed, e-mail addresses in queries replaced."""
    for name in PERSONAL if hash_column else ():
        if name in rows.column_names:
            at = rows.column_names.index(name)
            rows = rows.set_column(at, rows.schema.field(at), hash_column(rows.column(name)))  # type: ignore[misc]
    if "query" in rows.column_names and PERSONAL[0] in rows.column_names:
        at = rows.column_names.index("query")
        rows = rows.set_column(at, rows.schema.field(at), redact(rows.column("query")))
    return rows


def day_numbers(times: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the days since 1970 in UTC of a timestamp column; the smallest int32 where it is null."""
    micros = pc.fill_null(times.cast(pa.int64()), np.iinfo(np.int64).min).to_numpy()
    days = np.floor_divide(micros, _DAY)
    return np.where(micros == np.iinfo(np.int64).min, np.iinfo(np.int32).min, days).astype(np.int32)


def day_name(number: int) -> str:
    """Return a day number as `YYYY-MM-DD`."""
    return (_EPOCH + timedelta(days=int(number))).isoformat()


def publish_batch(
    lake: Lake, batch: LandedBatch, partition: str, *, origin: str, log_bytes: int | None = None
) -> LandedFile:
    """Write the batch's days, then its `landing-files` entry, which makes it known; return that entry.

    `log_bytes`: of an engine's log, the size of what lands; the next run starts from it.
    """
    kept = batch.kept.append_column("day#", pa.array(day_numbers(batch.kept.column("event_time"))))
    kept = kept.sort_by([("day#", "ascending"), ("event_time", "ascending"), ("event_id", "ascending")])
    numbers = kept.column("day#").to_numpy()
    kept = kept.drop_columns("day#").combine_chunks()
    aside = np.asarray(pc.fill_null(batch.days, np.iinfo(np.int32).min).to_numpy(zero_copy_only=False), np.int32)
    days = [int(d) for d in np.union1d(np.unique(numbers), np.unique(aside)) if d != np.iinfo(np.int32).min]
    undated = batch.quarantined.filter(pa.array(aside == np.iinfo(np.int32).min))
    shares = _shares(undated, [int((numbers == d).sum() + (aside == d).sum()) for d in days])

    def write(at: int) -> None:
        day = days[at]
        low, high = np.searchsorted(numbers, [day, day + 1])
        rows = kept.slice(low, high - low)
        bad = batch.quarantined.filter(pa.array(aside == day))
        landed = LandedDay(
            origin=origin,
            file=batch.name,
            families=batch.families,
            values={n: rows.num_rows - rows.column(n).null_count for n in EVENTS.names},
            read=rows.num_rows + bad.num_rows,
            kept=rows.num_rows,
            undated=shares[at],
        )
        publish_tables(lake, EVENTS_TABLE, f"{day_name(day)}/{partition}", rows, bad, landed.to_meta())

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(write, range(len(days))))
    _keep_ahead(lake, batch, partition, origin=origin, early=_early(undated))
    entry = LandedFile(
        file=batch.name,
        read=batch.read,
        kept=batch.kept.num_rows,
        quarantined=counts(batch.quarantined.column("reason")),
        days=[day_name(d) for d in days],
        dropped=len(batch.dropped),
    )
    if log_bytes is not None:
        entry = LandedSegment(**entry.to_meta(), bytes=log_bytes)
    listed = pa.table({"day": pa.array(entry.days, pa.string())})
    publish_tables(lake, FILES_TABLE, partition, listed, undated, entry.to_meta())
    return entry


def _early(undated: pa.Table) -> bool:
    return bool(pc.any(pc.is_in(undated.column("reason"), pa.array(FOR_LATER))).as_py())


def _keep_ahead(lake: Lake, batch: LandedBatch, partition: str, *, origin: str, early: bool) -> None:
    """Keep the rows that wait for their time, or that there are none any more."""
    if batch.ahead is not None and (early or lake.digest(AHEAD_TABLE, partition) is not None):
        rows = batch.ahead.combine_chunks()
        publish_ahead(lake, partition, rows, {"origin": origin, "file": batch.name, "families": batch.families})


def publish_ahead(lake: Lake, partition: str, rows: pa.Table, about: dict[str, Any]) -> None:
    """Write the rows of a batch that wait, with the time of the first (`first_us`) and their number."""
    first = pc.min(rows.column("event_time").cast(pa.int64())).as_py() if rows.num_rows else None
    publish_tables(lake, AHEAD_TABLE, partition, rows, None, {**about, "first_us": first, "rows": rows.num_rows})


def _shares(undated: pa.Table, rows: list[int]) -> list[dict[str, int]]:
    """Split the rows without a usable day over a file's days as its other rows lie, so that each day counts its part.

    Rows of a time to come are not lost, and no part of this.
    """
    shares: list[dict[str, int]] = [{} for _ in rows]
    ends = np.concatenate([[0], np.cumsum(rows)])
    for reason, number in counts(undated.column("reason")).items():
        if reason in (*FOR_LATER, *HARMLESS) or not rows:
            continue
        parts = np.diff(number * ends // ends[-1])
        for share, part in zip(shares, parts.tolist(), strict=True):
            if part:
                share[reason] = part
    return shares


def publish_tables(
    lake: Lake, table: str, partition: str, rows: pa.Table, quarantined: pa.Table | None, meta: dict[str, Any]
) -> str:
    """Publish a partition with `data.parquet`, and `quarantine.parquet` where given; return its digest."""
    with tempfile.TemporaryDirectory(prefix="caravan-partition-") as folder:
        write_table(rows, Path(folder) / DATA)
        if quarantined is not None:
            write_table(ordered(quarantined).cast(QUARANTINE), Path(folder) / QUARANTINED)
        return lake.publish(table, partition, Path(folder), meta).digest


def content_digest(paths: list[Path], *more: str) -> str:
    """Return 24 hexadecimal digits that name the content of files, independent of their names."""
    state = hashlib.sha256("\0".join(more).encode())
    for path in paths:
        with path.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()[:24]


def utc_now() -> datetime:
    return datetime.now(UTC)
