"""Reads product-view sessions in date order; the test sessions follow the training ones.

Training sessions start evenly over the 28 days of the calendar, test sessions follow at the same pace. One
shopper per session, since nothing ties two sessions together. Where `offsets_ms` is given the views stand at
these offsets from the start of their session, else half a minute apart.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import TIMESTAMP
from ingestion.formats.columns import convert
from ingestion.sources.base import (
    ConvertedDataset,
    Source,
    catalog_table,
    column,
    event_ids,
    events_table,
    find,
    find_optional,
    read_text_file,
    skipped,
    untitled,
)
from ingestion.sources.calendar import DAY, DAYS, SECOND, SESSIONS_START, micros

Numbers = np.ndarray[Any, np.dtype[Any]]

_GAP = 30 * SECOND
_HOUR = 3600 * SECOND
_MAX_OFFSET_MS = 86_400_000


class Diginetica(Source):
    """`train_sessions.csv` and, where there is one, `test_sessions.csv`: session, items, offsets_ms?."""

    name = "diginetica"

    def files(self, directory: Path) -> list[Path]:
        test = find_optional(directory, "test_sessions.csv")
        return [find(directory, "train_sessions.csv"), *([test] if test else [])]

    def convert(self, directory: Path) -> ConvertedDataset:
        files = self.files(directory)
        parts = [read_text_file(f, ("session", "items"), ("offsets_ms",)) for f in files]
        # the last hour stays free, so that every training session ends before the first test session starts
        pace = (DAYS * DAY - _HOUR) / max(parts[0].table.num_rows, 1)
        train = _events("train", parts[0].table, micros(SESSIONS_START), pace)
        test = None
        if len(parts) > 1:
            start = micros(SESSIONS_START + timedelta(days=DAYS))
            pace = min(pace, DAYS * DAY / max(parts[1].table.num_rows, 1))
            test = _events("test", parts[1].table, start, pace)
        tables = [train, *([test] if test is not None else [])]
        items = pa.concat_tables(tables).column("item_id").unique().drop_null()
        items = items.take(pc.sort_indices(items))
        return ConvertedDataset(
            events=train,
            test_events=test,
            catalog=catalog_table(len(items), item_id=items, title=untitled(items)),
            skipped=skipped(*parts),
        )


def _events(part: str, sessions: pa.Table, start: int, pace: float) -> pa.Table:
    """Make one `view` per item; a session without items becomes one row without an item, for the checks to find."""
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.fill_null(column(sessions, "items"), "")))
    owner = pc.list_parent_indices(lists).to_numpy()
    items = pc.list_flatten(lists)
    items = pc.if_else(pc.equal(items, ""), pa.scalar(None, pa.string()), items)
    lengths = np.bincount(owner, minlength=sessions.num_rows)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    gaps = np.minimum(_GAP, (_HOUR - SECOND) // np.maximum(lengths, 1))
    offsets = _offsets(column(sessions, "offsets_ms"), lengths)
    within = np.where(offsets >= 0, offsets * 1000, place * gaps[owner]) + place
    times = start + (np.arange(sessions.num_rows) * pace).astype(np.int64)[owner] + within
    named = pc.binary_join_element_wise(part, column(sessions, "session"), "-").take(pa.array(owner))
    return events_table(
        len(owner),
        event_id=event_ids(f"diginetica-{part}", np.arange(1, len(owner) + 1)),
        event_time=pa.array(times, pa.int64()).cast(TIMESTAMP),
        user_id=named,
        session_id=named,
        kind=pa.array(["view"] * len(owner), pa.string()),
        item_id=items,
    )


def _offsets(texts: pa.Array, lengths: Numbers) -> Numbers:
    """Return milliseconds per event, -1 for all events of a session whose offsets are absent, too few or fall."""
    total = int(lengths.sum())
    result = np.full(total, -1, np.int64)
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.fill_null(texts, "")))
    owner = pc.list_parent_indices(lists).to_numpy()
    counts = np.bincount(owner, minlength=len(lengths))
    same = counts == lengths
    values = convert(pc.list_flatten(lists), pa.float64()).column
    numbers = np.nan_to_num(values.to_numpy(zero_copy_only=False), nan=-1.0)
    bad = (numbers < 0) | (numbers > _MAX_OFFSET_MS)
    falls = np.r_[False, (numbers[1:] < numbers[:-1]) & (owner[1:] == owner[:-1])]
    broken = np.bincount(owner, weights=bad | falls, minlength=len(lengths)) > 0
    good = same & ~broken
    result[np.repeat(good, lengths)] = numbers[good[owner]].astype(np.int64)
    return result
