"""Chooses items that are good and unlike one another, by a determinantal point process and one knob."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking.item_lists import Floats, Indexes

#: A variance below this is none: the item is a copy of what was chosen.
_LEAST = 1e-6


def choose_diverse(scores: Floats, vectors: Floats, k: int, knob: float) -> Indexes:
    """Choose up to `k` of C candidates, the best first: places int64 [k].

    scores [C], logits; vectors [C, D], unit length. `knob` in [0, 1): 0 is the order of the scores; the higher it is,
    the less an item is worth that resembles those chosen before it. Greedy maximum of the log probability of a
    determinantal point process (Chen, Zhang and Zhou, 2018), with the weight knob / (1 - knob) on the determinant.
    """
    order = np.lexsort((np.arange(len(scores)), -scores))
    if knob <= 0 or not len(scores):
        return order[:k].astype(np.int64)
    weight = knob / (1 - knob)
    variance = np.ones(len(scores))
    steps: NDArray[np.float64] = np.zeros((min(k, len(scores)), len(scores)))
    left = np.ones(len(scores), dtype=bool)
    chosen: list[int] = []
    for step in range(min(k, len(scores))):
        gain = scores + weight * np.log(np.maximum(variance, _LEAST))
        best = int(order[np.argmax(np.where(left[order], gain[order], -np.inf))])
        chosen.append(best)
        left[best] = False
        likeness = (1 + (vectors @ vectors[best]).astype(np.float64)) / 2  # 0 to 1: opposites are the most unlike
        found = (likeness - steps[:step, best] @ steps[:step]) / np.sqrt(max(variance[best], _LEAST))
        steps[step] = found
        variance = np.maximum(variance - found**2, 0.0)
    return np.array(chosen, dtype=np.int64)


def list_diversity(vectors: Floats) -> float:
    """Return the mean of 1 - cosine over all pairs of a list's vectors [K, D], unit length; NaN below two items."""
    count = len(vectors)
    if count < 2:
        return float("nan")
    likeness = vectors @ vectors.T
    return float(1 - (likeness.sum() - np.trace(likeness)) / (count * (count - 1)))
