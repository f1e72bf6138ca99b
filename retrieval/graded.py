"""Computes ranking metrics against graded judgments: many relevant items per query, each to its own degree.

Shapes: Q queries, K places of a list. Lists hold item numbers, best first, -1 where a list is shorter than K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.metrics import Values, discount


@dataclass(frozen=True)
class Judgments:
    """Graded relevance of items for Q queries: query q's are `items[offsets[q]:offsets[q + 1]]`, by item number.

    What is not judged has relevance 0. Relevances are not negative.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    relevance: Values

    @classmethod
    def of(cls, queries: ArrayLike, items: ArrayLike, relevance: ArrayLike, *, count: int) -> Judgments:
        """Make judgments of query numbers, item numbers, relevances in any order; of equal pairs the highest counts."""
        q, i = np.asarray(queries, dtype=np.int64), np.asarray(items, dtype=np.int64)
        r = np.asarray(relevance, dtype=np.float64)
        if not (q.shape == i.shape == r.shape):
            raise ValueError("queries, items and relevance differ in length")
        if q.size and (q.min() < 0 or q.max() >= count or i.min() < 0):
            raise ValueError("a query or item number is out of range")
        if not np.isfinite(r).all() or (r < 0).any():
            raise ValueError("a relevance is negative or not a number")
        order = np.lexsort((-r, i, q))
        q, i, r = q[order], i[order], r[order]
        first = np.ones(q.size, dtype=bool)
        first[1:] = (q[1:] != q[:-1]) | (i[1:] != i[:-1])
        q, i, r = q[first], i[first], r[first]
        return cls(np.searchsorted(q, np.arange(count + 1)).astype(np.int64), i, r)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def _owners(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def gains(self, lists: NDArray[np.integer]) -> Values:
        """Return the relevance [Q, K] of each place of `lists` [Q, K]."""
        if lists.shape[0] != len(self):
            raise ValueError(f"{lists.shape[0]} lists but judgments for {len(self)} queries")
        if not self.items.size or not lists.size:
            return np.zeros(lists.shape)
        width = int(max(self.items.max(), lists.max())) + 1
        keys = self._owners() * width + self.items  # rising, since judgments are sorted
        wanted = np.arange(len(self), dtype=np.int64)[:, None] * width + lists
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        gains: Values = np.where((keys[place] == wanted) & (lists >= 0), self.relevance[place], 0.0)
        return gains

    def ideal(self, k: int) -> Values:
        """Return the `k` highest relevances [Q, k] of each query, falling, 0 where there are fewer."""
        owners = self._owners()
        order = np.lexsort((-self.relevance, owners))
        place = np.arange(len(owners)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))
        best = np.zeros((len(self), k))
        inside = place < k
        best[owners[inside], place[inside]] = self.relevance[order][inside]
        return best

    def relevant(self, least: float = 0.0) -> NDArray[np.int64]:
        """Count the items [Q] that have a relevance above `least`."""
        counted = np.concatenate([[0], np.cumsum(self.relevance > least)])
        return np.asarray(counted[self.offsets[1:]] - counted[self.offsets[:-1]], dtype=np.int64)


def ndcg(lists: NDArray[np.integer], judgments: Judgments, k: int) -> Values:
    """Return NDCG [Q] at `k`, the relevance itself as gain, as in trec_eval; 0 for a query without relevant items."""
    gains, ideal = judgments.gains(lists[:, :k]), judgments.ideal(k)
    counted = discount(np.arange(1, k + 1))
    best = ideal @ counted
    return _ratio(gains @ counted[: gains.shape[1]], best)


def recall(lists: NDArray[np.integer], judgments: Judgments, k: int, least: float = 0.0) -> Values:
    """Return the share [Q] of the items with a relevance above `least` that are among the first `k`; 0 without any."""
    found = (judgments.gains(lists[:, :k]) > least).sum(axis=1)
    return _ratio(found, judgments.relevant(least))


def mrr(lists: NDArray[np.integer], judgments: Judgments, k: int | None = None, least: float = 0.0) -> Values:
    """Return 1 / rank [Q] of the first item with a relevance above `least` among the first `k`, 0 without one."""
    hit = judgments.gains(lists if k is None else lists[:, :k]) > least
    first = hit.argmax(axis=1) if hit.shape[1] else np.zeros(len(hit), dtype=np.int64)
    return np.where(hit.any(axis=1), 1.0 / (first + 1.0), 0.0)


def _ratio(
    part: NDArray[np.floating] | NDArray[np.integer], whole: NDArray[np.floating] | NDArray[np.integer]
) -> Values:
    """Divide `part` by `whole`; 0 where `whole` is 0."""
    ratio: Values = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    return ratio
