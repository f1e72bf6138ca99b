"""Makes the responses of the routes, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

from serving.bundle.release import Release
from serving.callers import Caller
from serving.edge.arm_assignment import RELEASE_HEADER
from serving.events.answer_log import AnswerRecord


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `content` as JSON, past the framework's own encoding."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json", headers=headers)


def answer_response(request: Request, record: AnswerRecord) -> Response:
    """Return an answer to /recommend, /search or /similar."""
    content: dict[str, Any] = {"request_id": request.state.request_id, "items": record.items}
    if Caller.of(request).kind == "shop":  # from it a browser would learn which arm it is in
        content = {"release": record.release.digest, **content}
    content["fallback"] = record.fallback is not None
    if record.fallback is not None:
        content["fallback_reason"] = record.fallback
    if record.stale is not None:
        content["stale"] = record.stale
    content["timings_ms"] = record.timings
    return named_response(content, record.release)


def named_response(content: Any, release: Release) -> Response:
    """Return `content` as JSON, with the header that tells the edge which release made it."""
    response = json_response(content)
    response.headers[RELEASE_HEADER] = release.digest
    return response
