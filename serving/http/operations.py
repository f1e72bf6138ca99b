"""Serves the other routes: tokens for browsers, and whether the engine lives, serves, and is in the active region."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum

from fastapi import FastAPI, Request
from fastapi.responses import Response

from serving.callers import TOKEN_COOKIE, TOKEN_LIFETIME_S, Caller
from serving.http.errors import NotReady, UnknownCaller
from serving.http.parts import Parts
from serving.http.responses import json_response
from serving.pipeline.schemas import Readiness, TokenAnswer, TokenRequest

#: Headings of the OpenAPI page.
ASKED: list[str | Enum] = ["What shoppers ask and do"]
HEALTH: list[str | Enum] = ["Whether it answers"]


def add_tokens(app: FastAPI, parts: Parts) -> None:
    """Add /shopper to `app`."""

    @app.post(
        "/shopper",
        tags=ASKED,
        response_model=TokenAnswer,
        summary="A token for a shopper's browser; its cookie comes too",
    )
    async def post_shopper(request: Request, body: TokenRequest) -> Response:
        if body.user_id is not None and not Caller.of(request).may_speak_for(body.user_id):
            raise UnknownCaller("only the shop's server may ask for the token of a shopper by name")
        token = parts.tokens.mint(body.user_id, parts.identifiers.hash)
        if token is None:
            raise NotReady(
                "this region makes no shopper tokens: it has no key for them", remedy="`caravan up` makes one"
            )
        answer = json_response(asdict(token))
        answer.set_cookie(
            TOKEN_COOKIE, token.token, max_age=TOKEN_LIFETIME_S, httponly=True, samesite="lax",
            secure=request.headers.get("x-forwarded-proto") == "https",
        )  # fmt: skip
        return answer


def add_operations(app: FastAPI, parts: Parts) -> None:
    """Add the routes for probes and for the scraper to `app`."""

    @app.get("/healthz", tags=HEALTH, summary="The process lives")
    async def get_healthz() -> Response:
        return json_response({"alive": True})

    @app.get(
        "/readyz",
        tags=HEALTH,
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Not ready, and why."}},
        summary="A release serves, and which",
    )
    async def get_readyz(request: Request) -> Response:
        engine = parts.engine
        release, state = engine.current, engine.state
        content = {
            "ready": engine.ready,
            "stage": state.stage,
            "release": release and release.digest,
            "source": release and release.source,
            "reason": state.reason,
            "refused": state.refused,
            "items": release and len(release.items),
            "overlay": release and release.overlay,
            "overlay_refused": engine.overlay_refused,
        }
        if Caller.of(request).kind != "shop":
            content = {"ready": engine.ready, "stage": state.stage}
        return json_response(content, 200 if engine.ready else 503)

    # only the global edge asks
    @app.get("/active", include_in_schema=False)
    async def get_active() -> Response:
        active = parts.engine.ready and (parts.fence is None or parts.fence.answers())
        return json_response({"active": active}, 200 if active else 503)

    # on the engine's own port only
    @app.get("/metrics", include_in_schema=False)
    async def get_metrics() -> Response:
        return Response(parts.meters.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
