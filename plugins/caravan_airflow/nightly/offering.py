"""What becomes of a release that passed the gate: the first goes to the shoppers, every later one is asked about."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from contracts.errors import ReleaseError, ServingError
from contracts.release import NOTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifacts.ledger import Ledger
    from caravan_airflow.step import Run
    from contracts.settings import Settings

log = logging.getLogger(__name__)

#: Seconds that the controller and an engine may take to serve the first release.
PATIENCE = 180.0


class Runs(Protocol):
    """Starting a run of `release`; a seam, so that tests may count."""

    def start(self, run: str, conf: dict[str, str], note: str) -> bool: ...


def run_name(source: str, digest: str) -> str:
    """One run of `release` for one digest, however often the day is run."""
    return f"{source}-{digest[:12]}"


def why_not(run: Run, ledger: Ledger, digest: str, day_of: Callable[[str], str]) -> str | None:
    """Why nobody is asked about this release, or None. `day_of` gives the day that a release was made for."""
    state = ledger.state(run.source, digest)
    if state != "gated":
        return f"the release is {state} already"
    if run.kind == "backfill":
        return f"a backfill offers nothing; any of its releases may go on with `caravan release approve {digest[:12]}`"
    champion = ledger.champion(run.source)
    if champion is not None and day_of(champion.digest) > run.day:
        return f"the champion {champion.digest[:12]} is of {day_of(champion.digest)}, later than {run.day}"
    return None


def start_first(ledger: Ledger, source: str, digest: str) -> bool:
    """Let the region's very first release go on without asking; False when shoppers had a champion before."""
    if ledger.newest("champion") is not None:
        return False
    if ledger.state(source, digest) == "gated":
        reason = why_first(ledger, source, digest)
        ledger.move(
            source, digest, to="approved", expected="gated", actor="nightly", reason=reason,
            evidence={"first_release": True},
        )  # fmt: skip
        log.info("%s", reason)
    if ledger.state(source, digest) != "approved":
        return False
    moved = ledger.newest("approved", source=source, digest=digest)
    return moved is not None and bool(moved.evidence.get("first_release"))


def why_first(ledger: Ledger, source: str, digest: str) -> str:
    """Why nobody is asked about a release of a region without any champion, now or before, by what the ledger knows."""
    ends = {(m.source, m.digest): m.to_state for m in ledger.history() if m.to_state not in NOTES}
    others = Counter(state for release, state in ends.items() if release != (source, digest))
    known = ", ".join(f"{count} {state}" for state, count in sorted(others.items())) or "none"
    return (
        f"nobody is asked: no release was ever champion in this region (others in the ledger: {known}), so there is no "
        "champion to compare with, and no shopper whose answers would change"
    )


def wait_until_served(
    ledger: Ledger, source: str, digest: str, readiness: Callable[[], dict[str, Any]], *, patience: float = PATIENCE,
    pause: float = 0.5,
) -> None:  # fmt: skip
    """Until the ledger says champion and the engine serves this digest. Raises ReleaseError or ServingError."""
    deadline, said = time.monotonic() + patience, ""
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
                f"the first release {digest[:12]} does not serve after {patience:.0f} s ({now})",
                remedy="`caravan status` shows whether controller and engine run; see `caravan logs controller`",
            )
        time.sleep(pause)


def readiness(s: Settings) -> dict[str, Any]:
    """What the engine of all shoppers says at /readyz, ready or not; a `reason` alone when it does not answer."""
    import httpx

    from serving import reach

    try:
        body = reach.get(s.engine_address, "/readyz").json()
    except (httpx.HTTPError, ValueError) as error:
        return {"ready": False, "reason": f"no answer ({type(error).__name__})"}
    return dict(body) if isinstance(body, dict) else {"ready": False, "reason": "an answer that is no object"}


def ask_people(runs: Runs, run: Run, digest: str) -> bool:
    """Start the run of `release` that asks about this digest; False when it was started before."""
    conf = {"source": run.source, "digest": digest}
    note = f"{run.source}, {run.day}, recipe {run.recipe}; offered by the nightly chain"
    return runs.start(run_name(run.source, digest), conf, note)
