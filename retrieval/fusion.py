"""Two opinions of one query, words and meaning, made into one ranking.

`fuse` adds the scores, each on a scale of its own query, and keeps how much better one document is than the next;
`reciprocal_rank` knows only the order. Which is better, and the weight, was measured: docs/search.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.topk import top_k

Scores = NDArray[np.float32]

#: Share of the dense score in the sum.
DENSE_WEIGHT = 0.4
#: Places of each ranking that count, and the constant of reciprocal rank fusion as its authors have it.
DEPTH = 100
CONSTANT = 60.0


def fuse(lexical: Scores, dense: Scores, weight: float = DENSE_WEIGHT) -> Scores:
    """(1 - weight) x lexical / its maximum + weight x dense; both [N], result [N].

    lexical: BM25 scores, not negative. dense: cosines. Where no word of the query is known lexical is 0 throughout
    and the dense score decides alone.
    """
    highest = lexical.max(initial=np.float32(0.0))
    words = lexical / highest if highest > 0 else lexical
    fused: Scores = np.float32(1.0 - weight) * words + np.float32(weight) * dense
    return fused


def reciprocal_rank(lexical: Scores, dense: Scores, depth: int = DEPTH) -> Scores:
    """Sum of 1 / (60 + rank) over both rankings' first `depth` places, float32 [N]; 0 for what is in neither."""
    fused = np.zeros(len(lexical), dtype=np.float32)
    for scores, exclude in ((lexical, lexical <= 0), (dense, None)):
        best, _ = top_k(scores, depth, exclude)
        fused[best] += (1.0 / (CONSTANT + np.arange(1, len(best) + 1))).astype(np.float32)
    return fused
