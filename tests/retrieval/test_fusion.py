from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.fusion import fuse

LEXICAL = arrays(np.float32, 20, elements=st.floats(0, 30, width=32, allow_subnormal=False))
DENSE = arrays(np.float32, 20, elements=st.floats(-1, 1, width=32, allow_subnormal=False))


@given(LEXICAL, DENSE)
def test_better_by_both_is_better_fused(lexical: np.ndarray, dense: np.ndarray) -> None:
    order = np.argsort(fuse(lexical, dense), kind="stable")
    for low, high in pairwise(order):
        assert not (lexical[low] > lexical[high] + 1e-3 and dense[low] > dense[high] + 1e-3)


@given(DENSE)
def test_without_words_the_vectors_decide(dense: np.ndarray) -> None:
    order = np.argsort(-fuse(np.zeros(20, dtype=np.float32), dense), kind="stable")
    assert (np.diff(dense[order]) < 1e-6).all()


@given(LEXICAL, DENSE, st.sampled_from([0.5, 2.0, 8.0]))
def test_the_scale_of_word_scores_does_not_matter(lexical: np.ndarray, dense: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(fuse(lexical * np.float32(factor), dense), fuse(lexical, dense), atol=1e-5)
