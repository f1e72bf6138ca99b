"""Removes candidates that may not be in an answer. A filter returns what it kept and what it removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from serving.bundle.release import Indexes
from serving.pipeline.candidates import Candidates, Query


class FilterResult(NamedTuple):
    """The two parts of the candidates that came in: kept + removed = candidates."""

    kept: Candidates
    removed: Candidates


Filter = Callable[[Candidates, Query], FilterResult]


def remove_unavailable(candidates: Candidates, query: Query) -> FilterResult:
    """Remove items that cannot be had now."""
    del query
    if candidates.available.all():
        return _keep_all(candidates)
    return FilterResult(candidates.take(candidates.available), candidates.take(~candidates.available))


def remove_excluded(candidates: Candidates, query: Query) -> FilterResult:
    """Remove items that the caller asked to leave out."""
    return _remove(candidates, query.excluded)


def remove_elsewhere(candidates: Candidates, query: Query) -> FilterResult:
    """Remove what is of another category, on the page of one."""
    if query.within is None:
        return _keep_all(candidates)
    here = candidates.category == query.within
    return FilterResult(candidates.take(here), candidates.take(~here))


def remove_purchased(candidates: Candidates, query: Query) -> FilterResult:
    """Remove items that the shopper bought, unless the caller wants to see them again."""
    return _remove(candidates, query.purchased) if query.hide_purchased else _keep_all(candidates)


def remove_seen(candidates: Candidates, query: Query) -> FilterResult:
    """Remove items of the shopper's recent history, if the caller asked for new ones only."""
    return _remove(candidates, query.history) if query.hide_seen else _keep_all(candidates)


#: In this order, by the name under which removals are counted.
FILTERS: dict[str, Filter] = {
    "unavailable": remove_unavailable,
    "excluded": remove_excluded,
    "elsewhere": remove_elsewhere,
    "purchased": remove_purchased,
    "seen": remove_seen,
}


def _keep_all(candidates: Candidates) -> FilterResult:
    return FilterResult(candidates, candidates.take(np.empty(0, dtype=np.int64)))


def _remove(candidates: Candidates, unwanted: Indexes) -> FilterResult:
    if not len(unwanted):
        return _keep_all(candidates)
    out = np.isin(candidates.index, unwanted)
    return FilterResult(candidates.take(~out), candidates.take(out))
