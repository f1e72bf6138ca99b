"""Selects the answer from the scored candidates, in its order."""

from __future__ import annotations

import numpy as np

from retrieval.ranking.diversity import choose_diverse
from serving.bundle.release import Release
from serving.pipeline.candidates import Candidates, Query

#: Best candidates among which a diverse list is chosen, for each place of it.
POOL = 10


def select(candidates: Candidates, k: int, max_per_category: int | None = None) -> Candidates:
    """Return the `k` best, best first, equal scores by item index; at most `max_per_category` of one category."""
    order = np.lexsort((candidates.index, -candidates.score))
    if max_per_category is not None:
        category = candidates.category[order]
        order = order[(_count_earlier(category) < max_per_category) | (category < 0)]
    return candidates.take(order[:k])


def select_diverse(release: Release, candidates: Candidates, query: Query) -> Candidates:
    """Choose items that are good and unlike one another, as `query.diversity` asks; by texts, else by the model."""
    pool = select(candidates, POOL * query.k, query.max_per_category)
    vectors, index = release.text_vectors, pool.index
    own = vectors[index] if vectors is not None else release.vectors[index] / release.norms[index][:, None]
    return pool.take(choose_diverse(pool.score, own, query.k, query.diversity))


def _count_earlier(values: np.ndarray[tuple[int], np.dtype[np.int32]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count for each value how often it occurred before its own position."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    grouped = np.argsort(values, kind="stable")
    ordered = values[grouped]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    rank = np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
    result = np.empty(len(values), dtype=np.int64)
    result[grouped] = rank
    return result
