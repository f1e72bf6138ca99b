"""Simulated canaries: shoppers and their events per window, for many releases at once. All arrays are [T, n].

T windows of one look each, n releases. A release goes through the steps of the default policy, by their minimum
exposures; both arms gain shoppers at the share of the step. Traffic changes how many come and when, never the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monitoring.canary_policy import STEPS

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Kind = Literal["steady", "diurnal", "bursty", "gappy", "repeat failers"]

KINDS: tuple[Kind, ...] = ("steady", "diurnal", "bursty", "gappy", "repeat failers")
WINDOWS = 120
DAY = 24  # windows
SHOPPERS = 500  # new ones in the whole shop per window, on average
#: Repeat failers: the first failure comes this many windows after the first exposure, and a shopper (failing or not)
#: comes back in the next window with probability RETURN.
DELAY = (0.4, 0.3, 0.2, 0.1)
RETURN = 0.8


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """New shoppers of a window per arm; whether its log arrived; whether its look may promote."""

    control: Counts
    canary: Counts
    delivered: Mask
    last: Mask


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One guardrail. Totals up to each window: first events and settled shoppers; beside them what judges see that
    take each window for itself: visits and failures of that window, repeated ones too."""

    control_events: Counts
    canary_events: Counts
    control_settled: Counts
    canary_settled: Counts
    control_visits: Counts
    canary_visits: Counts
    control_failures: Counts
    canary_failures: Counts


def intensity(kind: Kind, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Traffic of each window relative to the mean, [T, n]."""
    time = np.arange(WINDOWS)[:, None]
    match kind:
        case "diurnal":
            return 1 + 0.9 * np.sin(2 * np.pi * (time / DAY + rng.random(n)))
        case "bursty":
            return rng.gamma(0.25, 4.0, (WINDOWS, n))
        case "gappy":  # outages of three windows on average, three tenths of the time
            on = np.ones((WINDOWS, n))
            on[0] = rng.random(n) < 0.7
            for t in range(1, WINDOWS):
                u = rng.random(n)
                on[t] = np.where(on[t - 1] > 0, u >= 1 / 7, u < 1 / 3)
            return on / 0.7
        case _:
            return np.ones((WINDOWS, n))


def traffic(kind: Kind, n: int, rng: np.random.Generator) -> Traffic:
    """Shoppers of n canaries that nobody stops, through all steps."""
    level = intensity(kind, n, rng)
    delivered = rng.random((WINDOWS, n)) >= (0.2 if kind == "gappy" else 0.0)
    minimum = np.array([s.minimum_shoppers for s in STEPS])
    share = np.array([s.share for s in STEPS]) / 100
    control, canary = (np.zeros((WINDOWS, n), dtype=np.int64) for _ in range(2))
    last = np.zeros((WINDOWS, n), dtype=bool)
    step = np.zeros(n, dtype=np.int64)
    total, at_step = np.zeros((2, n), dtype=np.int64), np.zeros((2, n), dtype=np.int64)
    for t in range(WINDOWS):
        both = rng.poisson(2 * SHOPPERS * share[step] * level[t])
        canary[t] = rng.binomial(both, 0.5)
        control[t] = both - canary[t]
        total += (control[t], canary[t])
        enough = delivered[t] & ((total - at_step).min(axis=0) >= minimum[step])
        last[t] = enough & (step == len(STEPS) - 1)
        moves = enough & ~last[t]
        at_step = np.where(moves, total, at_step)
        step = step + moves
    return Traffic(control=control, canary=canary, delivered=delivered, last=last)


def stream(shoppers: Traffic, kind: Kind, control_rate: Any, canary_rate: Any, rng: np.random.Generator) -> Stream:
    """Events of one guardrail; rates per shopper, numbers or arrays that broadcast to [T, n]."""
    arms = [
        _arm(new, kind, rate, rng) for new, rate in ((shoppers.control, control_rate), (shoppers.canary, canary_rate))
    ]
    names = ("events", "settled", "visits", "failures")
    return Stream(
        **{
            f"{arm}_{name}": a
            for arm, arrays in zip(("control", "canary"), arms, strict=True)
            for name, a in zip(names, arrays, strict=True)
        }
    )


def _arm(new: Counts, kind: Kind, rate: Any, rng: np.random.Generator) -> tuple[Counts, Counts, Counts, Counts]:
    failing = np.zeros_like(new) if np.isscalar(rate) and rate == 0 else rng.binomial(new, rate)
    if kind != "repeat failers":
        return failing.cumsum(axis=0), new.cumsum(axis=0), new, failing
    first = np.zeros_like(new)
    waiting, chance = failing, 1.0
    for windows, part in enumerate(DELAY):
        now = rng.binomial(waiting, min(1.0, part / chance))
        first[windows:] += now[: WINDOWS - windows]
        waiting, chance = waiting - now, chance - part
    events = first.cumsum(axis=0)
    lag = len(DELAY) - 1  # a cohort is settled when its last failures have come; its shoppers with an event at once
    settled_new, settled_events = (_later(a.cumsum(axis=0), lag) for a in (new, failing))
    return events, settled_new + events - settled_events, _with_returns(new, rng), _with_returns(first, rng)


def _later(totals: Counts, lag: int) -> Counts:
    return np.concatenate([np.zeros_like(totals[:lag]), totals[:-lag]])


def _with_returns(new: Counts, rng: np.random.Generator) -> Counts:
    active = np.zeros_like(new)
    active[0] = new[0]
    for t in range(1, WINDOWS):
        active[t] = new[t] + rng.binomial(active[t - 1], RETURN)
    return active
