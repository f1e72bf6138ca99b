"""Estimates how much two nights of an unchanging shop differ by chance: by the questions asked, and by training.

Differences are relative: a share of the champion's figure. The noise of the questions is measured in every
evaluation (the standard error of the paired difference over shoppers). That of training cannot be seen in one
evaluation: it is the part of earlier nights' differences beyond the first, held near the figure measured for the recipe
on many shops (`python -m tests.bench.nights`) as long as there are few nights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: How many nights of its own count as much as the figure measured for the recipe; and how many count at all.
PRIOR_NIGHTS, NEWEST_NIGHTS = 10, 30
#: Standard deviation of a normal distribution over its median distance from zero.
_SCALE = 1.4826


@dataclass(frozen=True, kw_only=True)
class Night:
    """One night's relative difference between challenger and champion, and the part of it due to the questions."""

    difference: float
    standard_error: float


def training_noise(nights: Sequence[Night], measured: float) -> float:
    """Estimate the standard deviation of a relative difference that is due to training alone.

    By the median of the newest nights' differences, so that a few nights that were really worse or better do not
    count as noise.
    """
    known = [n for n in nights if math.isfinite(n.difference) and math.isfinite(n.standard_error)][-NEWEST_NIGHTS:]
    if not known:
        return measured
    differences = np.array([n.difference for n in known])
    # around their median: that every night knows a day more than the one before is no noise
    whole = _SCALE * float(np.median(np.abs(differences - (np.median(differences) if len(known) > 2 else 0.0))))
    seen = max(0.0, whole**2 - float(np.mean([n.standard_error**2 for n in known])))
    variance = (PRIOR_NIGHTS * measured**2 + len(known) * seen) / (PRIOR_NIGHTS + len(known))
    return math.sqrt(variance)
