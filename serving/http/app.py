"""The HTTP side: the routes, and what a server start and stop means."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from contracts.events import MAX_ID, MAX_QUERY
from serving.bundle.release import Release
from serving.callers import Caller
from serving.edge.listener import RELEASE_HEADER
from serving.events.answer_log import Asked, log_actions, log_answer
from serving.events.side_effects import log_impressions
from serving.http.admission import App, Gate
from serving.http.errors import Unknown, add_errors, json_response
from serving.http.operations import ASKED, NotReady, add_operations, add_tokens
from serving.http.parts import Parts
from serving.pipeline.candidates import Fallback
from serving.pipeline.pipeline import answer_items, describe_item, recommend
from serving.pipeline.schemas import (
    MAX_K,
    Answer,
    EventsAnswer,
    EventsRequest,
    Problem,
    RecommendRequest,
)
from serving.pipeline.search import Ranking, search, similar
from serving.pipeline.stage_timings import Watch

log = logging.getLogger(__name__)

#: Longest time a stopping engine waits for the answers under way, seconds.
DRAIN_SECONDS = 5.0


#: What a request of others than the shop's server cannot change: from two answers they would learn what was bought.
DEFAULTS = {name: RecommendRequest.model_fields[name].default for name in ("hide_purchased", "hide_seen")}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request cannot be read.",
        401: "The shop's key or a shopper's token is missing or wrong.",
        403: "The token is another shopper's.",
        413: "The body is too large.",
        422: "A field is missing, wrong or out of range.",
        503: "Not ready, overloaded or out of time; try again.",
    }.items()
}
_UNKNOWN_ITEM: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such item."}}


def _nothing() -> None:
    pass


def create_app(parts: Parts, *, start: Callable[[], None] = _nothing, stop: Callable[[], None] = _nothing) -> App:
    """The ASGI application. `start` and `stop` run with the server, e.g. to follow a pointer."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(0.0005)  # a thread that loads or encodes hands the core back sooner
        gc.set_threshold(50_000, 20, 100)
        start()
        yield
        parts.engine.drain()
        for _tick in range(int(DRAIN_SECONDS / 0.02)):
            if not gate.busy:
                break
            await asyncio.sleep(0.02)
        stop()
        parts.search_pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(parts.pusher.close)
        await asyncio.to_thread(parts.log.close)
        await asyncio.to_thread(parts.answers.close)

    gate = Gate(routes(parts, lifespan), parts.meters, parts.limits)
    return gate


