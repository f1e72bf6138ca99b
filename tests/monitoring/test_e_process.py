"""The e-processes are what they claim to be: exactly, by enumeration, not only in simulation."""

from __future__ import annotations

from fractions import Fraction
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.e_process import (
    HARM_RATIOS,
    clean_shoppers_needed,
    harm_boundary,
    log_e_harm,
    log_e_mismatch,
    log_e_proof,
)
from tests.scenarios.canary_exact import crossing_probability

COUNT = st.integers(0, 400)
NULL = st.floats(0, 1)


def mean(theta: float, log_hit: np.ndarray, log_miss: np.ndarray, log_before: np.ndarray) -> float:
    """Return the expected growth of one event that is a hit with probability theta."""
    return theta * exp(log_hit - log_before) + (1 - theta) * exp(log_miss - log_before)


@given(COUNT, COUNT, NULL)
def test_harm_is_not_expected_to_grow_while_the_canary_does_no_more(c: int, k: int, part: float) -> None:
    before, hit, miss = log_e_harm(c, k), log_e_harm(c + 1, k), log_e_harm(c, k + 1)
    assert mean(0.5, hit, miss, before) == pytest.approx(1, rel=1e-9)
    assert mean(0.5 * part, hit, miss, before) <= 1 + 1e-9


@given(COUNT, COUNT, COUNT, NULL, st.sampled_from([(2.0, 0.005), (1.25, 0.0), (1.5, 0.02)]))
def test_proof_is_not_expected_to_grow_on_or_over_the_line(
    c: int, k: int, clean: int, part: float, line: tuple[float, float]
) -> None:
    ratio, delta = line

    def proof(canary: int, control: int, shoppers: int) -> np.ndarray:
        return log_e_proof(canary, control, shoppers, ratio=ratio, delta=delta)

    n = c + clean
    theta = ratio / (1 + ratio)
    over = theta + part * (1 - theta)  # labels, at a ratio of R1 or more
    # a clean shopper is added apart from labels, so an event here comes with its shopper
    assert mean(over, proof(c + 1, k, n + 1), proof(c, k + 1, n), proof(c, k, n)) <= 1 + 1e-9
    if delta:
        rate = delta + part * (1 - delta)  # shoppers, at a rate of delta or more
        assert mean(rate, proof(c + 1, k, n + 1), proof(c, k, n + 1), proof(c, k, n)) <= 1 + 1e-9


@given(COUNT, COUNT)
def test_a_fair_split_is_not_expected_to_look_broken(c: int, k: int) -> None:
    before, hit, miss = log_e_mismatch(c, k), log_e_mismatch(c + 1, k), log_e_mismatch(c, k + 1)
    assert mean(0.5, hit, miss, before) == pytest.approx(1, rel=1e-9)


@given(COUNT, COUNT, COUNT)
def test_more_harm_is_more_evidence_of_harm_and_less_proof(c: int, k: int, clean: int) -> None:
    assert log_e_harm(c + 1, k) > log_e_harm(c, k) > log_e_harm(c, k + 1)
    proof = [float(log_e_proof(x, k, c + clean, ratio=2, delta=0.005)) for x in (c, c + 1)]
    assert proof[0] >= proof[1]
    assert log_e_proof(c, k, c + clean + 1, ratio=2, delta=0.005) >= proof[0]
    assert log_e_proof(c, k + 1, c + clean, ratio=2, delta=0.005) >= proof[0]


@given(st.integers(0, 30), st.integers(0, 30))
def test_harm_equals_its_definition_in_exact_fractions(c: int, k: int) -> None:
    thetas = [Fraction(str(r)) / (1 + Fraction(str(r))) for r in HARM_RATIOS]
    exact = sum((2 * t) ** c * (2 * (1 - t)) ** k for t in thetas) / len(thetas)
    assert float(log_e_harm(c, k)) == pytest.approx(log(exact), abs=1e-9)


@pytest.mark.parametrize("theta", [0.5, 0.45, 0.2])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_a_look_after_every_event_aborts_a_harmless_release_at_most_alpha(theta: float, alpha: float) -> None:
    probability = crossing_probability(harm_boundary(1500, -log(alpha)), 1500, theta)
    assert probability <= alpha
    if theta == 0.5:
        assert probability > alpha / 2, "valid because it hardly ever speaks"


def test_harm_twice_as_frequent_is_found() -> None:
    assert crossing_probability(harm_boundary(600, log(1000)), 600, theta=2 / 3) > 0.99


def test_a_fair_split_is_called_broken_at_most_alpha() -> None:
    events, alpha = 1500, 0.01
    alive, crossed = np.ones(1), 0.0
    for n in range(1, events + 1):
        alive = 0.5 * (np.append(alive, 0) + np.insert(alive, 0, 0))
        canary = np.arange(n + 1)
        over = log_e_mismatch(canary, n - canary) >= -log(alpha)
        crossed += alive[over].sum()
        alive[over] = 0
    assert alpha / 10 < crossed <= alpha


def test_a_promotion_over_the_line_is_as_rare_as_beta_however_long_one_looks() -> None:
    """Both nulls hold at once here: q = 2 p = delta = 10 %. Looks after every pair of shoppers."""
    rng = np.random.default_rng(20)
    n, pairs = 4000, 1000
    canary = (rng.random((pairs, n)) < 0.1).cumsum(axis=0, dtype=np.int32)
    control = (rng.random((pairs, n)) < 0.05).cumsum(axis=0, dtype=np.int32)
    e = log_e_proof(canary, control, np.arange(1, pairs + 1)[:, None], ratio=2, delta=0.1)
    false = int((e >= log(100)).any(axis=0).sum())
    assert 0 < false <= 58  # P(Binomial(4000, .01) > 58) < .002


def test_the_boundary_is_where_the_evidence_crosses() -> None:
    control = np.arange(301)
    boundary = harm_boundary(300, log(1000))
    assert (log_e_harm(boundary, control) >= log(1000)).all()
    assert (log_e_harm(boundary - 1, control) < log(1000)).all()


def test_about_920_clean_shoppers_prove_half_a_percent() -> None:
    needed = clean_shoppers_needed(beta=0.01, ratio=2, delta=0.005)
    assert 919 <= needed <= 980
    assert log_e_proof(0, 0, needed - 1, ratio=2, delta=0.005) < log(100)


@pytest.mark.parametrize("scale", [1, 10**6, 10**12])
def test_large_counts_stay_finite(scale: int) -> None:
    counts = np.array([0, 1, scale])
    for e in (
        log_e_harm(counts[:, None], counts),
        log_e_mismatch(counts[:, None], counts),
        log_e_proof(counts[:, None], counts, 2 * scale, ratio=2, delta=0.005),
    ):
        assert np.isfinite(e).all()
