"""What may not be in an answer. A filter returns what it kept and what it removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from serving.bundle.release import Indexes
from serving.pipeline.candidates import Candidates, Query


class Split(NamedTuple):
    """Two halves of what came in: kept + removed = candidates."""

    kept: Candidates
    removed: Candidates


Filter = Callable[[Candidates, Query], Split]


def unavailable(candidates: Candidates, query: Query) -> Split:
    """Items that cannot be had now."""
    del query
    if candidates.available.all():
        return _nothing(candidates)
    return Split(candidates.take(candidates.available), candidates.take(~candidates.available))


def excluded(candidates: Candidates, query: Query) -> Split:
    """Items that the caller asked to leave out."""
    return _without(candidates, query.excluded)


def purchased(candidates: Candidates, query: Query) -> Split:
    """What the shopper bought, unless the caller wants to see it again."""
    return _without(candidates, query.purchased) if query.hide_purchased else _nothing(candidates)


def seen(candidates: Candidates, query: Query) -> Split:
    """What the shopper looked at lately, if the caller asked for new things only."""
    return _without(candidates, query.history) if query.hide_seen else _nothing(candidates)


#: In this order, by the name under which removals are counted.
FILTERS: dict[str, Filter] = {
    "unavailable": unavailable,
    "excluded": excluded,
    "purchased": purchased,
    "seen": seen,
}


def _nothing(candidates: Candidates) -> Split:
    return Split(candidates, candidates.take(np.empty(0, dtype=np.int64)))


def _without(candidates: Candidates, unwanted: Indexes) -> Split:
    if not len(unwanted):
        return _nothing(candidates)
    out = np.isin(candidates.index, unwanted)
    return Split(candidates.take(~out), candidates.take(out))
