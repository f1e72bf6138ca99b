"""Waits for the ledger in the triggerer: no worker is held, and a restarted triggerer goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from artifacts.ledger import Ledger
    from contracts.release import State
    from releases.progress import Look

#: Seconds between two looks, and between two lines of progress that say the same.
LEDGER_POLL_INTERVAL_S, PROGRESS_REPEAT_S = 1.0, 60.0
#: Seconds without an answer from the ledger's database before the task is notified.
LEDGER_SILENCE_LIMIT_S = 600.0


class LedgerTrigger(BaseTrigger):
    """Ends when a release has passed, skipped or will not reach `step`. What it says is only a wake-up call."""

    def __init__(self, source: str, digest: str, step: str, every: float = LEDGER_POLL_INTERVAL_S) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source, self.digest, self.step, self.every = source, digest, step, every

    def serialize(self) -> tuple[str, dict[str, Any]]:
        about = {"source": self.source, "digest": self.digest, "step": self.step, "every": self.every}
        return f"{type(self).__module__}.{type(self).__qualname__}", about

    async def run(self) -> AsyncIterator[TriggerEvent]:
        said, said_at, heard = "", 0.0, time.monotonic()
        while True:
            try:
                found, line = await asyncio.to_thread(self.look)
                heard = time.monotonic()
            except Exception as error:
                # a database that restarts is no reason to fail a release; silence for long is
                found, line = None, f"the ledger does not answer: {error}"
                if time.monotonic() - heard > LEDGER_SILENCE_LIMIT_S:
                    yield _event("silence")
                    return
            about = line.partition(";")[0]  # the state; what follows may change with every look
            if about != said or time.monotonic() - said_at >= PROGRESS_REPEAT_S:
                self.log.info("%s", line)
                said, said_at = about, time.monotonic()
            if found is not None and found.outcome != "waiting":
                yield _event(found.outcome)
                return
            await asyncio.sleep(self.every)

    def look(self) -> tuple[Look, str]:
        """Look at the ledger once: what the step has come to, and a line about where the release is."""
        from caravan_airflow.active import here
        from releases.progress import now_at, read_progress

        ledger = _ledger()
        found = read_progress(ledger.history(self.source, self.digest), cast("State", self.step))
        return found, now_at(ledger, self.source, self.digest, here())


def _event(outcome: str) -> TriggerEvent:
    return TriggerEvent({"outcome": outcome})  # type: ignore[no-untyped-call]


@cache
def _ledger() -> Ledger:
    """Return the region's ledger; its tables were made by the task that waits."""
    from artifacts.ledger import Ledger
    from caravan_airflow.active import here

    return Ledger.of(here())
