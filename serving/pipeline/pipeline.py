"""Makes a recommendation of a request, in stages that read in order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from retrieval.ranking.because import find_causes
from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import Named, SourceData, name_candidates
from serving.bundle.release import Floats, Indexes, Items, Release
from serving.pipeline.candidates import SOURCES, Candidates, Fallback, Query
from serving.pipeline.filters import FILTERS
from serving.pipeline.hydrators import Shoppers, hydrate_candidates, hydrate_query
from serving.pipeline.schemas import RecommendRequest
from serving.pipeline.scorers import score_by_order, score_by_sequence
from serving.pipeline.selectors import select, select_diverse
from serving.pipeline.sources import merge, take_from_popular, take_from_sequence
from serving.pipeline.stage_timings import StageWatch

log = logging.getLogger(__name__)

#: Sources that name items for their category.
BY_CATEGORY = ("affinity", "here")
#: Candidates beyond those that the answer and the filters may use up.
SPARE_CANDIDATES = 100


@dataclass(frozen=True, eq=False)
class Ranked:
    """What the ranker said of the C candidates named: parts float32 [C, S], by SOURCES; a score is their sum."""

    named: Named
    parts: Floats


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The chosen candidates, the reason why they are not the best possible, and how many each filter removed.

    ranked: where a ranker ranked them.
    """

    query: Query
    chosen: Candidates
    fallback: Fallback | None
    removed: dict[str, int] = field(default_factory=dict)
    ranked: Ranked | None = None


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
    found = _from_depth(release, query, vector, near, watch)
    everything = len(release.items)
    if len(found.chosen) < query.k and near < everything:  # filters or the category cap used up the spare ones
        found = _from_depth(release, query, vector, everything, watch)
    return replace(found, fallback=fallback)


def _make_query_vector(release: Release, query: Query) -> tuple[Floats | None, Fallback | None]:
    """Return the query vector, or the reason to fall back to popular items."""
    if not len(query.history):
        return None, query.fallback
    try:
        return release.program.query(query.history), query.fallback
    except Exception:  # a program that fails on one history must not take the answer with it
        log.exception("the sequence program of release %s failed", release.digest[:12])
        return None, Fallback.MODEL_FAILED


def _from_depth(release: Release, query: Query, vector: Floats | None, depth: int, watch: StageWatch) -> Recommendation:
    """Rank `depth` candidates per source, filter them, and choose."""
    ranked: Ranked | None = None
    if vector is not None and release.sources is not None and release.ranker is not None:
        ranked = _rank_named(release, release.sources, release.ranker, query, vector, depth, watch)
        parts = ranked.parts
        candidates = hydrate_candidates(release, ranked.named.index, parts.argmax(axis=1)).with_score(parts.sum(axis=1))
    else:
        index, origin = _name(release, query, vector, depth)
        watch.lap("sources")
        candidates = hydrate_candidates(release, index, origin)
    watch.lap("hydrate_candidates")

    removed: dict[str, int] = {}
    for name, apply in FILTERS.items():
        candidates, out = apply(candidates, query)
        removed[name] = len(out)
    watch.lap("filters")

    if ranked is None:
        candidates = score_by_order(candidates) if vector is None else score_by_sequence(release, vector, candidates)
        watch.lap("scorers")

    if query.diversity and ranked is not None:
        chosen = select_diverse(release, candidates, query)
    else:
        chosen = select(candidates, query.k, query.max_per_category)
    watch.lap("selector")
    return Recommendation(query=query, chosen=chosen, fallback=None, removed=removed, ranked=ranked)


def _rank_named(
    release: Release, sources: SourceData, ranker: RankerProgram, query: Query, vector: Floats, depth: int,
    watch: StageWatch,
) -> Ranked:  # fmt: skip
    """Name candidates by every source, and let the ranker weigh what the sources say of them."""
    scores = release.vectors @ vector + release.offset
    named = name_candidates(sources, query.history, scores, depth, within=query.within)
    watch.lap("sources")
    parts = ranker.parts(named)
    watch.lap("scorers")
    return Ranked(named, parts)


def _name(release: Release, query: Query, vector: Floats | None, depth: int) -> tuple[Indexes, Indexes]:
    """Name candidates where there is no ranker, or no history for one: (items, the code of each one's source)."""
    popular = take_from_popular(release, query.category, depth)
    codes = np.array([SOURCES.index("sequence"), SOURCES.index("popular")])
    if vector is None:
        return popular, np.full(len(popular), codes[1])
    index, origin = merge(take_from_sequence(release, vector, depth), popular[: query.k])
    return index, codes[origin]


def describe_chosen(release: Release, result: Recommendation, *, why: bool = False) -> list[dict[str, Any]]:
    """Return the chosen items as an answer shows them; a loop over k, not over candidates. `why`: with the cause."""
    items, chosen = release.items, result.chosen
    columns = zip(chosen.index.tolist(), chosen.score.tolist(), chosen.source.tolist(), strict=True)
    rows = [describe_item(items, row, score) | {"source": SOURCES[source]} for row, score, source in columns]
    if why and result.ranked is not None:
        for row, because in zip(rows, explain(release, result), strict=True):
            row |= {"source": because["source"], "because": because}
    return rows


def explain(release: Release, result: Recommendation) -> list[dict[str, Any]]:
    """Say of each chosen item which source carried it, which action of the shopper's, and what each source added.

    `category` is named where it was the item's category that spoke for it. The parts sum to the score.
    """
    ranked, items, data = result.ranked, release.items, release.sources
    if ranked is None or data is None:
        return []
    index = result.chosen.index
    causes = find_causes(data, ranked.named, ranked.parts, index, result.query.history, release.likeness)
    parts = ranked.parts[np.searchsorted(ranked.named.index, index)].tolist()
    found = []
    for row, cause, own in zip(index.tolist(), causes, parts, strict=True):
        source, code = SOURCES[cause.source], items.category[row]
        because: dict[str, Any] = {"source": source}
        if cause.action >= 0 and source != "popular":
            because["item_id"] = items.ids[cause.action]
        if source in BY_CATEGORY and code >= 0:
            because["category"] = items.category_names[code]
        because["parts"] = {name: round(part, 6) for name, part in zip(SOURCES, own, strict=True) if part}
        found.append(because)
    return found


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
