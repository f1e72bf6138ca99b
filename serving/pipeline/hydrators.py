"""Adds what is known about the shopper (one read) and about the candidates (columns in memory)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from serving.bundle.release import Indexes, Release
from serving.pipeline.candidates import Candidates, Fallback, Query
from serving.pipeline.schemas import RecommendRequest
from serving.pipeline.shoppers import ShopperHistory


class Shoppers(Protocol):
    """The part of the online store that hydration uses; a seam, so that tests can make it late or wrong."""

    async def read(self, source: str, user: str) -> ShopperHistory | Fallback: ...


async def hydrate_query(release: Release, shoppers: Shoppers, user: str | None, request: RecommendRequest) -> Query:
    """Make the query with the shopper's history, or the reason why there is none. No error of the store is raised."""
    found = Fallback.UNKNOWN_SHOPPER if user is None else await shoppers.read(release.source, user)
    return make_query(release, found, user, request)


def make_query(
    release: Release, found: ShopperHistory | Fallback, user: str | None, request: RecommendRequest
) -> Query:
    """Make the query of a request from what was `found` about the shopper."""
    known = release.items.known
    history, purchased, stale, fallback = _NONE, _NONE, False, None
    if isinstance(found, ShopperHistory):
        history, stale = known(found.items), found.stale
        purchased = known(found.purchased)
    else:
        fallback = found
    if request.context.items:
        history = np.concatenate([history, known(request.context.items)])
        if fallback is Fallback.UNKNOWN_SHOPPER and len(history):
            fallback = None  # the items of the session are enough
    if fallback is None and not len(history):
        fallback = Fallback.UNKNOWN_HISTORY
    shown = {"item": request.context.items[-1:], "cart": request.context.items}.get(request.context.page, [])
    excluded = [*request.exclude, *shown]
    return Query(
        user=user or "",
        k=request.k,
        history=history,
        purchased=purchased,
        excluded=known(excluded) if excluded else _NONE,
        category=request.context.category,
        within=release.items.category_code(request.context.category) if request.context.page == "category" else None,
        hide_purchased=request.hide_purchased,
        hide_seen=request.hide_seen,
        max_per_category=request.max_per_category,
        diversity=request.diversity,
        stale=stale,
        fallback=fallback,
    )


def hydrate_candidates(release: Release, index: Indexes, source: Indexes) -> Candidates:
    """Make candidates with the columns that filters and the selector need; scores are still NaN."""
    return Candidates(
        index=index,
        source=source.astype(np.int8),
        score=np.full(len(index), np.nan, dtype=np.float32),
        category=release.items.category[index],
        available=release.items.available[index],
    )


_NONE = np.empty(0, dtype=np.int64)
