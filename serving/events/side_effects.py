"""What an answer leaves behind: its impressions in the event log. Nobody waits for it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import orjson

from serving.bundle.release import Release
from serving.events.event_log import EventLog
from serving.events.ingest import stamp
from serving.pipeline.candidates import Candidates


def log_impressions(
    log: EventLog, release: Release, user: str, session: str | None, chosen: Candidates, request_id: str
) -> None:
    """One `impression` per item shown, position from 0; identifiers are hashed already.

    The ids are ours, not the request's, so that a repeated request id cannot make two impressions one.
    """
    shown = uuid.uuid4().hex
    now = stamp(datetime.now(UTC))
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
