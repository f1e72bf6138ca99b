"""Counts how popular items are: by shoppers, each of whom weighs once a day, however often they act."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.data.datasets import DAY_US, Ints, Sequences

#: Half-life: what sold last week counts more than what sold last year.
HALF_LIFE_DAYS = 7.0


def popularity(sequences: Sequences, item_count: int) -> npt.NDArray[np.float64]:
    """Sum up for each item the shoppers of each day who chose it, later days weighing more: float64 [N].

    One sequence is one shopper. Nobody weighs more than once on an item and day, so no list is one name's work.
    """
    kept = once_a_day(sequences, item_count)
    age_days = (sequences.times.max(initial=0) - sequences.times[kept]) / DAY_US
    weights = 0.5 ** (age_days / HALF_LIFE_DAYS)
    return np.bincount(sequences.items[kept] - 1, weights=weights, minlength=item_count).astype(np.float64)


def once_a_day(sequences: Sequences, item_count: int) -> Ints:
    """Return the places of each shopper's last action on each item and day, ascending."""
    if not len(sequences.items):
        return np.zeros(0, dtype=np.int64)
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    day = sequences.times // DAY_US
    day -= day.min()
    key = (owner * (int(day.max()) + 1) + day) * (item_count + 1) + sequences.items
    _, last = np.unique(key[::-1], return_index=True)  # times ascend within a sequence
    return np.sort(len(key) - 1 - last)
