"""Weighs the evidence of a canary with e-processes: numbers that may be looked at after every event.

An e-process starts at 1 and, while its null hypothesis holds, is expected not to grow; by Ville's inequality it ever
reaches 1/alpha with probability at most alpha, no matter how often one looks. Such mixtures for counts are Lindon &
Malek's (arXiv 2011.03567), their use for canaries Lindon et al.'s (arXiv 2205.14762). All functions here take totals,
not streams: the order of events does not matter. They work in logarithms, on arrays that broadcast.

*Harm.* Shoppers fall into two arms of the same size by a fair coin, and each counts at most once. If the release
changes nothing, the coins of the shoppers with an event are still fair and independent, for any traffic. With r times
the harm an event is the canary's with probability theta = r / (1 + r). Against r <= 1 we bet on a grid of r:

    E(C, K) = sum_j w_j (2 theta_j)^C (2 (1 - theta_j))^K        C canary events, K control events

E grows with C and falls with K, as every theta_j > 1/2. A release that does any shopper no more harm, at any time, than
the champion has by any time at most the C and at least the K of one that changes nothing, so its E is never larger:
the bound holds for the whole null, not only at r = 1.

*Proof.* The null is q >= max(R1 p, delta) for rates per shopper q of the canary and p of the control. In that set both
q >= delta and q >= R1 p hold, so an average of an e-process against the one and an e-process against the other is
one against the null: the first bets on smaller rates over N settled canary shoppers, the second on ratios below R1.
"""

from __future__ import annotations

from math import log, log1p, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlogy

Array = NDArray[np.float64]

#: r that the harm e-process bets on, in equal parts: small ones for frequent events, large ones to stop early.
HARM_RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0)

#: Share of the proof's stake on "rarer than delta"; the rest is on "less than R1 times the control".
RARE_SHARE = 0.9
#: Rates, as parts of delta, and the weight of each. The first makes clean shoppers count most.
RARE_BETS = ((0.0, 0.85), (0.2, 0.10), (0.4, 0.05))


def _ratio_bets(ratio: float) -> tuple[tuple[float, float], ...]:
    """Return ratios below R1 and their weights: no change, and half way (geometrically) to R1."""
    return ((1.0, 0.75), (sqrt(ratio), 0.25))


def _log_mean(terms: list[tuple[float, Array]]) -> Array:
    """Return log(sum of weight * exp(term)), without overflow."""
    logs = np.stack(np.broadcast_arrays(*(log(weight) + term for weight, term in terms)))
    top = logs.max(axis=0)
    return np.asarray(top + np.log(np.exp(logs - top).sum(axis=0)), dtype=np.float64)


def log_e_harm(canary: ArrayLike, control: ArrayLike) -> Array:
    """Return log e against "the canary's shoppers have an event no more often than the control's"; events per arm."""
    c, k = np.asarray(canary, dtype=np.float64), np.asarray(control, dtype=np.float64)
    thetas = [r / (1 + r) for r in HARM_RATIOS]
    return _log_mean([(1 / len(thetas), c * log(2 * t) + k * log(2 * (1 - t))) for t in thetas])


def log_e_proof(canary: ArrayLike, control: ArrayLike, shoppers: ArrayLike, *, ratio: float, delta: float) -> Array:
    """Return log e against "canary rate >= max(ratio x control rate, delta)"; events per arm, settled canary shoppers.

    `shoppers` counts those whose outcome is known: every shopper with an event, and every other whose time to have
    one is over. With delta 0 a rate cannot be "rare": only the ratio is bet on.
    """
    c, k = np.asarray(canary, dtype=np.float64), np.asarray(control, dtype=np.float64)
    clean = np.maximum(np.asarray(shoppers, dtype=np.float64) - c, 0.0)
    rare_share = RARE_SHARE if delta > 0 else 0.0
    null = ratio / (1 + ratio)
    terms: list[tuple[float, Array]] = []
    for bet, weight in _ratio_bets(ratio):
        theta = bet / (1 + bet)
        logs = c * log(theta / null) + k * log((1 - theta) / (1 - null))
        terms.append(((1 - rare_share) * weight, logs))
    if delta > 0:
        for part, weight in RARE_BETS:
            logs = xlogy(c, part) + clean * (log1p(-part * delta) - log1p(-delta))
            terms.append((rare_share * weight, logs))
    return _log_mean(terms)


def log_e_mismatch(canary: ArrayLike, control: ArrayLike) -> Array:
    """Return log e against "a shopper of either arm is the canary's with probability 1/2"; shoppers per arm.

    The Beta(1/2, 1/2) mixture, two-sided: the test of Lindon & Malek for two arms.
    """
    c, k = np.asarray(canary, dtype=np.float64), np.asarray(control, dtype=np.float64)
    return np.asarray((c + k) * log(2) + betaln(c + 0.5, k + 0.5) - betaln(0.5, 0.5), dtype=np.float64)


def harm_boundary(limit: int, log_threshold: float) -> NDArray[np.int64]:
    """Find the fewest canary events at which `log_e_harm` reaches the threshold, for each of 0..limit control ones."""
    control = np.arange(limit + 1)
    low, high = np.full(limit + 1, -1), np.full(limit + 1, 1)
    while (short := log_e_harm(high, control) < log_threshold).any():
        high[short] *= 2
    while (open_ := high - low > 1).any():
        middle = (low + high) // 2
        reached = log_e_harm(middle, control) >= log_threshold
        high = np.where(open_ & reached, middle, high)
        low = np.where(open_ & ~reached, middle, low)
    return high.astype(np.int64)


def clean_shoppers_needed(*, beta: float, ratio: float, delta: float) -> int:
    """Find how many shoppers without any event in either arm it takes until the proof reaches 1/beta."""
    low, high = 0, 1
    while log_e_proof(0, 0, high, ratio=ratio, delta=delta) < -log(beta):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        reached = log_e_proof(0, 0, middle, ratio=ratio, delta=delta) >= -log(beta)
        low, high = (low, middle) if reached else (middle, high)
    return high
