"""Searches by text and for items like an item: scores over the whole catalog, fused, the best k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.fusion import fuse_what_fits
from retrieval.topk import top_k
from serving.bundle.release import Floats, Indexes, Release


@dataclass(frozen=True, kw_only=True)
class SearchRanking:
    """Items, best first, with their scores."""

    index: Indexes
    score: Floats


_NOTHING = SearchRanking(index=np.empty(0, dtype=np.int64), score=np.empty(0, dtype=np.float32))


def search(release: Release, query: str, k: int, vector: Floats | None) -> SearchRanking:
    """Return the k items that match `query` best: BM25, fused with text vectors where the query's `vector` is given.

    None where nothing fits: random letters, an identifier, an emoji, dashes.
    """
    lexical = release.bm25.scores(query)
    if vector is None or release.text_vectors is None or release.encoder is None:
        found = np.where(lexical > 0, lexical, -np.inf)
    else:
        fused = fuse_what_fits(release.bm25, query, lexical, release.text_vectors @ vector, release.encoder)
        if fused is None:
            return _NOTHING
        found = fused
    index, score = top_k(np.where(release.items.available, found, -np.inf), k)
    return SearchRanking(index=index, score=score)


def find_similar(release: Release, item: int, k: int) -> SearchRanking:
    """Return the k available items closest to `item`: cosine of the model's vectors, averaged with the texts' one."""
    own = release.vectors[item] / release.norms[item]
    closeness = (release.vectors @ own) / release.norms
    if release.text_vectors is not None:
        closeness = (closeness + release.text_vectors @ release.text_vectors[item]) / 2
    index, score = top_k(np.where(release.items.available, closeness, -np.inf), k, exclude=np.array([item]))
    return SearchRanking(index=index, score=score)
