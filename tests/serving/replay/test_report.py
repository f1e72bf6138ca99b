"""The interval of a hit rate."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from serving.replay.report import wilson_interval


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (3, 17), (500, 1000), (0, 12_345), (12_345, 12_345)])
def test_wilson_is_wilson(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(hits, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trial_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
