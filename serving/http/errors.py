"""Errors as shops see them: one JSON shape, a remedy, never what was sent and never a stack trace."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from contracts.errors import Fenced, ServingError
from serving.callers import HOW_TO_ASK


class Unknown(ServingError):
    """The asker has neither the shop's key nor a shopper's token; `remedy` says how to get one."""

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy=HOW_TO_ASK)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that skips the framework's own encoding."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json", headers=headers)


def add_errors(app: FastAPI) -> None:
    """Let every error of `app` be answered this way; its routes are there by now."""
    fields = _fields(app.openapi())
    there = "the routes are " + ", ".join(f"{method} {path}" for method, path in fields)

    def problem(request: Request, status: int, error: str, remedy: str, headers: Any = None) -> Response:
        content = {"error": error, "remedy": remedy, "request_id": request.state.request_id}
        return json_response(content, status, headers)

    def takes(request: Request) -> str:
        asked = request.method, getattr(request.scope.get("route"), "path", "")
        return f"{' '.join(asked)} takes {fields[asked]}" if fields.get(asked) else there

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]  # never repeats what was sent
        where = ".".join(str(part) for part in first["loc"] if part != "body")[:80].encode(errors="replace").decode()
        if first["type"] == "json_invalid":
            return problem(request, 400, "the body is not JSON", "send one JSON object as application/json")
        return problem(request, 422, f"{where}: {first['msg']}" if where else first["msg"], takes(request))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        remedy = takes(request) if error.status_code == 422 else there
        if error.status_code == 404 and "route" in request.scope:
            remedy = "ask for an item_id of the catalog that was there when this release was made"
        if error.status_code == 403:
            remedy = "ask with the token of that shopper, or from the shop's server with its key"
        if error.status_code == 405:
            remedy = f"use {Headers(error.headers or {}).get('allow', 'another method')}; {there}"
        return problem(request, error.status_code, str(error.detail), remedy, error.headers)

    @app.exception_handler(Unknown)
    async def unknown(request: Request, error: Unknown) -> Response:
        return problem(request, 401, error.what, error.remedy or HOW_TO_ASK)

    @app.exception_handler(Fenced)
    @app.exception_handler(ServingError)
    async def unavailable(request: Request, error: Fenced | ServingError) -> Response:
        return problem(request, 503, error.what, error.remedy or "try again", {"retry-after": "1"})


def _fields(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What each route takes, by method and path: every field with its range, required ones marked."""
    schemas = document["components"]["schemas"]
    found = {}
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            said = [_field(p["name"], p["schema"], p.get("required", False)) for p in about.get("parameters", ())]
            if "requestBody" in about:
                body = schemas[about["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]
                required = body.get("required", ())
                said += [_field(name, schema, name in required) for name, schema in body["properties"].items()]
            found[method.upper(), path] = ", ".join(said)
    return found


def _field(name: str, schema: dict[str, Any], required: bool) -> str:
    inner = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    about = ["required"] if required else []
    for least, most, unit in (
        ("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " entries"),
    ):  # fmt: skip
        if most in inner:
            low = f"{inner[least]:g} to" if least in inner else "up to"
            about.append(f"{low} {inner[most]:g}{unit}")
    return f"{name} ({', '.join(about)})" if about else name
