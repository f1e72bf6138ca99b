"""Draws small sources for tests: lists with every oddity that the training may write."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from retrieval.ranking.item_lists import ItemLists
from retrieval.ranking.sources import LISTS, SourceData

ITEMS = 40


def source_data(seed: int, *, lists: tuple[str, ...] = LISTS, items: int = ITEMS) -> SourceData:
    """Draw sources of `items` items in five categories, some in none; some items were never chosen."""
    draw = np.random.default_rng(seed)
    found = {
        name: ItemLists.of(sparse.random(items, items, 0.2, random_state=seed + place, format="csr"), 6)
        for place, name in enumerate(lists)
    }
    popularity = draw.random(items) * (draw.random(items) < 0.8)
    category = draw.integers(-1, 5, items).astype(np.int32)
    return SourceData(found, (popularity / max(popularity.sum(), 1e-12)).astype(np.float32), category)


histories = st.lists(st.integers(0, ITEMS - 1), max_size=30).map(lambda items: np.array(items, dtype=np.int64))
seeds = st.integers(0, 50)
