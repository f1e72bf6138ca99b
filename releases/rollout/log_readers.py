"""Keeps the readers of the logs of the release in progress between looks, because each of them reads on."""

from __future__ import annotations

import time
from pathlib import Path

from contracts.settings import Settings
from monitoring.outcomes import OutcomeReader, Watched
from monitoring.shadow import ShadowReader
from releases.rollout.canary_record import Memory
from releases.rollout.region import Region

#: Seconds after which a catalog that could not be read is asked for again.
CATALOG_RETRY_S = 30.0


class Watching:
    """The readers of one region's logs."""

    def __init__(self, s: Settings, region: Region, *, access_log: Path, answer_log: Path) -> None:
        self._s = s
        self._region = region
        self._access_log, self._answer_log = access_log, answer_log
        self._shadow: ShadowReader | None = None
        self._catalog_asked = 0.0
        self.canary: OutcomeReader | None = None  # the one asked for last

    def shadow_of(self, known: Memory, since: float) -> ShadowReader:
        """Return the reader that compares answers of champion and shadow; `since` in seconds since 1970."""
        if self._shadow is None or self._shadow.shadow != known.digest or self._shadow.since != since:
            self._shadow = ShadowReader(self._answer_log, known.champion, known.digest, since)
        return self._shadow

    def canary_of(self, known: Memory, since: float) -> OutcomeReader:
        """Return the reader that counts the outcomes of a canary; `since` in seconds since 1970."""
        present, now = self.canary, time.monotonic()
        if present is not None and present.watched.catalog is None and now > self._catalog_asked + CATALOG_RETRY_S:
            present = None  # the store did not answer then; it may now
        if present is None or present.watched.canary != known.digest or present.watched.since != since:
            self._catalog_asked = now
            watched = Watched(
                canary=known.digest,
                champion=known.champion,
                since=since,
                budget_ms=self._s.latency_budget * 1000,
                deadline_ms=self._s.request_deadline * 1000,
                catalog=self._region.catalog(known.source, known.champion),
            )
            self.canary = present = OutcomeReader(watched, self._access_log, self._answer_log)
        return present