def routes(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """Make the application inside the gate. Its `parts` are looked at when a request comes, not before."""
    app = FastAPI(
        title="Caravan serving",
        summary="Recommendations, search and similar items from one release; shopper events in.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # they load their scripts from elsewhere; the page is one of Airflow's
        redoc_url=None,
        responses=_PROBLEMS,
    )
    _add_answers(app, parts)
    add_tokens(app, parts)
    add_operations(app, parts)
    add_errors(app)
    return app


def _add_answers(app: FastAPI, parts: Parts) -> None:
    @app.post("/recommend", tags=ASKED, response_model=Answer, summary="Rank the catalog for a shopper")
    async def post_recommend(request: Request, body: RecommendRequest) -> Response:
        watch = Watch()
        release = _release(parts)
        caller = Caller.of(request)
        if caller.kind == "shopper" and not caller.may_speak_for(body.user_id):
            raise HTTPException(403, "user_id: not the shopper of the token")
        # nobody in particular gets what does not depend on anybody, whatever they ask for
        user = parts.identifiers.hash(body.user_id) if caller.is_known else None
        if caller.kind != "shop":
            body = body.model_copy(update=DEFAULTS)
        result = await recommend(release, parts.shoppers, user, body, watch)
        items = answer_items(release, result.chosen)
        watch.lap("answer")
        request_id = request.state.request_id
        session = None if body.session_id is None else parts.identifiers.hash(body.session_id)
        asked = Asked.of(request)
        if user is not None and len(items) and not asked.shadow:
            log_impressions(parts.log, release, user, session, result.chosen, request_id)
        watch.lap("side_effects")
        timings = watch.total()
        parts.meters.answered("recommend", timings, result.fallback, len(items))
        for name, count in result.removed.items():
            if count:
                parts.meters.removed.labels(name).inc(count)
        if result.query.stale:
            parts.meters.stale.inc()
        stale = result.query.stale
        log_answer(parts.answers, asked, "recommend", release, items, result.fallback, timings, stale=stale)
        return _answer(release, request, items, result.fallback, timings, {"stale": stale})

    @app.get("/search", tags=ASKED, response_model=Answer, summary="Find items by text")
    async def get_search(
        request: Request,
        q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, examples=["walnut desk lamp"])],
        k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
        user_id: Annotated[str | None, Query(min_length=1, max_length=MAX_ID)] = None,
    ) -> Response:
        del user_id  # part of the contract; this search is the same for everyone
        watch = Watch()
        release = _release(parts)
        text = q.strip()
        if not text:
            raise HTTPException(422, "q is empty")
        loop = asyncio.get_running_loop()
        ranking, fallback = await loop.run_in_executor(parts.search_pool, _find, parts, release, text, k, watch)
        items = _described(release, ranking)
        watch.lap("answer")
        timings = watch.total()
        parts.meters.answered("search", timings, fallback, len(items))
        log_answer(parts.answers, Asked.of(request), "search", release, items, fallback, timings)
        return _answer(release, request, items, fallback, timings)

    @app.get(
        "/similar/{item_id}", tags=ASKED, response_model=Answer, responses=_UNKNOWN_ITEM, summary="Items like an item"
    )
    async def get_similar(
        request: Request,
        item_id: Annotated[str, PathParameter(min_length=1, max_length=MAX_ID, examples=["i-0042"])],
        k: Annotated[int, Query(ge=1, le=MAX_K)] = 10,
    ) -> Response:
        watch = Watch()
        release = _release(parts)
        row = release.items.index.get(item_id)
        if row is None:
            raise HTTPException(404, "no such item in this release")
        loop = asyncio.get_running_loop()
        ranking = await loop.run_in_executor(parts.search_pool, similar, release, row, k)
        watch.lap("rank")
        items = _described(release, ranking)
        watch.lap("answer")
        timings = watch.total()
        parts.meters.answered("similar", timings, None, len(items))
        log_answer(parts.answers, Asked.of(request), "similar", release, items, None, timings)
        return _answer(release, request, items, None, timings)

    @app.post(
        "/events", tags=ASKED, response_model=EventsAnswer, summary="Take shopper events; on disk before the answer"
    )
    async def post_events(request: Request, body: EventsRequest) -> Response:
        watch = Watch()
        release = _release(parts)
        caller = Caller.of(request)
        if not caller.is_known and body.token is not None:
            caller = parts.tokens.caller(body.token)
        if not caller.is_known:
            raise Unknown(f"events are taken from shop {release.source}'s server, or from a shopper with a token")
        receipt = await parts.intake.take(body.events, release.source, watch, by=caller)
        fallback = None if receipt.online else Fallback.NOT_ONLINE_YET
        timings = watch.total()
        parts.meters.answered("events", timings, fallback, None)
        log_actions(parts.answers, replace(Asked.of(request), caller=caller.kind), release, receipt.kinds)
        counts = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": receipt.rejected}
        for verdict, count in counts.items():
            if count:
                parts.meters.events.labels(verdict).inc(count)
        content = {
            **({"release": release.digest} if caller.kind == "shop" else {}),
            "request_id": request.state.request_id,
            **counts,
            "online": receipt.online,
            "verdicts": receipt.verdicts,
            "fallback": fallback is not None,
            "fallback_reason": fallback,
            "timings_ms": timings,
        }
        if receipt.rejected == len(body.events):
            error = {"error": "no event could be accepted", "remedy": "see the reason in each verdict"}
            return json_response(content | error, 422)
        answer = json_response(content)
        answer.headers[RELEASE_HEADER] = release.digest
        return answer


def _find(parts: Parts, release: Release, text: str, k: int, watch: Watch) -> tuple[Ranking, Fallback | None]:
    """Search, in the search thread: encode the query (or remember it), score, fuse."""
    watch.lap("queue")
    vector, fallback = parts.vectors.of(release, text)
    watch.lap("encode")
    ranking = search(release, text, k, vector)
    watch.lap("rank")
    return ranking, fallback


def _release(parts: Parts) -> Release:
    """The release that serves this request from its first to its last line, whatever is swapped meanwhile."""
    release = parts.engine.current
    if release is None:
        raise NotReady(f"no release serves yet: {parts.engine.state.reason}", remedy="ask /readyz, then try again")
    return release


def _described(release: Release, ranking: Ranking) -> list[dict[str, Any]]:
    rows = zip(ranking.index.tolist(), ranking.score.tolist(), strict=True)
    return [describe_item(release.items, row, score) for row, score in rows]


def _answer(
    release: Release,
    request: Request,
    items: list[dict[str, Any]],
    fallback: Fallback | None,
    timings: dict[str, float],
    more: dict[str, Any] | None = None,
) -> Response:
    content: dict[str, Any] = {"request_id": request.state.request_id, "items": items}
    if Caller.of(request).kind == "shop":  # from it a browser would learn which arm it is in
        content = {"release": release.digest, **content}
    content["fallback"] = fallback is not None
    if fallback is not None:
        content["fallback_reason"] = fallback
    answer = json_response(content | (more or {}) | {"timings_ms": timings})
    answer.headers[RELEASE_HEADER] = release.digest
    return answer
