"""Pushes accepted events to the online store: one thread, small batches, bounded.

An answer waits a moment for its batch; a later push, or none, only makes features less fresh: the event log has the
events, and the nightly run reads that.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from serving.events.event_log import mark_started

log = logging.getLogger(__name__)

Push = Callable[[str, list[dict[str, Any]]], object]

#: Events of one push.
PUSH_BATCH = 500
#: Events that may wait; more are not pushed.
PUSH_BACKLOG = 20_000


class Pusher:
    """A thread that calls `push(source, events)`, batch by batch."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._waiting: deque[tuple[str, list[dict[str, Any]], Future[bool]]] = deque()
        self._size = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="pusher", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Number of events that wait."""
        return self._size

    def submit(self, source: str, events: list[dict[str, Any]]) -> Future[bool]:
        """Queue events of one source; the future says whether the online store has them."""
        done: Future[bool] = mark_started(Future())
        with self._wake:
            if self._closing or self._size + len(events) > PUSH_BACKLOG:
                done.set_result(False)
                return done
            self._waiting.append((source, events, done))
            self._size += len(events)
            self._wake.notify()
        return done

    def close(self) -> None:
        """Push the waiting events, then stop; give up after two seconds."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                source, taken, dones = self._waiting[0][0], list[dict[str, Any]](), list[Future[bool]]()
                while self._waiting and self._waiting[0][0] == source and len(taken) < PUSH_BATCH:
                    _, events, done = self._waiting.popleft()
                    taken.extend(events)
                    dones.append(done)
                self._size -= len(taken)
            online = True
            try:
                self._push(source, taken)
            except Exception as error:  # any error of the store's client: the events are in the log already
                online = False
                log.warning("%d events did not reach the online store: %s", len(taken), error)
            for done in dones:
                done.set_result(online)
