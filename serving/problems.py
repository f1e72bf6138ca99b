"""Errors as shops see them: one JSON shape, a remedy, never what was sent and never a stack trace."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from contracts.errors import Fenced, ServingError


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that skips the framework's own encoding."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json", headers=headers)


_REMEDIES = {
    404: "see /docs for the routes, and the catalog for the items",
    405: "see /docs for the methods of each route",
    422: "see /docs for the fields and their ranges",
}


def add_errors(app: FastAPI) -> None:
    """Let every error of `app` be answered this way."""

    def problem(request: Request, status: int, error: str, remedy: str, headers: Any = None) -> Response:
        content = {"error": error, "remedy": remedy, "request_id": request.state.request_id}
        return json_response(content, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]  # never repeats what was sent
        where = ".".join(str(part) for part in first["loc"] if part != "body")[:80].encode(errors="replace").decode()
        if first["type"] == "json_invalid":
            return problem(request, 400, "the body is not JSON", "send one JSON object as application/json")
        return problem(request, 422, f"{where}: {first['msg']}" if where else first["msg"], _REMEDIES[422])

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        remedy = _REMEDIES.get(error.status_code, "see /docs")
        return problem(request, error.status_code, str(error.detail), remedy, error.headers)

    @app.exception_handler(Fenced)
    @app.exception_handler(ServingError)
    async def unavailable(request: Request, error: Fenced | ServingError) -> Response:
        return problem(request, 503, error.what, error.remedy or "try again", {"retry-after": "1"})
