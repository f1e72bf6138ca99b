"""Answers errors as shops see them: one JSON shape, a remedy, never what was sent and never a stack trace."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from contracts.errors import Fenced, ServingError
from serving.callers import HOW_TO_ASK
from serving.events.disk_room import DiskFull
from serving.http.responses import json_response
from serving.http.route_fields import describe_routes

#: Seconds after which events that found no room on the disk should be sent again.
RETRY_WHEN_FULL_S = "30"
#: First parts of a field's place that say only where in the request it is.
_PLACES = ("body", "query", "path", "header")


class UnknownCaller(ServingError):
    """The caller has neither the shop's key nor a shopper's token; `remedy` says how to get one."""

    def __init__(self, what: str, *, remedy: str = HOW_TO_ASK) -> None:
        super().__init__(what, remedy=remedy)


class NotReady(ServingError):
    """No release serves yet, or what is asked for cannot be made here."""


def add_errors(app: FastAPI) -> None:
    """Let every error of `app` be answered this way; call it after the routes are added."""
    answers = _ErrorAnswers(describe_routes(app.openapi()))
    app.exception_handler(RequestValidationError)(answers.answer_invalid)
    app.exception_handler(HTTPException)(answers.answer_refused)
    app.exception_handler(UnknownCaller)(answers.answer_unknown_caller)
    app.exception_handler(Fenced)(answers.answer_unavailable)
    app.exception_handler(DiskFull)(answers.answer_full)
    app.exception_handler(ServingError)(answers.answer_unavailable)


class _ErrorAnswers:
    """Error handlers that know the routes, so that a remedy can say what they take."""

    def __init__(self, fields: dict[tuple[str, str], dict[str, str]]) -> None:
        self._fields = fields
        self._routes = "the routes are " + ", ".join(f"{method} {path}" for method, path in fields)

    async def answer_invalid(self, request: Request, error: RequestValidationError) -> Response:
        """Answer a request with a field that is missing, wrong or out of range."""
        found = error.errors()
        # a name that is none is often the missing one, misspelled; values that were sent are never repeated
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        if first["type"] == "json_invalid":
            return _problem(request, 400, "the body is not JSON", "send one JSON object as application/json")
        where = [str(part).encode(errors="replace").decode() for part in first["loc"] if part not in _PLACES]
        if not where:
            return _problem(request, 422, "the body is not a JSON object", self._accepted_fields(request))
        named = ".".join(where)[:80]
        if first["type"] == "extra_forbidden":
            like = get_close_matches(where[-1].lower(), self._fields.get(_asked(request), ()), n=1)
            meant = f"; did you mean {like[0]}?" if like else ""
            return _problem(request, 422, f"{named}: no such field{meant}", self._accepted_fields(request), field=named)
        return _problem(request, 422, f"{named}: {first['msg']}", self._accepted_fields(request, where[0]), field=named)

    async def answer_refused(self, request: Request, error: HTTPException) -> Response:
        """Answer a request that a route or the router turned away."""
        what = str(error.detail)
        field = what.partition(":")[0]
        known = field if field in self._fields.get(_asked(request), ()) else None
        return _problem(
            request, error.status_code, what, self._remedy(request, error, known), headers=error.headers, field=known
        )

    async def answer_unknown_caller(self, request: Request, error: UnknownCaller) -> Response:
        """Answer a caller who has to say who they are."""
        return _problem(
            request,
            401,
            error.what,
            error.remedy or HOW_TO_ASK,
            field="token" if error.what.startswith("token:") else None,
        )

    async def answer_unavailable(self, request: Request, error: Fenced | ServingError) -> Response:
        """Answer a request that this engine cannot serve now."""
        return _problem(request, 503, error.what, error.remedy or "try again", headers={"retry-after": "1"})

    async def answer_full(self, request: Request, error: DiskFull) -> Response:
        """Answer a request for whose rows the disk has no room."""
        return _problem(request, 507, error.what, error.remedy, headers={"retry-after": RETRY_WHEN_FULL_S})

    def _remedy(self, request: Request, error: HTTPException, field: str | None) -> str:
        match error.status_code:
            case 403:
                return "ask with the token of that shopper, or from the shop's server with its key"
            case 404 if "route" in request.scope:
                return "ask for an item_id of the catalog that was there when this release was made"
            case 404 if request.url.path.startswith("/similar/"):
                return "an item_id with a slash in it goes into the query: GET /similar?item_id=, percent-encoded"
            case 405:
                return f"use {Headers(error.headers or {}).get('allow', 'another method')}; {self._routes}"
            case 422:
                return self._accepted_fields(request, field)
            case _:
                return self._routes

    def _accepted_fields(self, request: Request, field: str | None = None) -> str:
        """Say what `field` of the route takes, or all of them where it is none of the route's."""
        asked = _asked(request)
        fields = self._fields.get(asked)
        if not fields:
            return self._routes
        return f"{' '.join(asked)} takes {fields.get(field or '') or ', '.join(fields.values())}"


def _asked(request: Request) -> tuple[str, str]:
    """Return method and path of the route that a request reached."""
    return request.method, getattr(request.scope.get("route"), "path", "")


def _problem(
    request: Request,
    status: int,
    error: str,
    remedy: str,
    *,
    headers: Mapping[str, str] | None = None,
    field: str | None = None,
) -> Response:
    content: dict[str, Any] = {"error": error, "remedy": remedy, "request_id": request.state.request_id}
    if field is not None:
        content["field"] = field
    return json_response(content, status, headers)
