"""How good each candidate is for this query."""

from __future__ import annotations

import numpy as np

from serving.bundle.release import Floats, Release
from serving.pipeline.candidates import Candidates


def by_sequence(release: Release, vector: Floats, candidates: Candidates) -> Candidates:
    """The sequence model's score, for the candidates of every source alike."""
    score = release.vectors[candidates.index] @ vector + release.offset[candidates.index]
    return candidates.scored(score.astype(np.float32))


def by_order(candidates: Candidates) -> Candidates:
    """1, 1/2, 1/3, ... in the order the sources gave: what popularity lists mean."""
    return candidates.scored((1.0 / np.arange(1, len(candidates) + 1)).astype(np.float32))
