"""Takes candidates from sources: each ranks the catalog its own way and hands over its best."""

from __future__ import annotations

import numpy as np

from retrieval.topk import top_k
from serving.bundle.release import Floats, Indexes, Release


def take_from_sequence(release: Release, vector: Floats, depth: int) -> Indexes:
    """Return the `depth` available items that the sequence model ranks highest in the whole catalog, best first."""
    return top_k(release.vectors @ vector + release.offset, depth)[0]


def take_from_popular(release: Release, category: str | None, depth: int) -> Indexes:
    """Return the `depth` most popular items, those of `category` first."""
    everywhere = release.popular["all"]
    here = release.popular.get(category) if category is not None else None
    return everywhere[:depth] if here is None else merge(here[:depth], everywhere[:depth])[0][:depth]


def merge(*lists: Indexes) -> tuple[Indexes, Indexes]:
    """Return all items of `lists`, each once, by first appearance; and the number of the list each one came from."""
    joined = np.concatenate(lists)
    origin = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    first = np.sort(np.unique(joined, return_index=True)[1])
    return joined[first], origin[first]
