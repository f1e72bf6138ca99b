"""Text search and items like an item: scores over the whole catalog, fused, the best k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.topk import top_k
from serving.release import Floats, Indexes, Release

#: How many results of each ranking take part in the fusion.
FUSION_DEPTH = 100


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Items, best first, with their scores."""

    index: Indexes
    score: Floats


def search(release: Release, query: str, k: int, vector: Floats | None) -> Ranking:
    """The k items that match `query` best: BM25, fused with text vectors where the query's own is given."""
    lexical = release.bm25.scores(query)
    if vector is None or release.text_vectors is None:
        index, score = top_k(lexical, k, exclude=lexical <= 0)
        return Ranking(index=index, score=score)
    dense = release.text_vectors @ vector
    rankings = [top_k(lexical, FUSION_DEPTH, exclude=lexical <= 0)[0], top_k(dense, FUSION_DEPTH)[0]]
    index, score = reciprocal_ranks(rankings, k)
    return Ranking(index=index, score=score)


def similar(release: Release, item: int, k: int) -> Ranking:
    """The k available items closest to `item`: cosine of the model's vectors, averaged with that of the texts."""
    own = release.vectors[item] / release.norms[item]
    closeness = (release.vectors @ own) / release.norms
    if release.text_vectors is not None:
        closeness = (closeness + release.text_vectors @ release.text_vectors[item]) / 2
    index, score = top_k(np.where(release.items.available, closeness, -np.inf), k, exclude=np.array([item]))
    return Ranking(index=index, score=score)


def reciprocal_ranks(rankings: list[Indexes], k: int) -> tuple[Indexes, Floats]:
    joined = np.concatenate(rankings)
    gain = np.concatenate([1.0 / (60.0 + np.arange(1, len(one) + 1)) for one in rankings])
    index, position = np.unique(joined, return_inverse=True)
    best, score = top_k(np.bincount(position, gain).astype(np.float32), k)
    return index[best], score
