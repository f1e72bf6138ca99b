"""Logs the impressions of an answer in a log of their own. No answer waits for it.

Nobody was promised an impression, so unlike the event log this one may be shed: where the region may not write, or the
disk is nearly full, and after some days.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from contracts.errors import CaravanError
from serving.bundle.release import Indexes, Release
from serving.events.event_log import EventLog
from serving.events.ingest import format_time

#: Seconds for which an answer to whether the region may write is believed.
_BELIEVED_S = 0.5


class Impressions:
    """The impression log of one engine; `may_write` raises where nothing may be written now."""

    def __init__(self, log: EventLog, may_write: Callable[[], None], clock: Callable[[], float] = time.monotonic):
        self.log = log
        self.shed = 0
        self._may_write = may_write
        self._clock = clock
        self._asked, self._allowed = float("-inf"), True

    def allowed(self) -> bool:
        """Say whether impressions are logged now; each that is not counts in `shed`."""
        now = self._clock()
        if now - self._asked >= _BELIEVED_S:
            self._asked = now
            try:
                self._may_write()
                self._allowed = True
            except CaravanError:
                self._allowed = False
        self.shed += not self._allowed
        return self._allowed


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
