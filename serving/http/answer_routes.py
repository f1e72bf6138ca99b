"""Serves the routes that answer shoppers: recommendations, text search, and items like an item."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from contracts.events import MAX_ID, MAX_QUERY
from ingestion.pseudonymize import redact_text
from ingestion.rules.nobody import is_nobody
from serving.bundle.release import Indexes, Release
from serving.callers import Caller
from serving.events.answer_log import AnswerRecord, RequestOrigin, log_answer
from serving.events.side_effects import log_impressions
from serving.http.metrics import Meters
from serving.http.operations import ASKED
from serving.http.parts import Parts
from serving.http.responses import answer_response
from serving.pipeline.candidates import Fallback
from serving.pipeline.pipeline import Recommendation, describe_chosen, describe_item, recommend
from serving.pipeline.schemas import MAX_K, Answer, Problem, RecommendRequest
from serving.pipeline.search import SearchRanking, find_similar, search
from serving.pipeline.stage_timings import StageWatch

#: What a request of others than the shop's server cannot change: from two answers they would learn what was bought.
DEFAULTS = {name: RecommendRequest.model_fields[name].default for name in ("hide_purchased", "hide_seen")}

_UNKNOWN_ITEM: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such item."}}


def add_answers(app: FastAPI, parts: Parts) -> None:
    """Add /recommend, /search and /similar to `app`."""

    @app.post("/recommend", tags=ASKED, response_model=Answer, summary="Rank the catalog for a shopper")
    async def post_recommend(request: Request, body: RecommendRequest) -> Response:
        return await _answer_recommend(parts, request, body)

    @app.get("/search", tags=ASKED, response_model=Answer, summary="Find items by text")
    async def get_search(
        request: Request,
        q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, examples=["walnut desk lamp"])],
        k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
        user_id: Annotated[str | None, Query(min_length=1, max_length=MAX_ID)] = None,
    ) -> Response:
        return await _answer_search(parts, request, q, k, user_id)

    @app.get("/similar", tags=ASKED, response_model=Answer, responses=_UNKNOWN_ITEM, summary="Items like any item")
    async def get_similar_by_query(
        request: Request,
        item_id: Annotated[
            str, Query(min_length=1, max_length=MAX_ID, description="Any item_id, percent-encoded.", examples=["HW/34"])
        ],
        k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
        user_id: Annotated[str | None, Query(min_length=1, max_length=MAX_ID)] = None,
    ) -> Response:
        return await _answer_similar(parts, request, item_id, k, user_id)

    @app.get(
        "/similar/{item_id}",
        tags=ASKED,
        response_model=Answer,
        responses=_UNKNOWN_ITEM,
        summary="Items like an item without a slash",
    )
    async def get_similar(
        request: Request,
        item_id: Annotated[str, PathParameter(min_length=1, max_length=MAX_ID, examples=["i-0042"])],
        k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
        user_id: Annotated[str | None, Query(min_length=1, max_length=MAX_ID)] = None,
    ) -> Response:
        return await _answer_similar(parts, request, item_id, k, user_id)


async def _answer_recommend(parts: Parts, request: Request, body: RecommendRequest) -> Response:
    watch = StageWatch()
    release = parts.serving_release()
    caller = Caller.of(request)
    user = _who_is_answered(parts, caller, body.user_id)
    if caller.kind != "shop":
        body = body.model_copy(update=DEFAULTS)
    result = await recommend(release, parts.shoppers, user, body, watch)
    items = describe_chosen(release, result, why=caller.is_known)
    watch.lap("answer")
    session = None if body.session_id is None else parts.identifiers.hash(body.session_id)
    origin = _log_shown(parts, request, release, user, result.chosen.index, session=session)
    watch.lap("side_effects")
    record = AnswerRecord(
        route="recommend",
        release=release,
        items=items,
        fallback=result.fallback,
        timings=watch.total(),
        stale=result.query.stale,
    )
    _count_recommendation(parts.meters, result)
    return _deliver(parts, request, origin, record)


async def _answer_search(parts: Parts, request: Request, q: str, k: int, user_id: str | None) -> Response:
    watch = StageWatch()
    release = parts.serving_release()
    user = _who_is_answered(parts, Caller.of(request), user_id)
    text = q.strip()
    if not text:
        raise HTTPException(422, "q: it is empty")
    loop = asyncio.get_running_loop()
    ranking, fallback = await loop.run_in_executor(parts.search_pool, _search_text, parts, release, text, k, watch)
    items = _describe_items(release, ranking)
    watch.lap("answer")
    origin = _log_shown(parts, request, release, user, ranking.index, query=text)
    watch.lap("side_effects")
    record = AnswerRecord(route="search", release=release, items=items, fallback=fallback, timings=watch.total())
    return _deliver(parts, request, origin, record)


async def _answer_similar(parts: Parts, request: Request, item_id: str, k: int, user_id: str | None) -> Response:
    watch = StageWatch()
    release = parts.serving_release()
    user = _who_is_answered(parts, Caller.of(request), user_id)
    row = release.items.index.get(item_id)
    if row is None:
        raise HTTPException(404, "item_id: no such item in this release")
    loop = asyncio.get_running_loop()
    ranking = await loop.run_in_executor(parts.search_pool, find_similar, release, row, k)
    watch.lap("rank")
    items = _describe_items(release, ranking)
    watch.lap("answer")
    origin = _log_shown(parts, request, release, user, ranking.index)
    watch.lap("side_effects")
    record = AnswerRecord(route="similar", release=release, items=items, fallback=None, timings=watch.total())
    return _deliver(parts, request, origin, record)


def _who_is_answered(parts: Parts, caller: Caller, user_id: str | None) -> str | None:
    """Return the pseudonym of the shopper that an answer is made for and its impressions are of; None for nobody.

    An unknown caller gets what does not depend on any shopper, whichever one the request names; so does a request for
    "guest", whose history would be that of thousands. Raises HTTPException for another shopper than the token's.
    """
    if user_id is None:
        user_id = caller.user
    elif caller.kind == "shopper" and not caller.may_speak_for(user_id):
        raise HTTPException(403, "user_id: not the shopper of the token")
    if user_id is None or not caller.is_known or is_nobody(user_id):
        return None
    return parts.identifiers.hash(user_id)


def _log_shown(
    parts: Parts, request: Request, release: Release, user: str | None, shown: Indexes, *, session: str | None = None,
    query: str | None = None,
) -> RequestOrigin:  # fmt: skip
    """Log the impressions of an answer that a known shopper sees, and return the request's origin.

    query: as it was typed; without addresses in the log, and not at all where the night would quarantine it.
    """
    origin = RequestOrigin.of(request)
    if user is not None and len(shown) and not origin.shadow and parts.impressions.allowed():
        said = redact_text(query) if query is not None and query.isprintable() else None
        log_impressions(parts.impressions.log, release, user, session, shown, request.state.request_id, said)
    return origin


def _search_text(
    parts: Parts, release: Release, text: str, k: int, watch: StageWatch
) -> tuple[SearchRanking, Fallback | None]:
    """Search, in the search thread: encode the query (or remember it), score, fuse."""
    watch.lap("queue")
    vector, fallback = parts.vectors.encode(release, text)
    watch.lap("encode")
    ranking = search(release, text, k, vector)
    watch.lap("rank")
    return ranking, fallback


def _describe_items(release: Release, ranking: SearchRanking) -> list[dict[str, Any]]:
    rows = zip(ranking.index.tolist(), ranking.score.tolist(), strict=True)
    return [describe_item(release.items, row, score) for row, score in rows]


def _count_recommendation(meters: Meters, result: Recommendation) -> None:
    for name, count in result.removed.items():
        if count:
            meters.removed.labels(name).inc(count)
    if result.query.stale:
        meters.stale.inc()


def _deliver(parts: Parts, request: Request, origin: RequestOrigin, record: AnswerRecord) -> Response:
    """Count and log an answer, and make the response of it."""
    parts.meters.count_answer(record.route, record.timings, record.fallback, len(record.items))
    log_answer(parts.answers, origin, record)
    return answer_response(request, record)
