"""Makes the ASGI application: its routes, and what runs when a server starts and stops."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from serving.http.admission import App, Gate
from serving.http.answer_routes import add_answers
from serving.http.errors import add_errors
from serving.http.event_routes import add_events
from serving.http.operations import add_operations, add_tokens
from serving.http.parts import Parts
from serving.pipeline.schemas import Problem

#: Longest time a stopping engine waits for the answers under way, seconds.
DRAIN_TIMEOUT_S = 5.0

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request cannot be read.",
        401: "The shop's key or a shopper's token is missing or wrong.",
        403: "The token is another shopper's.",
        408: "The body came too slowly.",
        413: "The body is too large, as it is or decompressed.",
        415: "The body is of a kind or a compression that is not read.",
        422: "A field is missing, wrong or out of range.",
        503: "Not ready, overloaded or out of time; try again.",
    }.items()
}


def _nothing() -> None:
    pass


def create_app(parts: Parts, *, start: Callable[[], None] = _nothing, stop: Callable[[], None] = _nothing) -> App:
    """Return the ASGI application. `start` and `stop` run with the server, e.g. to follow a pointer."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(0.0005)  # a thread that loads or encodes hands the core back sooner
        gc.set_threshold(50_000, 20, 100)
        start()
        yield
        parts.engine.drain()
        for _poll in range(int(DRAIN_TIMEOUT_S / 0.02)):
            if not gate.busy:
                break
            await asyncio.sleep(0.02)
        stop()
        parts.search_pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(parts.pusher.close)
        await asyncio.to_thread(parts.log.close)
        await asyncio.to_thread(parts.answers.close)
        await asyncio.to_thread(parts.impressions.log.close)

    gate = Gate(make_api(parts, lifespan), parts.meters, parts.limits)
    return gate


def make_api(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """Return the application inside the gate. Its `parts` are not looked at before a request comes."""
    app = FastAPI(
        title="Caravan serving",
        summary="Recommendations, search and similar items from one release; shopper events in.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # they load their scripts from elsewhere; the page is one of Airflow's
        redoc_url=None,
        redirect_slashes=False,  # to an address that only the edge knows
        responses=_PROBLEMS,
    )
    add_answers(app, parts)
    add_events(app, parts)
    add_tokens(app, parts)
    add_operations(app, parts)
    add_errors(app)
    return app
