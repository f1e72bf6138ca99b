"""Lets the region's very first release go on without asking people, and waits until shoppers are served by it.

A region without any champion, now or before, has nothing to compare a release with and no shopper to lose. `recheck`
in `releases.approval.approval` accepts an approval that says so only while that is true.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from artifacts.ledger import PlannedMove
from contracts.errors import ReleaseError, ServingError
from contracts.release import NOTES
from releases.registration import NIGHTLY
from releases.served_shop import find_foreign
from serving import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifacts.ledger import Ledger
    from contracts.settings import Settings

log = logging.getLogger(__name__)

#: Seconds that the controller and an engine may take to serve the first release.
FIRST_RELEASE_TIMEOUT_S = 180.0
#: Seconds between two looks at the ledger and the engine.
LOOK_EVERY_S = 0.5


def approve_first(ledger: Ledger, source: str, digest: str, *, shop: str) -> bool:
    """Approve a gated release if no release was ever champion in this region; say whether it goes on as the first.

    `shop`: the setting. Of another shop none is the first: the region is not there for it.
    """
    if ledger.newest("champion") is not None or find_foreign(ledger, shop, source) is not None:
        return False
    if ledger.state(source, digest) == "gated":
        reason = why_first(ledger, source, digest)
        planned = PlannedMove(
            source=source, digest=digest, to="approved", expected="gated", actor=NIGHTLY, reason=reason,
            evidence={"first_release": True},
        )  # fmt: skip
        ledger.move(planned)
        log.info("%s", reason)
    if ledger.state(source, digest) != "approved":
        return False
    moved = ledger.newest("approved", source=source, digest=digest)
    return moved is not None and bool(moved.evidence.get("first_release"))


def why_first(ledger: Ledger, source: str, digest: str) -> str:
    """Say why nobody is asked about the first release of a region, with what the ledger knows of all others."""
    ends = {(m.source, m.digest): m.to_state for m in ledger.history() if m.to_state not in NOTES}
    others = Counter(state for release, state in ends.items() if release != (source, digest))
    known = ", ".join(f"{count} {state}" for state, count in sorted(others.items())) or "none"
    return (
        f"nobody is asked: no release was ever champion in this region (others in the ledger: {known}), so there is no "
        "champion to compare with, and no shopper whose answers would change"
    )


def await_first(
    ledger: Ledger, source: str, digest: str, readiness: Callable[[], dict[str, Any]], *,
    timeout: float = FIRST_RELEASE_TIMEOUT_S, every: float = LOOK_EVERY_S,
) -> None:  # fmt: skip
    """Wait until the ledger says champion and the engine serves this digest. Raises ReleaseError or ServingError.

    `readiness` asks the engine of all shoppers, as `engine_readiness` does.
    """
    deadline, said = time.monotonic() + timeout, ""
    while True:
        state, engine = ledger.state(source, digest), readiness()
        if state == "champion" and engine.get("ready") and engine.get("release") == digest:
            log.info("the engine serves %s", digest[:12])
            return
        if state in ("rejected", "rolled_back"):
            last = ledger.newest(state, source=source, digest=digest)
            raise ReleaseError(
                f"the first release {digest[:12]} is {state}: {last.reason if last else 'no reason'}",
                remedy=f"`caravan release show {digest[:12]}` has the evidence",
            )
        now = f"the ledger says {state}; the engine: {engine.get('reason') or engine.get('stage') or 'no complaint'}"
        if now != said:
            log.info("waiting: %s", now)
            said = now
        if time.monotonic() > deadline:
            raise ServingError(
                f"the first release {digest[:12]} does not serve after {timeout:.0f} s ({now})",
                remedy="`caravan status` shows whether controller and engine run; see `caravan logs controller`",
            )
        time.sleep(every)


def engine_readiness(s: Settings) -> dict[str, Any]:
    """Ask the engine of all shoppers at /readyz, ready or not; a `reason` alone when it does not answer."""
    try:
        body = reach.get(s.engine_address, "/readyz").json()
    except (httpx.HTTPError, ValueError) as error:
        return {"ready": False, "reason": f"no answer ({type(error).__name__})"}
    return dict(body) if isinstance(body, dict) else {"ready": False, "reason": "an answer that is no object"}
