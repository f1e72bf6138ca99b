"""How active shoppers were: a shop whose first day asks nothing by itself has nobody who was known before."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from artifacts.lake import Lake
from contracts.settings import Settings
from training.evaluation.activity import activity

DAY_US = 86_400_000_000


@pytest.mark.parametrize("days", [[], ["2026-01-10"], ["2025-11-01"]])
def test_without_features_in_reach_nothing_was_known(monkeypatch: pytest.MonkeyPatch, days: list[str]) -> None:
    monkeypatch.setattr(Lake, "of", lambda _s, _source: SimpleNamespace(partitions=lambda _table: days))
    times = np.asarray([np.datetime64("2026-01-09T23:53", "us").astype(np.int64) - n * DAY_US for n in range(2)])
    found = activity(Settings(), "shop")(pa.array(["u_1", "u_2"]), times)
    assert np.isnan(found).all()
    assert found.shape == (2,)
