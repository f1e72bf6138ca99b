"""Makes one ranking of the two opinions of a query, words and meaning.

The scores are added, each on a scale of its own query, which keeps how much better one document is than the next.
Reciprocal rank fusion, which knows only the order, does worse. That and the weight were measured: docs/search.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from retrieval.bm25 import BM25Index

Scores = NDArray[np.float32]

#: Share of the dense score in the sum.
DENSE_WEIGHT = 0.4
#: The best cosine that chance gives among N items: a string of random letters, an identifier. Of MiniLM, measured
#: (docs/search.md); the best of more is higher.
CHANCE, CHANCE_GROWTH = 0.30, 0.016


def fuse(lexical: Scores, dense: Scores, weight: float = DENSE_WEIGHT) -> Scores:
    """Return (1 - weight) x lexical / its maximum + weight x dense; both [N], result [N].

    lexical: BM25 scores, not negative. dense: cosines. Where no word of the query is known lexical is 0 throughout
    and the dense score decides alone.
    """
    highest = lexical.max(initial=np.float32(0.0))
    words = lexical / highest if highest > 0 else lexical
    fused: Scores = np.float32(1.0 - weight) * words + np.float32(weight) * dense
    return fused


def fuse_what_fits(index: BM25Index, query: str, lexical: Scores, dense: Scores) -> Scores | None:
    """Return the fused scores; None where nothing fits, or `query` has neither a letter nor a digit.

    A query of which a word was found has one: it is not split a second time.
    """
    if not fits(lexical, dense) or not (lexical.any() or index.has_words(query)):
        return None
    return fuse(lexical, dense)


def chance(items: int) -> float:
    """Return the best cosine that a string without any meaning reaches among so many items, in 19 of 20 cases."""
    return CHANCE + CHANCE_GROWTH * math.log(max(items, 1))


def fits(lexical: Scores, dense: Scores) -> bool:
    """Tell whether anything fits the query: a word of it is in some text, or a vector is closer than by chance.

    Vectors find something for every string. Without a floor a shopper who types nonsense would see a page of it, and
    the shop would never learn what it was asked for and has not.
    """
    return bool(lexical.max(initial=0.0) > 0 or dense.max(initial=-1.0) >= chance(len(dense)))
