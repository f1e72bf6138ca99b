"""Reads shoppers from the online store: one small read per answer, behind a deadline and a breaker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from serving.pipeline.candidates import Fallback

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShopperHistory:
    """A known shopper's recent items and kinds of action, oldest first, and what was ever `purchased`."""

    items: list[str]
    kinds: list[str]
    stale: bool
    purchased: list[str]


class Reader(Protocol):
    """The part of feature_repo.reader.OnlineReader in use here; a seam, so that tests can make it late or wrong."""

    def shopper(self, user_id: str, deadline: float) -> Awaitable[Any]: ...


class Breaker:
    """A breaker that stops reads for `pause` seconds after `failures` in a row: no answer waits for a dead store."""

    def __init__(self, failures: int = 5, pause: float = 1.0, clock: Callable[[], float] = monotonic) -> None:
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._failed = 0
        self._closed_at = 0.0

    @property
    def open(self) -> bool:
        """Say whether reads are stopped; after the pause one caller at a time may try again."""
        if self._failed < self._limit:
            return False
        if self._clock() < self._closed_at:
            return True
        self._closed_at = self._clock() + self._pause  # this caller tries; the others wait for the next turn
        return False

    def failed(self) -> None:
        self._failed += 1
        if self._failed >= self._limit:
            self._closed_at = self._clock() + self._pause

    def worked(self) -> None:
        self._failed = 0


class OnlineStoreReader:
    """Shoppers of any source, read through one reader per source. Failures are values, never exceptions."""

    def __init__(self, make_reader: Callable[[str], Reader], deadline: float, breaker: Breaker | None = None) -> None:
        self._make_reader = make_reader
        self._deadline = deadline
        self._breaker = breaker or Breaker()
        self._readers: dict[str, Reader] = {}

    def prepare(self, source: str) -> None:
        """Make the reader of `source`; slow (imports), so the engine calls it before a release is swapped in.

        Without a reader every answer is a labelled fallback: trouble with the store must not stop a release.
        """
        if source not in self._readers:
            try:
                self._readers[source] = self._make_reader(source)
            except Exception:
                log.exception("no reader for the online store of %s", source)

    async def read(self, source: str, user: str) -> ShopperHistory | Fallback:
        """Return the shopper's history, or why there is none: unknown, too late, or the store does not answer."""
        reader = self._readers.get(source)
        if reader is None or self._breaker.open:
            return Fallback.ONLINE_DOWN
        try:
            async with asyncio.timeout(self._deadline):
                found = await reader.shopper(user, self._deadline)
        except TimeoutError:
            self._breaker.failed()
            return Fallback.ONLINE_TIMEOUT
        except Exception as error:  # the shopper gets an answer, no matter what the store's client raises
            self._breaker.failed()
            if isinstance(error.__cause__, TimeoutError):
                return Fallback.ONLINE_TIMEOUT
            log.warning("the online store failed: %s", error)
            return Fallback.ONLINE_DOWN
        self._breaker.worked()
        if found is None or not (len(found.items) or len(found.purchased)):
            return Fallback.UNKNOWN_SHOPPER
        return ShopperHistory(
            items=_texts(found.items),
            kinds=_texts(found.kinds),
            stale=bool(found.stale),
            purchased=_texts(found.purchased),
        )


def _texts(values: Sequence[str]) -> list[str]:
    return values if isinstance(values, list) else list(values)
