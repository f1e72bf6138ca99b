"""A release whose search does not fit its catalog is refused, whatever the catalog is like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts import release as files
from retrieval.bm25 import BM25Index
from training.search_check import check_search

NOUNS = ("lamp", "desk", "chair", "kettle", "blanket", "shelf", "mirror")
CATALOGS = {
    "few": [f"{noun} of oak" for noun in NOUNS],
    "numbered": [f"Item {number}" for number in range(300)],
    "alike": ["black shirt"] * 40 + [f"shirt {number}" for number in range(40)],
    "chinese": [
        f"{colour}色{thing}{size}寸"
        for colour in "红蓝绿黑白"
        for thing in ("台灯", "书桌", "椅子")
        for size in range(8)
    ],
    "long": [f"{' '.join(NOUNS)} number {number} of {NOUNS[number % 7]}" for number in range(100)],
    "no words": ["—"] * 50,
}


@pytest.mark.parametrize("name", CATALOGS)
def test_an_index_of_the_catalog_passes_and_of_a_shuffled_one_does_not(tmp_path: Path, name: str) -> None:
    texts = CATALOGS[name]
    BM25Index.build(texts).save(tmp_path / files.BM25)
    check = check_search(tmp_path, texts, meaning=False, seed=3)
    assert check.passed, check.sentence
    shuffled = [texts[row] for row in np.roll(np.random.default_rng(1).permutation(len(texts)), 1)]
    BM25Index.build(shuffled).save(tmp_path / files.BM25)
    check = check_search(tmp_path, texts, meaning=False, seed=3)
    if len(set(texts)) > 1:  # where all texts are the same, no order is wrong
        assert not check.passed or name == "alike"  # half of them are one text
        assert name == "alike" or "of other items" in check.sentence


def test_text_vectors_of_other_items_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{noun} {number}" for number in range(20) for noun in NOUNS]
    vectors = np.random.default_rng(0).normal(size=(len(texts), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    class Encoder:
        def encode(self, asked: list[str]) -> np.ndarray:
            return np.stack([vectors[texts.index(text)] for text in asked])

    monkeypatch.setattr("training.search_check.TextEncoder.load", lambda *_args, **_kw: Encoder())
    BM25Index.build(texts).save(tmp_path / files.BM25)
    path = tmp_path / files.ITEM_TEXT_VECTORS
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    assert check_search(tmp_path, texts, meaning=True, seed=3).passed
    np.save(path, vectors[np.random.default_rng(2).permutation(len(texts))])
    check = check_search(tmp_path, texts, meaning=True, seed=3)
    assert not check.passed
    assert "by meaning" in check.sentence
