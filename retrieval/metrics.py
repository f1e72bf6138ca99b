"""Computes ranking metrics over whole arrays where each query has one target, and how sure they are.

Shapes: Q queries, K places of a list, N items. Ranks are 1-based. Lists hold item numbers, best first, -1 where a list
is shorter than K. For graded judgments see retrieval.graded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


# one target per query


def _checked(ranks: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(ranks)
    if array.size and array.min() < 1:
        raise ValueError("ranks are 1-based")
    return array.astype(np.int64, copy=False)


def hit_rate(ranks: ArrayLike, k: int) -> Values:
    """Return 1 where the target is among the first `k`, else 0; [Q]. With one target this is recall, too."""
    return (_checked(ranks) <= k).astype(np.float64)


def discount(ranks: ArrayLike) -> Values:
    """Return how much a place counts in NDCG, 1 / log2(1 + rank), in the shape of `ranks`."""
    counted: Values = 1.0 / np.log2(1.0 + np.asarray(ranks, dtype=np.float64))
    return counted


def ndcg(ranks: ArrayLike, k: int) -> Values:
    """Return the discount where the target is among the first `k`, else 0; [Q]. The best list has 1."""
    array = _checked(ranks)
    return np.where(array <= k, discount(array), 0.0)


def headline(ranks: ArrayLike) -> Values:
    """Return the figure of each question that releases are compared by, contracts.release.HEADLINE: NDCG@10; [Q]."""
    return ndcg(ranks, 10)


def mrr(ranks: ArrayLike, k: int | None = None) -> Values:
    """Return 1 / rank, 0 beyond the first `k`; [Q]."""
    array = _checked(ranks)
    reciprocal: Values = 1.0 / array
    return reciprocal if k is None else np.where(array <= k, reciprocal, 0.0)


def summarize(ranks: ArrayLike, ks: Sequence[int] = (5, 10, 20)) -> dict[str, float]:
    """Average over queries: hr_at_k, recall_at_k, ndcg_at_k, mrr_at_k for each k, mrr, and `queries`, their count.

    Without queries every mean is NaN, which no gate may take for a value.
    """
    array = _checked(ranks)
    summary: dict[str, float] = {"queries": float(array.size)}
    with np.errstate(invalid="ignore"):
        for k in ks:
            summary[f"hr_at_{k}"] = summary[f"recall_at_{k}"] = _mean(hit_rate(array, k))
            summary[f"ndcg_at_{k}"] = _mean(ndcg(array, k))
            summary[f"mrr_at_{k}"] = _mean(mrr(array, k))
        summary["mrr"] = _mean(mrr(array))
    return summary


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else float("nan")


# beyond accuracy


def coverage(lists: NDArray[np.integer], items: int) -> float:
    """Return the share of `items` that are in at least one of `lists` [Q, K]."""
    shown = np.unique(lists)
    return float(np.count_nonzero(shown >= 0) / items) if items else float("nan")


def novelty(lists: NDArray[np.integer], counts: ArrayLike) -> Values:
    """Return the mean surprise [Q] of each list in bits: -log2 of an item's share of all interactions, `counts` [N].

    One is added to every count, so that an item without interactions is very novel, not infinitely so.
    """
    smoothed = np.asarray(counts, dtype=np.float64) + 1.0
    surprise = -np.log2(smoothed / smoothed.sum())
    present = lists >= 0
    total = np.where(present, surprise[np.where(present, lists, 0)], 0.0).sum(axis=1)
    places = present.sum(axis=1)
    mean: Values = np.divide(total, places, out=np.zeros(len(lists)), where=places > 0)
    return mean


# how sure


def bootstrap_interval(
    values: ArrayLike,
    seed: int,
    level: float = 0.95,
    *,
    resamples: int = 1000,
    groups: ArrayLike | None = None,
) -> tuple[float, float]:
    """Draw the percentile bootstrap interval (low, high) of the mean of `values` [Q].

    `groups` [Q] names what is drawn as a whole, such as the session whose prefixes are the queries: values of one
    group are not independent, and drawing them one by one would make the interval too narrow.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return float("nan"), float("nan")
    if groups is None:
        sums: Values = array
        sizes: Values = np.ones(array.size)
    else:
        _, member = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.asarray(np.bincount(member, weights=array), dtype=np.float64)
        sizes = np.asarray(np.bincount(member), dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, 2_000_000 // len(sums))
    for start in range(0, resamples, step):  # blocks, so that memory stays bounded
        drawn = rng.integers(0, len(sums), size=(min(step, resamples - start), len(sums)), dtype=np.int32)
        means[start : start + step] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference_interval(
    a: ArrayLike,
    b: ArrayLike,
    seed: int,
    level: float = 0.95,
    *,
    resamples: int = 1000,
    groups: ArrayLike | None = None,
) -> tuple[float, float]:
    """Draw the bootstrap interval of the mean of `a` - `b`, both [Q] for the same queries in the same order."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} values against {second.size}: they must be of the same queries")
    return bootstrap_interval(first - second, seed, level, resamples=resamples, groups=groups)
