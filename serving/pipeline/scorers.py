"""Scores each candidate for a query."""

from __future__ import annotations

import numpy as np

from serving.bundle.release import Floats, Release
from serving.pipeline.candidates import Candidates


def score_by_sequence(release: Release, vector: Floats, candidates: Candidates) -> Candidates:
    """Give the candidates of every source alike the sequence model's score."""
    score = release.vectors[candidates.index] @ vector + release.offset[candidates.index]
    return candidates.with_score(score.astype(np.float32))


def score_by_order(candidates: Candidates) -> Candidates:
    """Score 1, 1/2, 1/3, ... in the order that the sources gave, which is all that a popularity list tells."""
    return candidates.with_score((1.0 / np.arange(1, len(candidates) + 1)).astype(np.float32))
