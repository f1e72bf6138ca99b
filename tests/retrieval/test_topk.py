from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.topk import top_k

# few different values, so that ties are common
VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5, 2.0, np.nan])
ROWS = arrays(np.float32, st.integers(0, 30), elements=VALUES)
MATRICES = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 20)), elements=VALUES)


def by_sorting(scores: np.ndarray, k: int) -> list[int]:
    usable = [i for i in range(len(scores)) if scores[i] > -np.inf]
    return sorted(usable, key=lambda i: (-scores[i], i))[:k]


@given(ROWS, st.integers(0, 40))
def test_a_row_is_as_if_sorted(scores: np.ndarray, k: int) -> None:
    before = scores.copy()
    indices, found = top_k(scores, k)
    assert indices.tolist() == by_sorting(scores, k)
    np.testing.assert_array_equal(found, scores[indices])
    np.testing.assert_array_equal(scores, before)


@given(MATRICES, st.integers(0, 25))
def test_a_matrix_is_as_its_rows(scores: np.ndarray, k: int) -> None:
    indices, found = top_k(scores, k)
    assert indices.shape == (len(scores), min(k, scores.shape[1]))
    for row in range(len(scores)):
        one, score = top_k(scores[row], k)
        assert indices[row, : len(one)].tolist() == one.tolist()
        assert (indices[row, len(one) :] == -1).all()
        np.testing.assert_array_equal(found[row, : len(one)], score)


@given(ROWS, st.data())
def test_what_is_excluded_never_comes(scores: np.ndarray, data: st.DataObject) -> None:
    mask = data.draw(arrays(np.bool_, len(scores)))
    by_mask, by_index = top_k(scores, 10, mask)[0], top_k(scores, 10, np.flatnonzero(mask))[0]
    assert not mask[by_mask].any()
    assert by_mask.tolist() == by_index.tolist()


def test_one_mask_serves_all_rows() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert top_k(scores, 2, np.array([True, False, False]))[0].tolist() == [[1, 2], [2, 1]]


def test_indices_can_not_be_excluded_from_a_matrix() -> None:
    with pytest.raises(ValueError, match="mask"):
        top_k(np.zeros((2, 3)), 1, np.array([0]))
