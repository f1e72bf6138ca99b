"""Learns which items read alike, from the vectors of their texts: how an item that nobody chose yet is found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from retrieval.ranking.item_lists import ItemLists

LONGEST = 50
#: How much more a likeness of 1 counts than one of 0.
SHARPNESS = 8.0
CHUNK = 1_024


def content(vectors: npt.NDArray[np.float32]) -> ItemLists:
    """Return the items whose text vectors [N, E] (unit length; zeros: no text) are nearest to each item's."""
    count = len(vectors)
    longest = min(LONGEST, max(0, count - 1))
    textless: npt.NDArray[np.bool_] = ~np.any(vectors != 0, axis=1)
    rows, items, weights = [], [], []
    for start in range(0, count, CHUNK):
        own = np.arange(start, min(start + CHUNK, count))
        likeness = vectors[own] @ vectors.T
        likeness[np.arange(len(own)), own] = -np.inf
        likeness[:, textless] = -np.inf
        if not longest:
            break
        near = np.argpartition(-likeness, longest - 1, axis=1)[:, :longest]
        found = np.take_along_axis(likeness, near, axis=1)
        usable = np.isfinite(found) & ~textless[own][:, None]
        rows.append(np.repeat(own, longest).reshape(near.shape)[usable])
        items.append(near[usable])
        weights.append(np.exp(SHARPNESS * (found[usable] - 1)))
    joined = [np.concatenate(part) if part else np.zeros(0) for part in (weights, rows, items)]
    place = (joined[1].astype(np.int64), joined[2].astype(np.int64))
    return ItemLists.of(sparse.coo_matrix((joined[0], place), shape=(count, count)).tocsr(), LONGEST)
