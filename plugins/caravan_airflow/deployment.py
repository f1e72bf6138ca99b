"""Point a region's engine at a release, and wait until it serves that very digest."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contracts.errors import ReleaseRefused, ServingError

if TYPE_CHECKING:
    from artifacts.publish import Store
    from contracts.settings import Settings

log = logging.getLogger(__name__)

#: Seconds an engine may take to fetch, verify and warm a release.
PATIENCE = 180.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A release in the registry: the day it was made for, and its version. Later days win, then later versions."""

    day: str
    version: int

    def outranks(self, other: Standing) -> bool:
        return (self.day, self.version) > (other.day, other.version)


def switch(s: Settings, store: Store, release: str, *, patience: float = PATIENCE) -> bool:
    """Let the region's champion slot be `release`; False when it was already and is served.

    Raises ReleaseRefused when the engine refuses it, ServingError when it does not serve it in time; the pointer
    then goes back to what it was, so that a restarted engine does not meet the bad release again.
    """
    from artifacts.publish import point, resolve

    slot = f"serving/{s.region}/champion"
    former = resolve(store, slot)
    moved = point(store, slot, release, expected=former)
    try:
        wait_until_served(s, release, patience=patience)
    except ServingError:
        if moved and former is not None:
            point(store, slot, former, expected=release)
            log.warning("%s points to %s again", slot, former[:12])
        raise
    return moved


def wait_until_served(s: Settings, release: str, *, patience: float = PATIENCE) -> None:
    """Ask the engine until it is ready with `release`. Raises ReleaseRefused or ServingError."""
    deadline, said = time.monotonic() + patience, ""
    while True:
        state = readiness(s)
        if state.get("ready") and state.get("release") == release:
            log.info("the engine at %s serves %s", s.engine_address, release[:12])
            return
        if state.get("refused") == release:
            raise ReleaseRefused(
                f"the engine refuses release {release[:12]}: {state.get('reason')}", remedy="see `caravan logs engine`"
            )
        serves = str(state.get("release"))[:12]
        now = f"stage {state.get('stage')}, release {serves}, {state.get('reason') or 'no complaint'}"
        if now != said:
            log.info("waiting for the engine: %s", now)
            said = now
        if time.monotonic() > deadline:
            raise ServingError(
                f"the engine at {s.engine_address} does not serve {release[:12]} after {patience:.0f} s ({now})",
                remedy="`caravan status` shows whether it runs; see `caravan logs engine`",
            )
        time.sleep(0.5)


def readiness(s: Settings) -> dict[str, Any]:
    """What the engine says at /readyz, ready or not; a `reason` alone when it does not answer."""
    import httpx

    try:
        answer = httpx.get(f"{s.engine_address}/readyz", timeout=5.0)
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return {"ready": False, "reason": f"no answer ({type(error).__name__})"}
    return dict(body) if isinstance(body, dict) else {"ready": False, "reason": "an answer that is no object"}
