"""Keeps the distribution of numbers as counts per bin, so that what drift is measured against holds nobody's row.

A bin counts at least three rows, and its edges come from a grid of three significant digits: neither is one
person's value.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import write_table

Floats = npt.NDArray[np.float64]

#: Rows that a bin counts at least: fewer are counted with what lies beside them.
LEAST = 3
#: Significant digits of an edge.
DIGITS = 3
#: Bins of a column at most; more are joined, so that a wide column does not fill a release.
BINS = 2_000
HISTOGRAM = pa.schema(
    [
        pa.field("column", pa.string(), nullable=False),
        pa.field("lower", pa.float64(), nullable=False),
        pa.field("upper", pa.float64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)


def numeric_columns(table: pa.Table) -> list[str]:
    """List the columns that hold whole or floating-point numbers."""
    return [f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]


def finite_values(column: pa.ChunkedArray) -> pa.Array:
    """Return the finite values of a column, float64."""
    values = column.combine_chunks().cast(pa.float64()).drop_null()
    return values.filter(pc.is_finite(values))


def write_histograms(table: pa.Table, path: Path) -> None:
    """Write the counts per bin of every column of numbers in `table`, as the table HISTOGRAM."""
    rows = [
        {"column": name, "lower": lower, "upper": upper, "count": count}
        for name in numeric_columns(table)
        for lower, upper, count in count_bins(finite_values(table[name]).to_numpy(zero_copy_only=False))
    ]
    write_table(pa.Table.from_pylist(rows, schema=HISTOGRAM), path)


def read_distributions(path: Path) -> pa.Table:
    """Read what a release keeps of distributions: a column of numbers for each of theirs, padded with nulls.

    Of counts per bin, each bin's rows are spread evenly over it. Releases of earlier versions kept rows.
    """
    table = pq.read_table(path)
    if table.schema.names != HISTOGRAM.names:
        return table
    columns: dict[str, list[Floats]] = {}
    for row in table.to_pylist():
        columns.setdefault(row["column"], []).append(_spread(row["lower"], row["upper"], row["count"]))
    values = {name: np.concatenate(parts) for name, parts in columns.items()}
    longest = max(map(len, values.values()), default=0)
    return pa.table(
        {name: pa.array([*own.tolist(), *[None] * (longest - len(own))], pa.float64()) for name, own in values.items()}
    )


def clip_extremes(values: Floats) -> Floats:
    """Move the few most extreme values [n] to the LEAST-th from either end: a single row stretches no scale."""
    if len(values) < LEAST:
        return values
    ends = np.partition(values, (LEAST - 1, len(values) - LEAST))[[LEAST - 1, len(values) - LEAST]]
    clipped: Floats = np.clip(values, ends.min(), ends.max())
    return clipped


def count_bins(values: Floats) -> list[tuple[float, float, int]]:
    """Return (lower, upper, count) bins of `values` [n], in order; none where fewer than LEAST rows have a value.

    A bin of one point counts that value; any other is an interval.
    """
    if len(values) < LEAST:
        return []
    values = clip_extremes(values)
    rounded, half = _round(values)
    points, first, cell, counts = np.unique(rounded, return_index=True, return_inverse=True, return_counts=True)
    # a cell of the grid is a point where all its rows lie on it, as whole numbers do
    off = np.bincount(cell, weights=values != rounded) > 0
    width = np.where(off, half[first], 0.0)
    least = max(LEAST, len(values) // BINS + 1) if len(points) > BINS else LEAST
    return _join(points - width, points + width, counts, least)


def _join(lowers: Floats, uppers: Floats, counts: npt.NDArray[np.int64], least: int) -> list[tuple[float, float, int]]:
    """Join cells of the grid, from the lowest on, until each bin counts `least` rows."""
    bins: list[tuple[float, float, int]] = []
    start, waiting = 0.0, 0
    for lower, upper, count in zip(lowers.tolist(), uppers.tolist(), counts.tolist(), strict=True):
        if count >= least:
            # enough by itself: a value that many have keeps its place, and takes along the few before it
            bins.append((lower, upper, count + waiting))
            waiting = 0
            continue
        start, waiting = (start, waiting + count) if waiting else (lower, count)
        if waiting >= least:
            bins.append((start, upper, waiting))
            waiting = 0
    if waiting and not bins:
        return [(start, uppers.tolist()[-1], waiting)]
    if waiting:
        lower, upper, count = bins.pop()
        bins.append((lower, upper, count + waiting))
    return bins


def _round(values: Floats) -> tuple[Floats, Floats]:
    """Round to DIGITS significant digits; return half the distance of the grid there too."""
    size = np.abs(values)
    unit = 10.0 ** (np.floor(np.log10(np.where(size > 0, size, 1.0))) - DIGITS + 1)
    return np.where(size > 0, np.round(values / unit) * unit, 0.0), unit / 2


def _spread(lower: float, upper: float, count: int) -> Floats:
    values: Floats = lower + (upper - lower) * (np.arange(count) + 0.5) / count
    return values
