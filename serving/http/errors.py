"""Answers errors as shops see them: one JSON shape, a remedy, never what was sent and never a stack trace."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from contracts.errors import Fenced, ServingError
from serving.callers import HOW_TO_ASK
from serving.http.responses import json_response
from serving.http.route_fields import describe_routes


class UnknownCaller(ServingError):
    """The caller has neither the shop's key nor a shopper's token; `remedy` says how to get one."""

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy=HOW_TO_ASK)


class NotReady(ServingError):
    """No release serves yet, or what is asked for cannot be made here."""


def add_errors(app: FastAPI) -> None:
    """Let every error of `app` be answered this way; call it after the routes are added."""
    answers = _ErrorAnswers(describe_routes(app.openapi()))
    app.exception_handler(RequestValidationError)(answers.answer_invalid)
    app.exception_handler(HTTPException)(answers.answer_refused)
    app.exception_handler(UnknownCaller)(answers.answer_unknown_caller)
    app.exception_handler(Fenced)(answers.answer_unavailable)
    app.exception_handler(ServingError)(answers.answer_unavailable)


class _ErrorAnswers:
    """Error handlers that know the routes, so that a remedy can say what they take."""

    def __init__(self, fields: dict[tuple[str, str], str]) -> None:
        self._fields = fields
        self._routes = "the routes are " + ", ".join(f"{method} {path}" for method, path in fields)

    async def answer_invalid(self, request: Request, error: RequestValidationError) -> Response:
        """Answer a request with a field that is missing, wrong or out of range."""
        first = error.errors()[0]  # never repeats what was sent
        where = ".".join(str(part) for part in first["loc"] if part != "body")[:80].encode(errors="replace").decode()
        if first["type"] == "json_invalid":
            return _problem(request, 400, "the body is not JSON", "send one JSON object as application/json")
        message = f"{where}: {first['msg']}" if where else first["msg"]
        return _problem(request, 422, message, self._accepted_fields(request))

    async def answer_refused(self, request: Request, error: HTTPException) -> Response:
        """Answer a request that a route or the router turned away."""
        return _problem(request, error.status_code, str(error.detail), self._remedy(request, error), error.headers)

    async def answer_unknown_caller(self, request: Request, error: UnknownCaller) -> Response:
        """Answer a caller who has to say who they are."""
        return _problem(request, 401, error.what, error.remedy or HOW_TO_ASK)

    async def answer_unavailable(self, request: Request, error: Fenced | ServingError) -> Response:
        """Answer a request that this engine cannot serve now."""
        return _problem(request, 503, error.what, error.remedy or "try again", {"retry-after": "1"})

    def _remedy(self, request: Request, error: HTTPException) -> str:
        match error.status_code:
            case 403:
                return "ask with the token of that shopper, or from the shop's server with its key"
            case 404 if "route" in request.scope:
                return "ask for an item_id of the catalog that was there when this release was made"
            case 405:
                return f"use {Headers(error.headers or {}).get('allow', 'another method')}; {self._routes}"
            case 422:
                return self._accepted_fields(request)
            case _:
                return self._routes

    def _accepted_fields(self, request: Request) -> str:
        asked = request.method, getattr(request.scope.get("route"), "path", "")
        return f"{' '.join(asked)} takes {self._fields[asked]}" if self._fields.get(asked) else self._routes


def _problem(
    request: Request, status: int, error: str, remedy: str, headers: Mapping[str, str] | None = None
) -> Response:
    content = {"error": error, "remedy": remedy, "request_id": request.state.request_id}
    return json_response(content, status, headers)
