"""Learns every source that needs no network from the interactions before one moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.ranking.item_lists import ItemLists
from retrieval.ranking.sources import SourceData
from training.data.datasets import Sequences
from training.data.popularity import popularity
from training.sources import neighbours
from training.sources.content import content


def learn(
    sequences: Sequences, category: npt.NDArray[np.int32], available: npt.NDArray[np.bool_],
    reads_like: ItemLists | None,
) -> SourceData:  # fmt: skip
    """Learn from `sequences` over N items: category [N] as `category_codes` gives it; `reads_like` of their texts."""
    count = len(category)
    chosen = np.bincount(sequences.items - 1, minlength=count)
    found = neighbours.pairs(sequences)
    lists = {
        "follows": neighbours.follows(found, count),
        "neighbours": neighbours.neighbours(found, count, chosen),
    }
    if reads_like is not None:
        lists["content"] = reads_like
    popular = np.where(available, popularity(sequences, count), 0.0)
    return SourceData(lists, (popular / max(float(popular.sum()), 1e-12)).astype(np.float32), category)


def category_codes(items: pa.Table) -> npt.NDArray[np.int32]:
    """Return a number for the category of each item of a CATALOG, int32 [N]; -1 where it has none."""
    encoded = items["category"].combine_chunks().cast("string").dictionary_encode()
    return np.array([-1 if code is None else code for code in encoded.indices.to_pylist()], dtype=np.int32)


def reads_like(vectors: npt.NDArray[np.float32] | None) -> ItemLists | None:
    """Return the items that read like each item, or None without text vectors."""
    return None if vectors is None else content(vectors)
