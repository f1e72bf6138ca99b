"""Admits requests, as the outermost layer: request id, body limits, shedding, deadline, and the last word on errors.

Plain ASGI, because every request passes here: a refused one costs some tens of microseconds, so an engine at three
times its capacity still spends its time on the requests that it took.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType
from typing import Any

import orjson

from serving.http.bodies import BodyRefused, read_body
from serving.http.metrics import Meters
from serving.pipeline.schemas import MAX_BODY

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Longest time that a client may take to send its body.
BODY_TIMEOUT_S = 5.0
RETRY = {"retry-after": "1"}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of requests. `in_flight`: requests of a route under way at once; more are refused, not queued.

    `body_seconds` is the longest time to receive a body, `deadline` that to answer, in seconds.
    """

    in_flight: dict[str, int] = field(
        default_factory=lambda: {"recommend": 48, "search": 24, "similar": 48, "events": 128}
    )
    body_bytes: int = MAX_BODY
    body_seconds: float = BODY_TIMEOUT_S
    deadline: float = 1.0


class Gate:
    """The gate around the application."""

    def __init__(self, app: App, meters: Meters, limits: Limits) -> None:
        self._app = app
        self._meters = meters
        self._limits = limits
        self._under_way = dict.fromkeys(limits.in_flight, 0)
        for route in limits.in_flight:
            meters.in_flight.labels(route).set_function(lambda route=route: self._under_way[route])  # type: ignore[misc]

    @property
    def busy(self) -> int:
        """Number of requests under way."""
        return sum(self._under_way.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        route = scope["path"].partition("/")[2].partition("/")[0]  # "" for a target like `*`, which holds no slash
        if route not in self._under_way:
            route = "other"
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        response = _Response(send, request_id)
        try:
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await read_body(
                    scope, receive, limit=self._limits.body_bytes, seconds=self._limits.body_seconds
                )
            await self._admit(route, scope, receive, response)
        except TimeoutError:
            await response.send_problem(
                503, f"no answer within {self._limits.deadline:g} s", "try again", headers=RETRY
            )
        except BodyRefused as refused:
            await response.send_problem(refused.status, refused.what, refused.remedy, headers=refused.headers)
        except Exception:  # the last resort: no stack trace gets out, no request hangs
            log.exception("request %s failed", request_id)
            await response.send_problem(500, "the engine failed on this request", f"report request {request_id}")
        self._meters.requests.labels(route, str(response.status)).observe(perf_counter() - started)

    async def _admit(self, route: str, scope: Scope, receive: Receive, response: _Response) -> None:
        if route == "other":
            await self._app(scope, receive, response.send)
            return
        if self._under_way[route] >= self._limits.in_flight[route]:
            self._meters.shed.labels(route).inc()
            await response.send_problem(503, "too many requests are under way", "try again in a second", headers=RETRY)
            return
        self._under_way[route] += 1
        try:
            async with asyncio.timeout(self._limits.deadline):
                await self._app(scope, receive, response.send)
        finally:
            self._under_way[route] -= 1


class _Response:
    """The response of one request: gets the request id, and remembers whether it has begun."""

    __slots__ = ("_id", "_send", "begun", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id
        self.begun = False
        self.status = 499  # nothing was sent: the client went away

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._id.encode())]
        await self._send(message)

    async def send_problem(
        self, status: int, error: str, remedy: str, *, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Answer with an error, unless an answer has begun already."""
        if self.begun:
            return
        body = orjson.dumps({"error": error, "remedy": remedy, "request_id": self._id})
        all_headers = {**headers, "content-type": "application/json", "content-length": str(len(body))}
        told = [(name.encode(), value.encode()) for name, value in all_headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": told})
        await self.send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    """Return the id that Envoy gave, when it is valid; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return str(uuid.uuid4())
