"""Distributions as counts per bin: drift judges as it would by the rows, and no row is in them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts import histograms

DRAWS = {
    "counts": lambda g, n: g.poisson(3, n).astype(float),
    "long tail": lambda g, n: np.floor(g.pareto(1.2, n) * 10),
    "times": lambda g, n: g.exponential(31.7, n),
    "scores": lambda g, n: g.normal(12.3, 0.8, n),
    "both signs": lambda g, n: g.normal(0, 1e-4, n),
    "mostly one": lambda g, n: np.where(g.random(n) < 0.97, 0.0, g.lognormal(2, 2, n)),
}


def kept(values: np.ndarray, folder: Path) -> np.ndarray:
    histograms.write_histograms(pa.table({"x": values}), folder / "h.parquet")
    return np.array(histograms.read_distributions(folder / "h.parquet")["x"].drop_null())


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows", [150, 2_000, 20_000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_kept_lies_where_the_rows_lay(kind: str, rows: int, seed: int, tmp_path: Path) -> None:
    """In Evidently's measures: of few rows Kolmogorov and Smirnov's, else the distance, of which .1 is drift."""
    values = histograms.clip_extremes(DRAWS[kind](np.random.default_rng(seed), rows))
    back = kept(values, tmp_path)
    assert len(back) == rows
    if rows > 1_000:
        assert stats.wasserstein_distance(values, back) < 0.02 * values.std()
    else:
        assert stats.ks_2samp(values, back, method="asymp").statistic < 0.05


@given(st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=3, max_size=300))
def test_no_bin_counts_fewer_than_three_and_none_is_lost(values: list[float]) -> None:
    bins = histograms.count_bins(np.array(values))
    assert sum(count for *_, count in bins) == len(values)
    assert min(count for *_, count in bins) >= histograms.LEAST
    edges = [edge for lower, upper, _ in bins for edge in (lower, upper)]
    assert all(b >= a - 1e-9 * max(abs(a), abs(b)) for a, b in pairwise(edges))
    assert all(edge == pytest.approx(float(f"{edge:.4e}"), rel=1e-9) for edge in edges)


def test_a_value_of_one_shopper_is_nowhere(tmp_path: Path) -> None:
    values = np.concatenate([np.random.default_rng(0).poisson(3, 900), [123_457.0]])
    assert kept(values, tmp_path).max() < 100
    assert b"123457" not in (tmp_path / "h.parquet").read_bytes()
    assert np.float64(123_457.0).tobytes() not in (tmp_path / "h.parquet").read_bytes()


def test_two_shoppers_leave_nothing(tmp_path: Path) -> None:
    histograms.write_histograms(pa.table({"x": [1.0, 2.0], "empty": pa.nulls(2, pa.int64())}), tmp_path / "h.parquet")
    assert histograms.read_distributions(tmp_path / "h.parquet").num_columns == 0


def test_a_release_of_an_earlier_version_kept_rows(tmp_path: Path) -> None:
    rows = pa.table({"views_7d": [1, 2, 3]})
    pq.write_table(rows, tmp_path / "features.parquet")
    assert histograms.read_distributions(tmp_path / "features.parquet").equals(rows)
