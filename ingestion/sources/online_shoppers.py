"""Reads sessions of a shop, 17 features each and whether they bought (UCI Online Shoppers Purchasing Intention).

A session becomes its page views: the administrative, the informational and the product pages it counts, evenly
over the seconds it spent on each kind, and a `purchase` where it bought, with PageValues as `value`. Of its
date only the month and "weekend or not" are known: the sessions of a month are spread evenly, in file order, on its
weekdays or weekend days of 2017. One shopper per session. `sessions` gives the features themselves.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.columns import convert
from ingestion.sources.base import (
    ConvertedDataset,
    Source,
    catalog_table,
    column,
    event_ids,
    events_table,
    find,
    read_text_file,
    skipped,
)
from ingestion.sources.calendar import DAY, SECOND, SHOPPERS_YEAR, micros, timestamps

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PAGES = ("Administrative", "Informational", "ProductRelated")
_ITEMS = ("page-administrative", "page-informational", "page-product")
_TITLES = ("Administrative page", "Informational page", "Product page")
_SESSION_MAX_PAGES = 10_000
_SESSION_MAX_S = 20 * 3600.0
Numbers = np.ndarray[Any, np.dtype[Any]]


class OnlineShoppers(Source):
    """`sessions.csv`."""

    name = "online-shoppers"

    def files(self, directory: Path) -> list[Path]:
        return [find(directory, "sessions.csv", "online_shoppers_intention.csv")]

    def sessions(self, directory: Path) -> pa.Table:
        """Read the file as it is, strings, `session` as the first column: for models of purchase probability."""
        raw = read_text_file(self.files(directory)[0], ("Month", "Weekend", "Revenue"))
        return raw.table.add_column(
            0, "session", pc.binary_join_element_wise("session", raw.numbers.cast(pa.string()), "-")
        )

    def convert(self, directory: Path) -> ConvertedDataset:
        raw = read_text_file(self.files(directory)[0], ("Month", "Weekend", "Revenue", *_PAGES))
        table = raw.table
        counts = np.stack([_numbers(table, p) for p in _PAGES], axis=1)
        seconds = np.stack([_numbers(table, f"{p}_Duration") for p in _PAGES], axis=1)
        seconds = np.clip(np.nan_to_num(seconds), 0, None)
        seconds *= np.minimum(1, _SESSION_MAX_S / np.maximum(seconds.sum(axis=1, keepdims=True), 1))
        counts = np.nan_to_num(counts)
        bought = np.asarray(pc.fill_null(convert(column(table, "Revenue"), pa.bool_()).column, False))
        starts = _starts(table)
        usable = ((counts >= 0) & (counts <= _SESSION_MAX_PAGES) & (counts == np.floor(counts))).all(axis=1)
        pages = np.where(usable[:, None], counts, 0).astype(np.int64)
        bought = bought & usable
        empty = int(((pages.sum(axis=1) == 0) & ~bought).sum())
        lost = skipped(raw)
        if empty:
            lost["empty_session"] = empty
        events = _events(raw.numbers.to_numpy(), starts, pages, seconds, bought, _numbers(table, "PageValues"))
        catalog = catalog_table(
            len(_ITEMS), item_id=pa.array(_ITEMS), title=pa.array(_TITLES), category=pa.array(["page"] * len(_ITEMS))
        )
        return ConvertedDataset(events=events, catalog=catalog, skipped=lost)


def _numbers(table: pa.Table, name: str) -> Numbers:
    values: Numbers = convert(column(table, name), pa.float64()).column.to_numpy(zero_copy_only=False)
    return values.astype(np.float64)


def _starts(table: pa.Table) -> Numbers:
    """Return microseconds since 1970 of each session's start, -1 where the month is unknown."""
    months = [
        _MONTHS.index(m[:3].lower()) if m and m[:3].lower() in _MONTHS else -1
        for m in column(table, "Month").to_pylist()
    ]
    month = np.array(months, np.int64)
    weekend = np.asarray(pc.fill_null(convert(column(table, "Weekend"), pa.bool_()).column, False))
    starts = np.full(len(month), -1, np.int64)
    for number in range(12):
        first = datetime(SHOPPERS_YEAR, number + 1, 1, tzinfo=UTC)
        days = np.arange(monthrange(SHOPPERS_YEAR, number + 1)[1])
        free = (days + first.weekday()) % 7 >= 5
        for flag in (False, True):
            rows = np.flatnonzero((month == number) & (weekend == flag))
            fitting = days[free == flag]
            place = np.arange(len(rows)) * len(fitting) / max(len(rows), 1)
            # from six in the morning, over sixteen hours
            moment = fitting[place.astype(np.int64)] * DAY + ((6 + (place % 1) * 16) * 3600 * SECOND).astype(np.int64)
            starts[rows] = micros(first) + moment
    return starts


def _events(
    numbers: Numbers, starts: Numbers, pages: Numbers, seconds: Numbers, bought: Numbers, worth: Numbers
) -> pa.Table:
    """Make views in the order of the page kinds, then the purchase."""
    spent = np.c_[seconds, np.zeros(len(seconds))]  # [S, 4]: three kinds of page, then the purchase
    times_of = np.c_[pages, bought.astype(np.int64)]
    before = np.c_[np.zeros(len(spent)), np.cumsum(spent, axis=1)[:, :-1]]
    flat = times_of.ravel()
    cell = np.repeat(np.arange(flat.size), flat)
    within = np.arange(len(cell)) - np.repeat(np.cumsum(flat) - flat, flat)
    session, kind = cell // 4, cell % 4
    place = np.arange(len(cell)) - np.repeat(np.cumsum(times_of.sum(1)) - times_of.sum(1), times_of.sum(1))
    offset = before.ravel()[cell] + within * spent.ravel()[cell] / np.maximum(flat[cell], 1)
    start = starts[session]
    times = np.where(start < 0, -1, start + (offset * SECOND).astype(np.int64) + place)
    names = pc.binary_join_element_wise("session", pa.array(numbers[session]).cast(pa.string()), "-")
    purchase = kind == 3
    return events_table(
        len(cell),
        event_id=event_ids("online-shoppers", np.arange(1, len(cell) + 1)),
        event_time=timestamps(times),
        user_id=names,
        session_id=names,
        kind=pa.array(["view", "purchase"]).take(pa.array(purchase.astype(np.int8))),
        item_id=pa.array(_ITEMS).take(pa.array(np.where(purchase, 2, kind))),
        value=pa.array(np.where(purchase, np.nan_to_num(worth[session]), 0.0), mask=~purchase),
    )
