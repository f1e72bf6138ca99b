"""Asks a release's search for its own items by their texts: an index that does not fit the catalog is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from contracts import release as files
from retrieval.bm25 import BM25Index
from retrieval.encoder import TextEncoder
from training.data.datasets import sampled
from training.gate import Check

#: Texts that words, and that sentence vectors, are asked for.
BY_WORDS, BY_MEANING = 300, 60
#: Share of the texts that must find their own item.
LEAST = 0.5


def check_search(bundle: Path, texts: list[str], *, meaning: bool, seed: int) -> Check:
    """Check that the search index and the text vectors in `bundle` find the items with these `texts` [N].

    meaning: whether the texts are words; numbers mean nothing to the text encoder.
    """
    found = {"words": _by_words(bundle, texts, seed)}
    if meaning:
        found["meaning"] = _by_meaning(bundle, texts, seed)
    told = ", ".join(f"{share:.0%} by {way}" for way, share in found.items())
    passed = all(share >= LEAST for share in found.values())
    sentence = f"Search finds items by their own texts: {told}"
    return Check(
        name="search",
        passed=passed,
        sentence=f"{sentence}." if passed else f"{sentence}; {LEAST:.0%} are asked for: its index is of other items.",
    )


def _by_words(bundle: Path, texts: list[str], seed: int) -> float:
    """Return the share of sampled texts for which no item fits better than their own, by words."""
    index = BM25Index.load(bundle / files.BM25)
    asked = [row for row in sampled(len(texts), BY_WORDS, seed).tolist() if index.has_words(texts[row])]
    if not asked:
        return 1.0
    return float(np.mean([_is_first(index.scores(texts[row]), row, 1) for row in asked]))


def _by_meaning(bundle: Path, texts: list[str], seed: int) -> float:
    """Return the share of sampled texts whose item is among the first by the vectors of their texts.

    Among the first, not the very first: queries are encoded by an eight-bit program.
    """
    first = max(1, min(10, len(texts) // 20))
    vectors = np.load(bundle / files.ITEM_TEXT_VECTORS, allow_pickle=False)
    asked = sampled(len(texts), BY_MEANING, seed).tolist()
    queries = TextEncoder.load(bundle / files.ENCODER, threads=1).encode([texts[row] for row in asked])
    return float(np.mean([_is_first(vectors @ query, row, first) for row, query in zip(asked, queries, strict=True)]))


def _is_first(scores: npt.NDArray[np.float32], row: int, first: int) -> bool:
    """Say whether item `row` is among the `first`; equal scores do not count against it, for texts may be alike."""
    return bool(scores[row] > 0 and (scores > scores[row] * (1 + 1e-6)).sum() < first)
