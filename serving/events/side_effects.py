"""Logs the impressions of an answer in the event log. No answer waits for it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import orjson

from serving.bundle.release import Indexes, Release
from serving.events.event_log import EventLog
from serving.events.ingest import format_time


def log_impressions(
    log: EventLog, release: Release, user: str, session: str | None, shown: Indexes, request_id: str,
    query: str | None = None,
) -> None:  # fmt: skip
    """Log one `impression` per item shown, position from 0; identifiers are hashed already. `query`: of a search.

    Event ids are new ones, not made from the request's id: a repeated request id cannot make two impressions one.
    """
    answer = uuid.uuid4().hex
    now = format_time(datetime.now(UTC))
    ids = release.items.ids
    log.append(
        b"".join(
            orjson.dumps(
                {
                    "event_id": f"{answer}-{position}",
                    "event_time": now,
                    "user_id": user,
                    "session_id": session,
                    "kind": "impression",
                    "item_id": ids[row],
                    "query": query,
                    "position": position,
                    "value": None,
                    "source": release.source,
                    "release": release.digest,
                    "request_id": request_id,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for position, row in enumerate(shown.tolist())
        ),
        urgent=False,
    )
