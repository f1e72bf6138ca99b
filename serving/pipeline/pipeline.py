"""Makes a recommendation of a request, in stages that read in order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retrieval.ranker import RankerProgram
from retrieval.sources import SourceData, name_candidates
from serving.bundle.release import Floats, Indexes, Items, Release
from serving.pipeline.candidates import SOURCES, Candidates, Fallback, Query
from serving.pipeline.filters import FILTERS
from serving.pipeline.hydrators import Shoppers, hydrate_candidates, hydrate_query
from serving.pipeline.schemas import RecommendRequest
from serving.pipeline.scorers import score_by_order, score_by_sequence
from serving.pipeline.selectors import select
from serving.pipeline.sources import merge, take_from_popular, take_from_sequence
from serving.pipeline.stage_timings import StageWatch

log = logging.getLogger(__name__)

#: Candidates beyond those that the answer and the filters may use up.
SPARE_CANDIDATES = 100


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The chosen candidates, the reason why they are not the best possible, and how many each filter removed."""

    query: Query
    chosen: Candidates
    fallback: Fallback | None
    removed: dict[str, int] = field(default_factory=dict)


async def recommend(
    release: Release, shoppers: Shoppers, user: str | None, request: RecommendRequest, watch: StageWatch
) -> Recommendation:
    """Rank the catalog for `user`, a hashed identifier; None for a caller who is not known.

    A missing part gives a labelled fallback, not an error.
    """
    query = await hydrate_query(release, shoppers, user, request)
    watch.lap("hydrate_query")
    return rank(release, query, watch)


def rank(release: Release, query: Query, watch: StageWatch) -> Recommendation:
    """Run all stages after the query is known; pure computation."""
    vector, fallback = _make_query_vector(release, query)
    watch.lap("model")
    near = query.k + len(query.excluded) + len(query.history) + len(query.purchased) + SPARE_CANDIDATES
    chosen, removed = _from_depth(release, query, vector, near, watch)
    everything = len(release.items)
    if len(chosen) < query.k and near < everything:  # filters or the category cap used up the spare ones
        chosen, removed = _from_depth(release, query, vector, everything, watch)
    return Recommendation(query=query, chosen=chosen, fallback=fallback, removed=removed)


def _make_query_vector(release: Release, query: Query) -> tuple[Floats | None, Fallback | None]:
    """Return the query vector, or the reason to fall back to popular items."""
    if not len(query.history):
        return None, query.fallback
    try:
        return release.program.query(query.history), query.fallback
    except Exception:  # a program that fails on one history must not take the answer with it
        log.exception("the sequence program of release %s failed", release.digest[:12])
        return None, Fallback.MODEL_FAILED


def _from_depth(
    release: Release, query: Query, vector: Floats | None, depth: int, watch: StageWatch
) -> tuple[Candidates, dict[str, int]]:
    """Rank `depth` candidates per source; return the chosen ones, and how many each filter removed."""
    if vector is not None and release.sources is not None and release.ranker is not None:
        candidates = rank_named(release, release.sources, release.ranker, query, vector, depth, watch)
        ranked = True
    else:
        index, origin = _name(release, query, vector, depth)
        watch.lap("sources")
        candidates, ranked = hydrate_candidates(release, index, origin), False
        watch.lap("hydrate_candidates")

    removed: dict[str, int] = {}
    for name, apply in FILTERS.items():
        candidates, out = apply(candidates, query)
        removed[name] = len(out)
    watch.lap("filters")

    if not ranked:
        candidates = score_by_order(candidates) if vector is None else score_by_sequence(release, vector, candidates)
        watch.lap("scorers")

    chosen = select(candidates, query.k, query.max_per_category)
    watch.lap("selector")
    return chosen, removed


def rank_named(
    release: Release, sources: SourceData, ranker: RankerProgram, query: Query, vector: Floats, depth: int,
    watch: StageWatch,
) -> Candidates:  # fmt: skip
    """Name candidates by every source and score them by the ranker; `source` is the one that carries an item most."""
    scores = release.vectors @ vector + release.offset
    named = name_candidates(sources, query.history, scores, depth)
    watch.lap("sources")
    parts = ranker.parts(named)
    watch.lap("scorers")
    candidates = hydrate_candidates(release, named.index, parts.argmax(axis=1)).with_score(parts.sum(axis=1))
    watch.lap("hydrate_candidates")
    return candidates


def _name(release: Release, query: Query, vector: Floats | None, depth: int) -> tuple[Indexes, Indexes]:
    """Name candidates where there is no ranker, or no history for one: (items, the code of each one's source)."""
    popular = take_from_popular(release, query.category, depth)
    codes = np.array([SOURCES.index("sequence"), SOURCES.index("popular")])
    if vector is None:
        return popular, np.full(len(popular), codes[1])
    index, origin = merge(take_from_sequence(release, vector, depth), popular[: query.k])
    return index, codes[origin]


def describe_chosen(release: Release, chosen: Candidates) -> list[dict[str, Any]]:
    """Return the chosen items as an answer shows them; a loop over k, not over candidates."""
    items = release.items
    rows = []
    for row, score, source in zip(chosen.index.tolist(), chosen.score.tolist(), chosen.source.tolist(), strict=True):
        rows.append(describe_item(items, row, score) | {"source": SOURCES[source]})
    return rows


def describe_item(items: Items, row: int, score: float) -> dict[str, Any]:
    """Return one item as an answer shows it."""
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
