"""Drift reports: real drift is seen, none is invented, tiny samples get no verdict, reruns give the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from artifacts.manifest import sha256_of
from monitoring import drift

pytestmark = pytest.mark.filterwarnings("ignore")  # Evidently and what it imports; nothing of this project warns


def table(seed: int, rows: int, *, shift: float = 0.0) -> pa.Table:
    generator = np.random.default_rng(seed)
    return pa.table(
        {
            "user_id": [f"u{i}" for i in range(rows)],
            "views_7d": generator.poisson(5 + 4 * shift, rows).astype(np.int64),
            "hours_since_last": generator.exponential(24 * (1 + shift), rows),
        }
    )


def scores(seed: int, rows: int) -> pa.Table:
    return pa.table({"top_score": np.random.default_rng(seed).normal(3, 1, rows)})


def verdicts(summary: pa.Table) -> dict[str, str]:
    return dict(zip(summary["column"].to_pylist(), summary["verdict"].to_pylist(), strict=True))


def test_a_shift_is_drift_and_the_same_distribution_is_not(tmp_path: Path) -> None:
    summary = drift.compare(
        {"features": (table(1, 600, shift=1.0), table(2, 700)), "scores": (scores(3, 600), scores(4, 700))}, tmp_path
    )
    assert verdicts(summary) == {"hours_since_last": "drift", "views_7d": "drift", "top_score": "no drift"}
    assert drift.summarize_drift(summary, digest="").verdict == "drift"
    assert {p.name for p in tmp_path.iterdir()} == {"data.parquet", "report.html", "report.json"}
    assert pq.read_table(tmp_path / "data.parquet").equals(summary)
    assert json.loads((tmp_path / "report.json").read_text())["not_enough_data"] == []


def test_the_p_value_is_the_one_scipy_computes(tmp_path: Path) -> None:
    now, before = table(1, 600), table(2, 700)
    summary = drift.compare({"features": (now, before)}, tmp_path).to_pylist()
    row = next(r for r in summary if r["column"] == "hours_since_last")
    expected = stats.ks_2samp(before["hours_since_last"].to_numpy(), now["hours_since_last"].to_numpy()).pvalue
    assert "K-S" in row["method"]
    assert row["value"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 8, drift.MIN_VALUES - 1])
def test_few_rows_get_no_verdict(tmp_path: Path, rows: int) -> None:
    summary = drift.compare({"features": (table(1, rows, shift=5.0), table(2, 5000))}, tmp_path)
    assert set(verdicts(summary).values()) == {"not enough data"}
    assert drift.summarize_drift(summary, digest="").verdict == "not enough data"
    page = (tmp_path / "report.html").read_text()
    assert "Not enough data" in page
    assert f"hours_since_last: 5000 before, {rows} on the day" in page
    said = str(drift.summarize_drift(summary, digest=""))
    assert said.startswith("not enough data: no column has 100 values on both sides (hours_since_last, ")


def test_tables_without_a_common_column_are_said_to_have_none(tmp_path: Path) -> None:
    other = pa.table({"another": pa.array([1.0])})
    summary = drift.compare({"features": (table(1, 600), other)}, tmp_path)
    assert "no column of numbers in common" in str(drift.summarize_drift(summary, digest=""))
    assert "no column of numbers in common" in (tmp_path / "report.html").read_text()


def test_an_empty_column_gets_no_verdict_and_does_not_disturb_the_others(tmp_path: Path) -> None:
    now = table(1, 600).append_column("carts_7d", pa.nulls(600, pa.int64()))
    before = table(2, 700).append_column("carts_7d", pa.array(range(700), pa.int64()))
    summary = drift.compare({"features": (now, before)}, tmp_path)
    assert verdicts(summary)["carts_7d"] == "not enough data"
    assert verdicts(summary)["views_7d"] == "no drift"


def test_values_that_are_not_finite_are_not_counted(tmp_path: Path) -> None:
    values = np.full(600, np.nan)
    values[: drift.MIN_VALUES - 1] = 1.0
    values[-1] = np.inf
    summary = drift.compare({"scores": (pa.table({"top_score": values}), scores(4, 700))}, tmp_path).to_pylist()
    assert summary[0]["verdict"] == "not enough data"
    assert summary[0]["current_values"] == drift.MIN_VALUES - 1


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    parts = {"features": (table(1, 600, shift=0.3), table(2, 700)), "scores": (scores(3, 300), scores(4, 300))}
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        drift.compare(parts, tmp_path / name)
        digests.append({p.name: sha256_of(p) for p in (tmp_path / name).iterdir()})
    assert digests[0] == digests[1]


def test_the_page_reads_like_evidently_made_it(tmp_path: Path) -> None:
    drift.compare({"features": (table(1, 600), table(2, 700))}, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert len(page) > 1_000_000
    assert "hours_since_last" in page
    # one name defines the report's data and the same one is drawn
    assert page.count(f"metric_{0:032x}") >= 2
