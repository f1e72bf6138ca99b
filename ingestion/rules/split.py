"""Splits rows of one table into kept and quarantined, with reasons; nothing is lost: kept + quarantined = read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import CLOCK_SKEW
from ingestion.formats.columns import Mask, convert, mask, without_floats
from ingestion.formats.raw_files import RawFile
from ingestion.formats.values import MISSING, meaning_of
from ingestion.rules.schema import TableSchema

#: pa.Table -> pa.Table: rows as the lake holds them, identifiers hashed.
Stored: TypeAlias = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, kw_only=True)
class QuarantineSplit:
    """`kept`: clean rows in the contract's types. `reasons`: one per row of the raw table, null where kept."""

    kept: pa.Table
    reasons: pa.Array
    typed: pa.Table
    #: Positions of the rows against which nothing speaks but that their time has not come.
    ahead: pa.Array = field(default_factory=lambda: pa.array([], pa.int64()))

    @property
    def bad(self) -> pa.Array:
        """Positions of the quarantined rows."""
        return pc.indices_nonzero(pc.is_valid(self.reasons))


def typed_table(raw: RawFile, schema: TableSchema) -> tuple[pa.Table, dict[str, Mask]]:
    """Return `raw` in the contract's types, and reason -> rows whose value did not convert. Absent columns are null."""
    arrays, failed = [], {}
    for wanted in schema.arrow:
        if wanted.name not in raw.table.column_names:
            arrays.append(pa.nulls(raw.table.num_rows, wanted.type))
            continue
        column, meaning = raw.table.column(wanted.name), meaning_of(wanted.name)
        invalid = raw.wrong.get(wanted.name, np.zeros(raw.table.num_rows, bool))
        if raw.format == "csv" and meaning in ("identifier", "shopper"):
            column, rounded = without_floats(column)
            invalid = invalid | rounded
        converted = convert(column, wanted.type, meaning)
        arrays.append(converted.column)
        invalid = invalid | converted.invalid
        if invalid.any():
            failed[f"bad_{wanted.name}"] = invalid
    nullable = pa.schema([pa.field(f.name, f.type) for f in schema.arrow])
    table = pa.table(arrays, schema=nullable)
    if "available" in table.column_names:  # a product that says nothing can be bought
        at = table.column_names.index("available")
        table = table.set_column(at, nullable.field(at), pc.fill_null(table.column(at), True))
    if schema.name == "events":  # only who searches may mean the word itself
        at, query = table.column_names.index("query"), table.column("query")
        nothing = pc.and_(
            pc.is_in(query, pa.array(MISSING)), pc.fill_null(pc.not_equal(table.column("kind"), "search"), True)
        )
        if pc.any(nothing).as_py():
            table = table.set_column(at, nullable.field(at), pc.if_else(nothing, pa.scalar(None, pa.string()), query))
    return table, failed


def split_rows(
    raw: RawFile, schema: TableSchema, *, now: datetime | None = None, stored: Stored | None = None
) -> QuarantineSplit:
    """Check every row of `raw`. `now`: rows dated later than this (and some skew) are refused.

    `stored` makes of rows what the lake will hold: which of two at the same time stays is decided by that, here as
    later between files.
    """
    table, failed = typed_table(raw, schema)
    for reason, rows in schema.failures(table).items():
        failed[reason] = failed[reason] | rows if reason in failed else rows
    future = np.zeros(table.num_rows, bool)
    if now is not None and "event_time" in table.column_names:
        limit = pa.scalar(now + CLOCK_SKEW, table.schema.field("event_time").type)
        future = mask(pc.greater(table.column("event_time"), limit))
    ahead = future & ~np.logical_or.reduce([future & ~future, *failed.values()])
    failed["event_time_in_future"] = future
    names = list(schema.reasons)
    codes = np.full(table.num_rows, -1, np.int16)
    for code in range(len(names) - 1, -1, -1):
        if names[code] in failed:
            codes[failed[names[code]]] = code
    duplicate = names.index(next(n for n in names if n.startswith("duplicate_")))
    codes[duplicates(table, schema, codes < 0, stored)] = duplicate
    reasons = pa.array(names, pa.string()).take(pa.array(codes, pa.int16(), mask=codes < 0))
    kept = table.filter(pa.array(codes < 0)).cast(schema.arrow)
    return QuarantineSplit(kept=kept, reasons=reasons, typed=table, ahead=pa.array(np.flatnonzero(ahead)))


def duplicates(table: pa.Table, schema: TableSchema, candidates: Mask, stored: Stored | None = None) -> Mask:
    """Find rows whose key another candidate has: of other tables than events the last one stays.

    Of events the earliest of each UTC day stays, however the rows are ordered and cut into files.
    """
    result = np.zeros(table.num_rows, bool)
    keys = list(schema.key)
    several = _repeated(table.select(keys).filter(pa.array(candidates)), keys)
    if not several.num_rows:
        return result
    rows = table.append_column("row#", pa.array(np.arange(table.num_rows)))
    if len(keys) == 1:
        candidates = candidates & mask(pc.is_in(table.column(keys[0]), several.column(keys[0]).combine_chunks()))
    rows = rows.filter(pa.array(candidates)).join(several, keys, join_type="left semi")
    events = schema.name == "events"
    if events:  # by content, so that the order in which files came does not matter
        if stored is not None:
            rows = stored(rows)
        rest = [n for n in table.column_names if n not in keys and n != "event_time"]
        order = [*keys, "event_time", *rest, "row#"]
        rows = rows.sort_by([(n, "ascending") for n in order])
    else:
        rows = rows.sort_by([*((n, "ascending") for n in keys), ("row#", "descending")])
    same = np.ones(rows.num_rows, bool)
    same[0] = False
    compared = [rows.column(key) for key in keys]
    if events:  # in order of time within a key, so the rows of a day are neighbours
        compared.append(rows.column("event_time").cast(pa.date32()))
    for column in (c.combine_chunks() for c in compared):
        same[1:] &= np.asarray(pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False), bool)
    result[rows.column("row#").to_numpy()[same]] = True
    return result


def _repeated(rows: pa.Table, keys: list[str]) -> pa.Table:
    """Return the keys that several rows have."""
    sizes = rows.combine_chunks().group_by(keys).aggregate([([], "count_all")])
    if sizes.num_rows == rows.num_rows:
        return rows.slice(0, 0)
    return sizes.filter(pc.greater(sizes.column("count_all"), 1)).select(keys)
