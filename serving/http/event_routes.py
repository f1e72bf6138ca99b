"""Serves `POST /events`: shopper events in, on disk before the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from serving.callers import Caller
from serving.events.answer_log import RequestOrigin, log_actions
from serving.http.errors import UnknownCaller
from serving.http.operations import ASKED
from serving.http.parts import Parts
from serving.http.responses import json_response, named_response
from serving.pipeline.candidates import Fallback
from serving.pipeline.schemas import EventsAnswer, EventsRequest
from serving.pipeline.stage_timings import StageWatch


def add_events(app: FastAPI, parts: Parts) -> None:
    """Add /events to `app`."""

    @app.post(
        "/events", tags=ASKED, response_model=EventsAnswer, summary="Take shopper events; on disk before the answer"
    )
    async def post_events(request: Request, body: EventsRequest) -> Response:
        return await _take_events(parts, request, body)


async def _take_events(parts: Parts, request: Request, body: EventsRequest) -> Response:
    watch = StageWatch()
    release = parts.serving_release()
    caller = _sender(parts, request, body.token)
    if not caller.is_known and body.token is not None:
        raise UnknownCaller(
            "token: it is no token of this shop, or past its end", remedy="a new one comes from POST /shopper"
        )
    if not caller.is_known:
        raise UnknownCaller(f"events are taken from shop {release.source}'s server, or from a shopper with a token")
    receipt = await parts.intake.take(body.events, release.source, watch, by=caller)
    fallback = None if receipt.online else Fallback.NOT_ONLINE_YET
    timings = watch.total()
    counts = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": receipt.rejected}
    parts.meters.count_answer("events", timings, fallback, None)
    for verdict, count in counts.items():
        if count:
            parts.meters.events.labels(verdict).inc(count)
    log_actions(parts.answers, replace(RequestOrigin.of(request), caller=caller.kind), release, receipt.kinds)
    content: dict[str, Any] = {
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
    return named_response(content, release)


def _sender(parts: Parts, request: Request, token: str | None) -> Caller:
    """Return who sends: the caller that the edge found, else the shopper whose token a beacon's body brings."""
    caller = Caller.of(request)
    if not caller.is_known and token is not None:
        return parts.tokens.read_caller(token)
    return caller
