"""Exact probabilities for streams of events, by dynamic programming over (canary, control) counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def crossing_probability(boundary: NDArray[np.int64], events: int, theta: float = 0.5) -> float:
    """Probability that a look after every event sees the canary's count at the boundary, within so many events.

    `boundary[k]`: the canary events that cross at k control events; `theta`: probability that an event is the canary's.
    """
    alive = np.zeros(events + 1)  # by canary events, given that it has not crossed
    alive[0] = 1.0
    crossed = 0.0
    canary = np.arange(events + 1)
    for n in range(1, events + 1):
        alive[1 : n + 1] = (1 - theta) * alive[1 : n + 1] + theta * alive[:n]
        alive[0] *= 1 - theta
        over = canary[: n + 1] >= boundary[n - canary[: n + 1]]
        crossed += float(alive[: n + 1][over].sum())
        alive[: n + 1][over] = 0.0
    return crossed
