"""Defines the two values that travel through the stages: the query and its candidates, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from retrieval.ranking import sources as retrieval_sources
from serving.bundle.release import Floats, Indexes


class Fallback(StrEnum):
    """The reason why an answer is not the best that the release can give."""

    UNKNOWN_SHOPPER = "unknown-shopper"
    UNKNOWN_HISTORY = "no-known-item-in-history"
    ONLINE_TIMEOUT = "online-store-timeout"
    ONLINE_DOWN = "online-store-down"
    MODEL_FAILED = "model-failed"
    NO_TEXT_ENCODER = "no-text-encoder"
    QUERY_ENCODER_FAILED = "query-encoder-failed"
    NOT_ONLINE_YET = "not-online-yet"


#: Sources, by the code that `Candidates.source` holds.
SOURCES = retrieval_sources.SOURCES

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Query:
    """The question and the shopper's history; `history` and `purchased` are item indexes, oldest first."""

    user: str
    k: int
    history: Indexes = field(default_factory=lambda: _NONE)
    purchased: Indexes = field(default_factory=lambda: _NONE)
    excluded: Indexes = field(default_factory=lambda: _NONE)
    category: str | None = None
    within: int | None = None  # on the page of a category its code; see Items.category_code
    hide_purchased: bool = True
    hide_seen: bool = False
    max_per_category: int | None = None
    diversity: float = 0.0
    stale: bool = False
    fallback: Fallback | None = None


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """C items to rank, as columns of length C."""

    index: Indexes
    source: NDArray[np.int8]
    score: Floats
    category: NDArray[np.int32]
    available: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.index)

    def take(self, which: NDArray[np.bool_] | Indexes) -> Candidates:
        """Return the rows that `which` (mask or positions) selects."""
        return Candidates(
            index=self.index[which],
            source=self.source[which],
            score=self.score[which],
            category=self.category[which],
            available=self.available[which],
        )

    def with_score(self, score: Floats) -> Candidates:
        return replace(self, score=score)
