"""Selects the k best of many scores, without a Python loop over candidates and with one order for ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(
    scores: NDArray[np.floating],
    k: int,
    exclude: NDArray[np.bool_] | NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return indices and scores of the `k` highest, best first; equal scores go by the lower index.

    scores: [N] or [Q, N]. exclude: a mask that broadcasts to scores, or, for one row of scores, an array of indices.
    A score that is excluded, -inf or NaN is never returned: one row comes back shorter than `k`, rows of a
    matrix ([Q, min(k, N)]) are filled with index -1 and score -inf.
    """
    usable = np.array(scores, dtype=np.float32)  # a copy: the caller keeps theirs as it is
    usable[np.isnan(usable)] = -np.inf
    if exclude is not None:
        exclude = np.asarray(exclude)
        if exclude.dtype == np.bool_:
            usable[np.broadcast_to(exclude, usable.shape)] = -np.inf
        elif usable.ndim == 1:
            usable[exclude.astype(np.int64)] = -np.inf
        else:
            raise ValueError("indices can be excluded from one row only; give a mask for a matrix of scores")
    k = max(0, min(int(k), usable.shape[-1]))
    if usable.ndim == 1:
        indices = _one_row(usable, k)
        found = usable[indices]
        keep = int(np.count_nonzero(found > -np.inf))
        return indices[:keep], found[:keep]
    return _rows(usable, k)


def _one_row(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return indices [k] of the best, ties by index; `argpartition` alone picks any of those that tie at the edge."""
    if k == 0:
        return np.empty(0, dtype=np.int64)
    edge = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > edge)
    chosen = np.concatenate([above, np.flatnonzero(scores == edge)[: k - len(above)]])
    return chosen[np.lexsort((chosen, -scores[chosen]))].astype(np.int64, copy=False)


def _rows(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if k == 0 or scores.shape[0] == 0:
        shape = (scores.shape[0], k)
        return np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
    width = scores.shape[1]
    indices = np.argpartition(scores, width - k, axis=1)[:, width - k :].astype(np.int64)
    indices.sort(axis=1)
    found = np.take_along_axis(scores, indices, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")  # stable over sorted indices: ties by index
    indices, found = np.take_along_axis(indices, order, axis=1), np.take_along_axis(found, order, axis=1)
    edge = found[:, -1:]
    tied = np.flatnonzero((scores == edge).sum(axis=1) > (found == edge).sum(axis=1))
    for row in tied:  # only rows whose last place is shared with one left out
        indices[row] = _one_row(scores[row], k)
    return np.where(found > -np.inf, indices, -1), found
