"""From a request to an answer, in stages that read in order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from serving.bundle.release import Floats, Release
from serving.pipeline.candidates import SOURCES, Candidates, Fallback, Query
from serving.pipeline.filters import FILTERS
from serving.pipeline.hydrators import Shoppers, hydrate_candidates, hydrate_query
from serving.pipeline.schemas import RecommendRequest
from serving.pipeline.scorers import by_order, by_sequence
from serving.pipeline.selectors import select
from serving.pipeline.sources import from_popular, from_sequence, merge
from serving.pipeline.stage_timings import Watch

log = logging.getLogger(__name__)

#: Candidates beyond what the answer and the filters may use up.
SPARE = 100


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The chosen candidates, why they may be second best, and how many each filter removed."""

    query: Query
    chosen: Candidates
    fallback: Fallback | None
    removed: dict[str, int] = field(default_factory=dict)


async def recommend(
    release: Release, shoppers: Shoppers, user: str | None, request: RecommendRequest, watch: Watch
) -> Recommendation:
    """Rank the catalog for `user` (a hashed identifier, None for nobody in particular).

    A missing part gives a labelled fallback, not an error.
    """
    query = await hydrate_query(release, shoppers, user, request)
    watch.lap("hydrate_query")
    return rank(release, query, watch)


def rank(release: Release, query: Query, watch: Watch) -> Recommendation:
    """All stages after the query is known; pure computation."""
    vector, fallback = _understand(release, query)
    watch.lap("model")
    near = query.k + len(query.excluded) + len(query.history) + len(query.purchased) + SPARE
    result = _from_depth(release, query, vector, near, watch)
    everything = len(release.items)
    if len(result[0]) < query.k and near < everything:  # filters or the category cap ate the spare ones
        result = _from_depth(release, query, vector, everything, watch)
    return Recommendation(query=query, chosen=result[0], fallback=fallback, removed=result[1])


def _understand(release: Release, query: Query) -> tuple[Floats | None, Fallback | None]:
    """The query vector, or the reason to fall back to what is popular."""
    if not len(query.history):
        return None, query.fallback
    try:
        return release.program.query(query.history), query.fallback
    except Exception:  # a program that fails on one history must not take the answer with it
        log.exception("the sequence program of release %s failed", release.digest[:12])
        return None, Fallback.MODEL_FAILED


def _from_depth(
    release: Release, query: Query, vector: Floats | None, depth: int, watch: Watch
) -> tuple[Candidates, dict[str, int]]:
    popular = from_popular(release, query.category, depth)
    if vector is None:
        index, origin = popular, popular * 0 + SOURCES.index("popular")
    else:
        index, origin = merge(from_sequence(release, vector, depth), popular[: query.k])
    watch.lap("sources")

    candidates = hydrate_candidates(release, index, origin)
    watch.lap("hydrate_candidates")

    removed: dict[str, int] = {}
    for name, apply in FILTERS.items():
        candidates, out = apply(candidates, query)
        removed[name] = len(out)
    watch.lap("filters")

    candidates = by_order(candidates) if vector is None else by_sequence(release, vector, candidates)
    watch.lap("scorers")

    chosen = select(candidates, query.k, query.max_per_category)
    watch.lap("selector")
    return chosen, removed


def answer_items(release: Release, chosen: Candidates) -> list[dict[str, Any]]:
    """The chosen items as they are answered; a loop over k, not over candidates."""
    items = release.items
    rows = []
    for row, score, source in zip(chosen.index.tolist(), chosen.score.tolist(), chosen.source.tolist(), strict=True):
        rows.append(describe_item(items, row, score) | {"source": SOURCES[source]})
    return rows


def describe_item(items: Any, row: int, score: float) -> dict[str, Any]:
    """One item as it is answered."""
    code = items.category[row]
    price = float(items.price[row])
    return {
        "item_id": items.ids[row],
        "title": items.titles[row],
        "category": items.category_names[code] if code >= 0 else None,
        "price": price if price == price else None,
        "currency": items.currency[row],
        "score": round(score, 6),
    }
