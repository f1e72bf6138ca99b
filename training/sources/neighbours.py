"""Learns which items follow one another, and which are near one another, from the order of shoppers' actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from retrieval.ranking.item_lists import ItemLists
from training.data.datasets import DAY_US, Ints, Sequences

#: How many steps apart two items may be, and how far in time: the next visit tells less than this one.
WINDOW = 5
#: Half-life in days of what was seen: shops change.
HALF_LIFE_DAYS = 60.0
#: A pair that fewer shoppers made names nobody's habits in a release.
SHOPPERS = 3
LONGEST = 100


@dataclass(frozen=True)
class Pairs:
    """Pairs (first, second) of items in the order they were chosen; 0-based items, weight by distance and age."""

    first: Ints
    second: Ints
    weight: npt.NDArray[np.float64]
    owner: Ints


def pairs(sequences: Sequences, owners: Ints | None = None) -> Pairs:
    """List all pairs within WINDOW steps of one sequence, except of an item with itself.

    Actions at one instant are a set: none of them follows another. `owners` [S] names the shopper of each sequence.
    """
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    who = owner if owners is None else owners[owner]
    age = (sequences.times.max(initial=0) - sequences.times) / DAY_US
    decay = 0.5 ** (age / HALF_LIFE_DAYS)
    firsts, seconds, weights, whose = [], [], [], []
    for distance in range(1, WINDOW + 1):
        a, b = slice(None, -distance), slice(distance, None)
        kept = (owner[b] == owner[a]) & (sequences.items[b] != sequences.items[a])
        kept &= sequences.times[b] > sequences.times[a]
        firsts.append(sequences.items[a][kept] - 1)
        seconds.append(sequences.items[b][kept] - 1)
        weights.append(decay[b][kept] / distance)
        whose.append(who[b][kept])
    return Pairs(*(np.concatenate(part) for part in (firsts, seconds, weights, whose)))


def follows(found: Pairs, item_count: int, shoppers: int = SHOPPERS) -> ItemLists:
    """Return what is chosen after each item: shares of the weight of all that follow it."""
    matrix = _matrix(found.first, found.second, found.weight, found.owner, item_count, shoppers)
    return ItemLists.of(matrix, LONGEST)


def neighbours(found: Pairs, item_count: int, counts: Ints, shoppers: int = SHOPPERS) -> ItemLists:
    """Return what is chosen near each item, both ways, divided by the square root of the neighbour's own count."""
    matrix = _matrix(
        np.concatenate([found.first, found.second]), np.concatenate([found.second, found.first]),
        np.tile(found.weight, 2), np.tile(found.owner, 2), item_count, shoppers,
    )  # fmt: skip
    scale = 1.0 / np.sqrt(np.maximum(counts, 1.0))
    return ItemLists.of(matrix.multiply(scale[None, :]).tocsr(), LONGEST)


def _matrix(
    first: Ints, second: Ints, weight: npt.NDArray[np.float64], owner: Ints, item_count: int, shoppers: int
) -> sparse.csr_matrix:
    """Sum up the weights of each pair that at least so many shoppers made, [N, N]."""
    shape = (item_count, item_count)
    summed = sparse.coo_matrix((weight, (first, second)), shape=shape).tocsr()
    if shoppers > 1:
        key = first * item_count + second
        order = np.lexsort((owner, key))
        key, whose = key[order], owner[order]
        new = np.ones(len(key), dtype=bool)
        new[1:] = (key[1:] != key[:-1]) | (whose[1:] != whose[:-1])
        pair, count = np.unique(key[new], return_counts=True)
        pair = pair[count >= shoppers]
        kept = sparse.coo_matrix((np.ones(len(pair)), (pair // item_count, pair % item_count)), shape=shape).tocsr()
        summed = summed.multiply(kept).tocsr()
    return summed
