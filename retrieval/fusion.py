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
    from retrieval.encoder import TextEncoder

Scores = NDArray[np.float32]

#: Share of the dense score in the sum.
DENSE_WEIGHT = 0.4
#: The best cosine that chance gives among N items rises with ln N, and with the pieces per character into which the
#: encoder has to break what is asked: few for a word, many for random letters. Of MiniLM, measured (docs/search.md).
CHANCE, CHANCE_GROWTH, CHANCE_BROKEN = 0.1, 0.0235, 0.3
#: Pieces per character of what shoppers ask, half of the time.
USUALLY_BROKEN = 0.22


def fuse(lexical: Scores, dense: Scores, weight: float = DENSE_WEIGHT) -> Scores:
    """Return (1 - weight) x lexical / its maximum + weight x dense; both [N], result [N].

    lexical: BM25 scores, not negative. dense: cosines. Where no word of the query is known lexical is 0 throughout
    and the dense score decides alone.
    """
    highest = lexical.max(initial=np.float32(0.0))
    words = lexical / highest if highest > 0 else lexical
    fused: Scores = np.float32(1.0 - weight) * words + np.float32(weight) * dense
    return fused


def fuse_what_fits(index: BM25Index, query: str, lexical: Scores, dense: Scores, encoder: TextEncoder) -> Scores | None:
    """Return the fused scores; None where nothing fits: no word of `query` is in any text, and no vector is close.

    Vectors find something for every string. Without a floor a shopper who types nonsense would see a page of it, and
    the shop would never learn what it was asked for and has not.
    """
    if not lexical.any() and not (index.has_meaning(query) and is_close(dense, encoder.broken(query))):
        return None
    return fuse(lexical, dense)


def chance(items: int, broken: float = USUALLY_BROKEN) -> float:
    """Return the cosine that the best of so many items hardly ever has with a string without any meaning.

    broken: the pieces per character into which the encoder breaks that string.
    """
    return CHANCE + CHANCE_GROWTH * math.log(max(items, 1)) + CHANCE_BROKEN * broken


def is_close(dense: Scores, broken: float) -> bool:
    """Tell whether a vector is closer to the query, broken into so many pieces per character, than by chance."""
    return bool(dense.max(initial=-1.0) >= chance(len(dense), broken))
