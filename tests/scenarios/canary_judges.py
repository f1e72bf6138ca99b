"""Judges on simulated canaries, vectorized over releases: ours, and two usual ones on the same streams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from monitoring.canary_policy import CanaryPolicy
from monitoring.e_process import harm_boundary, log_e_mismatch, log_e_proof
from monitoring.guardrails import Guardrail
from tests.scenarios.canary_streams import WINDOWS, Counts, Mask, Stream, Traffic

VOID, ABORT, PROMOTE, HOLD = range(4)
LOOKS = 20
THRESHOLD = 0.01
INTERVALS = 60  # the first windows: about as many shoppers as our judge needs
CONFIDENCE = 0.98


@dataclass(frozen=True, kw_only=True)
class Decided:
    """Per release: the decision, the window of it, and the shoppers per arm by then, [n] each."""

    decision: NDArray[np.int64]
    window: NDArray[np.int64]
    shoppers: NDArray[np.float64]


@cache
def boundary(limit: int, log_threshold: float) -> Counts:
    """Canary events that abort, by control events; computed once for a limit."""
    return harm_boundary(limit, log_threshold)


def crossed(worse: Counts, other: Counts, log_threshold: float) -> Mask:
    """Where the harm e-process is at the threshold, [T, n]; monotone in `worse`, so a table by `other` decides."""
    limit = 1 << int(max(other.max(), 63)).bit_length()
    return worse >= boundary(limit, log_threshold)[other]


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """One guardrail: the window of its abort (WINDOWS: never), [n], and where it is proven among promotable looks."""

    abort_at: NDArray[np.int64]
    proven: Mask


@dataclass(frozen=True, kw_only=True)
class Left:
    """What the origin with most has, without the shop's key, and is left out: events of the arm that may be worse, of
    the other, and clean shoppers of the first; [T, n]. 0: all come with the shop's key."""

    worse: Counts | int = 0
    other: Counts | int = 0
    clean: Counts | int = 0


def weigh(
    policy: CanaryPolicy, shoppers: Traffic, guardrail: Guardrail, s: Stream, *, left: Left | None = None
) -> Weighed:
    """What one guardrail says at each window whose log arrived."""
    worse, other, settled = sides(guardrail, s)
    left = left or Left()
    abort_at = first(shoppers.delivered & crossed(np.maximum(worse - left.worse, 0), other, policy.log_abort))
    looks = np.nonzero(shoppers.last)
    others, clean = np.maximum(other - left.other, 0)[looks], np.maximum(settled - left.clean, 0)[looks]
    e = log_e_proof(worse[looks], others, clean, ratio=guardrail.ratio, delta=guardrail.delta)
    proven = np.zeros_like(shoppers.last)
    proven[looks] = e >= policy.log_proof
    return Weighed(abort_at=abort_at, proven=proven)


def e_process_judge(policy: CanaryPolicy, shoppers: Traffic, guardrails: list[Weighed]) -> Decided:
    """What `monitoring.canary_judge.judge` decides when it looks at each window whose log arrived."""
    control, canary = shoppers.control.cumsum(axis=0), shoppers.canary.cumsum(axis=0)
    void_at = first(shoppers.delivered & (log_e_mismatch(canary, control) >= policy.log_mismatch))
    abort_at = np.min([g.abort_at for g in guardrails], axis=0)
    promote_at = first(np.logical_and.reduce([g.proven for g in guardrails]))
    at = np.stack([void_at, abort_at, promote_at])  # of two in the same window the first one counts
    decision = np.where(at.min(axis=0) < WINDOWS, at.argmin(axis=0), HOLD)
    window = np.minimum(at.min(axis=0), WINDOWS - 1)
    seen = (control + canary)[window, np.arange(len(window))].astype(np.float64) / 2
    return Decided(decision=decision, window=window, shoppers=seen)


def sides(guardrail: Guardrail, s: Stream) -> tuple[Counts, Counts, Counts]:
    """Events of the arm that may be worse, of the other, and settled shoppers of the first."""
    if guardrail.harm == "more":
        return s.canary_events, s.control_events, s.canary_settled
    return s.control_events, s.canary_events, s.control_settled


def first(mask: Mask) -> NDArray[np.int64]:
    """The first window in which the mask is set, or WINDOWS; [n]."""
    return np.where(mask.any(axis=0), mask.argmax(axis=0), WINDOWS)


def threshold_rule(s: Stream) -> Mask:
    """Aborted by the usual rule: 20 looks, each at its own windows, and none may show over 1 % failures; [n]."""
    visits, failures = (
        a[:INTERVALS].reshape(LOOKS, INTERVALS // LOOKS, -1).sum(axis=1) for a in (s.canary_visits, s.canary_failures)
    )
    return np.asarray((failures > THRESHOLD * visits).any(axis=0))


def mann_whitney_judge(s: Stream) -> Mask:
    """Aborted by one rank test of the windows' failure rates, canary against control, at 98 %, as Kayenta's judge does.

    A window without visits is left out, as missing values are there. [n]
    """
    canary, control = (
        np.where(visits > 0, failures / np.maximum(visits, 1), np.nan)[:INTERVALS]
        for failures, visits in ((s.canary_failures, s.canary_visits), (s.control_failures, s.control_visits))
    )
    return np.asarray(mann_whitney(canary, control) < (1 - CONFIDENCE) / 2)


def mann_whitney(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """One-sided p of "x tends to be greater than y" per column, ties corrected; NaN is left out."""
    both = np.concatenate([x, y])
    known = ~np.isnan(both)
    ranked = np.where(known, both, np.inf)  # the unknown rank above all, so they move no rank of the known
    low, high = (rankdata(ranked, method=m, axis=0) for m in ("min", "max"))
    n_x, n_y = known[: len(x)].sum(axis=0), known[len(x) :].sum(axis=0)
    n = np.maximum(n_x + n_y, 2)
    u = np.where(known[: len(x)], (low + high)[: len(x)] / 2, 0).sum(axis=0) - n_x * (n_x + 1) / 2
    ties = np.where(known, (high - low + 1.0) ** 2 - 1, 0).sum(axis=0)
    deviation = np.sqrt(n_x * n_y / 12 * (n + 1 - ties / (n * (n - 1))))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (u - n_x * n_y / 2 - 0.5) / deviation
    return np.asarray(np.where(deviation > 0, norm.sf(z), 1.0))
