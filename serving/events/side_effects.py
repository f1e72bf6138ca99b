"""Logs the impressions of an answer in the event log. No answer waits for it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import orjson

from serving.bundle.release import Release
from serving.events.event_log import EventLog
from serving.events.ingest import format_time
from serving.pipeline.candidates import Candidates


def log_impressions(
    log: EventLog, release: Release, user: str, session: str | None, chosen: Candidates, request_id: str
) -> None:
    """Log one `impression` per item shown, position from 0; identifiers are hashed already.

    Event ids are new ones, not made from the request's id: a repeated request id cannot make two impressions one.
    """
    shown = uuid.uuid4().hex
    now = format_time(datetime.now(UTC))
    ids = release.items.ids
    log.append(
        b"".join(
            orjson.dumps(
                {
                    "event_id": f"{shown}-{position}",
                    "event_time": now,
                    "user_id": user,
                    "session_id": session,
                    "kind": "impression",
                    "item_id": ids[row],
                    "query": None,
                    "position": position,
                    "value": None,
                    "source": release.source,
                    "release": release.digest,
                    "request_id": request_id,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for position, row in enumerate(chosen.index.tolist())
        ),
        urgent=False,
    )
