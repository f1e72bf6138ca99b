"""Writes the answer log: one line per answer and per delivery of events, for those who judge a release by them.

It tells what the edge's access log cannot: which items were shown, whether the answer was a fallback, empty or made
from stale features, and what shoppers did. Lines carry the edge's opaque shopper id and the arm the edge meant; the
request id joins a shadow's answers with the champion's. No request waits for it, and a power cut may cost its last
lines: the event log, not this one, holds what must not be lost.

    {"t", "id", "kind": "recommend" | "search" | "similar", "shopper", "arm", "shadow", "caller", "release", "overlay",
     "items", "fallback", "stale", "ms"}
    {"t", "id", "kind": "events", "shopper", "arm", "shadow", "caller", "release", "overlay",
     "actions": {"click": 1, ...}}
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request

from contracts.region_paths import ANSWER_LOG
from serving.bundle.release import Release
from serving.callers import Caller
from serving.edge.arm_assignment import ARM_HEADER, SHADOW, SHOPPER_HEADER
from serving.events.event_log import EventLog
from serving.pipeline.candidates import Fallback


def open_answer_log(home: Path, engine: str) -> EventLog:
    """Open the answer log of one engine, below the region's home; it is not forced to disk."""
    return EventLog(home / ANSWER_LOG, engine, sync=lambda _file: None)


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """The origin of a request, from the headers that the edge sets."""

    request_id: str
    shopper: str | None
    arm: str | None
    shadow: bool
    caller: str = "shop"

    @classmethod
    def of(cls, request: Request) -> RequestOrigin:
        headers = request.headers
        shadow = headers.get("host", "").split(":", 1)[0].endswith(SHADOW)
        shopper, arm, caller = headers.get(SHOPPER_HEADER), headers.get(ARM_HEADER), Caller.of(request).kind
        return cls(request.state.request_id, shopper, arm, shadow, caller)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """One answer: what the shop gets, and what is counted and logged of it. `timings` in milliseconds."""

    route: str
    release: Release
    items: list[dict[str, Any]]
    fallback: Fallback | None
    timings: dict[str, float]
    #: Whether the shopper's features were past their age limit; None where an answer is made without any.
    stale: bool | None = None


def log_answer(log: EventLog, origin: RequestOrigin, answer: AnswerRecord) -> None:
    """Log an answer, for the judges of a release."""
    content = {
        "items": [item["item_id"] for item in answer.items],
        "fallback": answer.fallback,
        "stale": bool(answer.stale),
        "ms": answer.timings["total"],
    }
    _append(log, origin, answer.route, answer.release, content)


def log_actions(log: EventLog, origin: RequestOrigin, release: Release, kinds: dict[str, int]) -> None:
    """Log how many events of each kind a shopper sent."""
    if kinds:
        _append(log, origin, "events", release, {"actions": kinds})


def _append(log: EventLog, origin: RequestOrigin, kind: str, release: Release, content: dict[str, Any]) -> None:
    line = {
        "t": time.time(),
        "id": origin.request_id,
        "kind": kind,
        "shopper": origin.shopper,
        "arm": origin.arm,
        "shadow": origin.shadow,
        "caller": origin.caller,
        "release": release.digest,
        "overlay": release.overlay,
    }
    log.append(orjson.dumps(line | content, option=orjson.OPT_APPEND_NEWLINE), urgent=False)
