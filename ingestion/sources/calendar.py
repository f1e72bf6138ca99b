"""Lays events on a calendar where a data set has only their order.

Each shopper's events stand at as many instants of the span as there are events, drawn evenly from a hash of the
shopper and then sorted: the order of every shopper is kept exactly, each day gets about the same number of
events, shoppers come and go over the days as in a shop, and neither another shopper in the file nor the order
of its lines moves anything.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import TIMESTAMP

#: A Monday; the years of the Amazon reviews end in 2014.
ORDERED_START = datetime(2014, 6, 2, tzinfo=UTC)
#: A Monday in the months in which the sessions of Diginetica were recorded.
SESSIONS_START = datetime(2016, 5, 2, tzinfo=UTC)
#: The year of the sessions of online_shoppers, of which only month and weekend are known.
SHOPPERS_YEAR = 2017
DAYS = 28

SECOND = 1_000_000
DAY = 86_400 * SECOND
Micros = np.ndarray[Any, np.dtype[np.int64]]


def micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return int(moment.timestamp()) * SECOND


def timestamps(values: Micros) -> pa.Array:
    """Return microseconds since 1970 as a timestamp column; negative counts as absent."""
    return pa.array(values, pa.int64(), mask=values < 0).cast(TIMESTAMP)


def uniform(
    seeds: np.ndarray[Any, np.dtype[np.uint64]], counters: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return numbers in [0, 1) that depend on (seed, counter) alone: splitmix64."""
    with np.errstate(over="ignore"):
        z = seeds + (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    numbers: np.ndarray[Any, np.dtype[np.float64]] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def seed_of(text: str) -> int:
    """Return 64 bits from a string."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def spread(owners: pa.Array, positions: pa.Array, start: datetime = ORDERED_START, days: int = DAYS) -> Micros:
    """Give times to events of which only the order is known: microseconds since 1970 per row, -1 without an order.

    `owners`: who acted, strings; `positions`: float64, ties keep the order of the rows.
    """
    result = np.full(len(owners), -1, np.int64)
    rows = np.flatnonzero(pc.and_(pc.is_valid(owners), pc.is_valid(positions)).to_numpy(zero_copy_only=False))
    if not len(rows):
        return result
    encoded = pc.dictionary_encode(owners.take(pa.array(rows)))
    seeds = np.array([seed_of(v) for v in encoded.dictionary.to_pylist()], np.uint64)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.lexsort((positions.take(pa.array(rows)).to_numpy(zero_copy_only=False), codes))  # stable: ties by row
    owner = codes[order]
    first = np.r_[True, owner[1:] != owner[:-1]]
    rank = np.arange(len(owner)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    draws = uniform(seeds[owner], rank)
    draws = draws[np.lexsort((draws, owner))]  # sorted within each shopper
    span = days * DAY - 2 * SECOND  # room to keep instants apart by a microsecond, up to a million per shopper
    result[rows[order]] = micros(start) + (draws * span).astype(np.int64) + rank
    return result
