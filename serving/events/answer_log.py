"""The answer log: one line per answer and per delivery of events, for those who judge a release by them.

It tells what the edge's access log cannot: which items were shown, whether the answer was a fallback, empty or made
from stale features, and what shoppers did. Lines carry the edge's opaque shopper id and the arm the edge meant; the
request id joins a shadow's answers with the champion's. Nobody waits for it, and a power cut may cost its last lines:
the event log, not this one, holds what must not be lost.

    {"t", "id", "kind": "recommend" | "search" | "similar", "shopper", "arm", "shadow", "caller", "release", "items",
     "fallback", "stale", "ms"}
    {"t", "id", "kind": "events", "shopper", "arm", "shadow", "caller", "release", "actions": {"click": 1, ...}}
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request

from serving.bundle.release import Release
from serving.callers import Caller
from serving.edge.listener import ARM_HEADER, SHADOW, SHOPPER_HEADER
from serving.events.event_log import EventLog

FOLDER = "answer-log"


def answer_log(home: Path, engine: str) -> EventLog:
    """The answer log of one engine, below the region's home; it is not forced to disk."""
    return EventLog(home / FOLDER, engine, sync=lambda _file: None)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, as the edge tells it."""

    request_id: str
    shopper: str | None
    arm: str | None
    shadow: bool
    caller: str = "shop"

    @classmethod
    def of(cls, request: Request) -> Asked:
        headers = request.headers
        shadow = headers.get("host", "").split(":", 1)[0].endswith(SHADOW)
        shopper, arm, caller = headers.get(SHOPPER_HEADER), headers.get(ARM_HEADER), Caller.of(request).kind
        return cls(request.state.request_id, shopper, arm, shadow, caller)


def log_answer(
    log: EventLog,
    asked: Asked,
    kind: str,
    release: Release,
    items: list[dict[str, Any]],
    fallback: str | None,
    timings: dict[str, float],
    *,
    stale: bool = False,
) -> None:
    """Keep what was answered."""
    content = {
        "items": [item["item_id"] for item in items],
        "fallback": fallback,
        "stale": stale,
        "ms": timings["total"],
    }
    _append(log, asked, kind, release, content)


def log_actions(log: EventLog, asked: Asked, release: Release, kinds: dict[str, int]) -> None:
    """Keep what kinds of events a shopper sent."""
    if kinds:
        _append(log, asked, "events", release, {"actions": kinds})


def _append(log: EventLog, asked: Asked, kind: str, release: Release, content: dict[str, Any]) -> None:
    line = {
        "t": time.time(),
        "id": asked.request_id,
        "kind": kind,
        "shopper": asked.shopper,
        "arm": asked.arm,
        "shadow": asked.shadow,
        "caller": asked.caller,
        "release": release.digest,
    }
    log.append(orjson.dumps(line | content, option=orjson.OPT_APPEND_NEWLINE), urgent=False)
