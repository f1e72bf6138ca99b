"""Ranks by the rules that a model must beat: popularity, and the neighbours of the last item."""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from training.data.datasets import Examples, Ints, Sequences
from training.models.ranking import Score

#: How many later items of a sequence count as neighbours of an item, the nearer the more.
WINDOW = 5


def popularity(items: Ints, item_count: int) -> npt.NDArray[np.float32]:
    """Count how often each item was chosen: float32 [N], entry r is item r + 1."""
    return np.bincount(items, minlength=item_count + 1)[1:].astype(np.float32)


def popularity_score(counts: npt.NDArray[np.float32]) -> Score:
    """Score items by their counts, the same for every question."""
    row = torch.from_numpy(counts)

    def score(_: Examples, index: Ints) -> torch.Tensor:
        return row.repeat(len(index), 1)

    return score


def neighbours(sequences: Sequences, item_count: int) -> sparse.csr_matrix:
    """Sum up how often items occur within WINDOW steps of each other, both ways, weighted 1 / distance.

    Sparse float32 [N + 1, N]; row 0 is empty; divided by the square root of the neighbour's own count, so
    that the most popular items are not the neighbours of all.
    """
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    rows, columns, weights = [], [], []
    for distance in range(1, WINDOW + 1):
        same = owner[distance:] == owner[:-distance]
        first, second = sequences.items[:-distance][same], sequences.items[distance:][same]
        different = first != second
        rows += [first[different], second[different]]
        columns += [second[different], first[different]]
        weights.append(np.full(2 * int(different.sum()), 1.0 / distance, dtype=np.float32))
    empty = np.zeros(0, dtype=np.int64)
    values = np.concatenate(weights or [empty.astype(np.float32)])
    place = (np.concatenate(rows or [empty]), np.concatenate(columns or [empty]) - 1)
    matrix = sparse.coo_matrix((values, place), shape=(item_count + 1, item_count), dtype=np.float32).tocsr()
    counts = np.maximum(popularity(sequences.items, item_count), 1.0)
    return matrix.multiply(1.0 / np.sqrt(counts)[None, :]).tocsr()


def neighbours_score(matrix: sparse.csr_matrix, counts: npt.NDArray[np.float32]) -> Score:
    """Score the neighbours of the history's last item; popularity, made tiny, orders the others."""
    filler = torch.from_numpy(counts / max(1.0, float(counts.max(initial=0.0))) * 1e-6)

    def score(examples: Examples, index: Ints) -> torch.Tensor:
        last = np.zeros(len(index), dtype=np.int64)
        known = examples.lengths[index] > 0
        last[known] = examples.items[examples.stops[index][known] - 1]
        dense = matrix[last].toarray().astype(np.float32)
        return torch.from_numpy(dense).add_(filler)

    return score
