"""Refuses a run's parameters where the run is asked for: a misspelled one, or a value that a form cannot refuse.

A layer around Airflow's own API, which the UI uses too. What it lets through, Airflow still checks: who asks, and each
value against its form. The names that a refusal tells are no secret, so it needs no sign-in.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from caravan_airflow.conf import PARAMETERS, read_conf
from contracts.errors import CaravanError, SettingsError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_RUNS = re.compile(r"/api/v2/dags/([^/]+)/dagRuns/?$")
_BACKFILLS = re.compile(r"/api/v2/backfills(/dry_run)?/?$")
#: Bytes of a request that are looked at; what is larger is none of our forms.
MAX_BODY = 1 << 20


class ConfDoor:
    """The layer; `app` is Airflow."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if not _starts_a_run(scope):
            await self._app(scope, receive, send)
            return
        sent = [await receive()]
        while sent[-1].get("more_body") and sum(len(m.get("body", b"")) for m in sent) <= MAX_BODY:
            sent.append(await receive())
        if not sent[-1].get("more_body") and sent[-1]["type"] == "http.request":
            try:
                # in a thread: the reader of recovery points is imported at its first use
                body = await asyncio.to_thread(read_body, scope["path"], b"".join(m.get("body", b"") for m in sent))
            except CaravanError as error:
                await _refuse(send, error)
                return
            length = (b"content-length", str(len(body)).encode())
            scope["headers"] = [*(h for h in scope["headers"] if h[0] != b"content-length"), length]
            sent = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return sent.pop(0) if sent else await receive()

        await self._app(scope, replay, send)


def read_body(path: str, body: bytes) -> bytes:
    """Return the body of a request for a run or a backfill, its parameters read. Raises CaravanError."""
    try:
        asked = json.loads(body)
    except ValueError:
        return body
    if not isinstance(asked, dict):
        return body
    found = _RUNS.search(path)
    dag, name = (found[1], "conf") if found else (asked.get("dag_id"), "dag_run_conf")
    conf = asked.get(name)
    if not isinstance(dag, str) or dag not in PARAMETERS or not isinstance(conf, dict):
        return body  # Airflow says what is wrong with those
    read = read_conf(dag, conf)
    if not found and read.get("day"):
        raise SettingsError(
            "this backfill also names a day", remedy="leave out day: the dates of a backfill are its days"
        )
    return body if read == conf else json.dumps(asked | {name: read}).encode()


def _starts_a_run(scope: MutableMapping[str, Any]) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "POST"
        and bool(_RUNS.search(scope["path"]) or _BACKFILLS.search(scope["path"]))
    )


async def _refuse(send: Send, error: CaravanError) -> None:
    """Answer in the form of Airflow's own refusals."""
    body = json.dumps({"detail": str(error)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 422, "headers": headers})
    await send({"type": "http.response.body", "body": body})
