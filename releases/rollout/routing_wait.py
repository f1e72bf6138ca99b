"""Waits until the edge really routes all shoppers to one release, and helps where the controller does not."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from contracts.errors import CaravanError, ServingError
from contracts.region_paths import CONTROLLER
from contracts.settings import Settings
from releases.rollout.region import Region
from releases.rollout.traffic import Deployed, plan
from serving import reach

log = logging.getLogger(__name__)

#: A heartbeat older than this many seconds means that the controller is gone, or hangs.
HEARTBEAT_TIMEOUT_S = 3.0
LOOK_EVERY_S = 0.1
#: Seconds that all shoppers may wait for a release that is champion.
ROUTING_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Beat:
    """The controller's last heartbeat: when, in seconds since 1970, and what it was doing."""

    at: float
    doing: str


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """All shoppers get the release: through which engine, after how many seconds, and whether we had to help."""

    engine: str
    seconds: float
    helped: bool


def last_beat(s: Settings) -> Beat | None:
    """Read the controller's last heartbeat; None if there is none that can be read."""
    try:
        body = json.loads(s.paths.heartbeat(CONTROLLER).read_text())
        return Beat(at=float(body["at"]), doing=str(body["doing"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def asked_at_the_edge(s: Settings) -> str | None:
    """Ask one real question at the edge, and return the digest that answers: a search, which is no shopper's."""
    try:
        with reach.as_shop(s, timeout=2.0) as client:
            body = client.get("/search", params={"q": "rollback", "k": 1}).json()
        return str(body["release"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def await_release(
    s: Settings,
    digest: str,
    *,
    region: Region,
    tick: Callable[[], object],
    ask: Callable[[], str | None],
    timeout: float = ROUTING_TIMEOUT_S,
) -> Arrival:
    """Wait until every shopper's question goes to `digest`. Raises ServingError, saying what is missing, on timeout.

    The controller routes within a second. If it is silent we make its next step ourselves with `tick`; if even that
    fails, because the object store is gone for instance, we move the weights alone.
    """
    began, helped = time.monotonic(), False
    while True:
        missing = _missing(region, digest) or _answer(ask, digest)
        spent = time.monotonic() - began
        if missing is None:
            split = region.split()
            return Arrival(engine=split.rest_engine if split else "champion", seconds=spent, helped=helped)
        if spent > timeout:
            raise ServingError(
                f"release {digest[:12]} does not serve all shoppers after {spent:.0f} s: {missing}",
                remedy="the ledger has it, so it will come; `caravan status` and `caravan logs controller` say more",
            )
        beat = last_beat(s)
        if beat is None or time.time() - beat.at > HEARTBEAT_TIMEOUT_S or spent > HEARTBEAT_TIMEOUT_S:
            helped = True
            try:
                tick()
            except CaravanError as error:
                log.warning("the controller's step failed: %s", error)
                _move_the_weights(region, digest)
        time.sleep(LOOK_EVERY_S)


def _missing(region: Region, digest: str) -> str | None:
    split = region.split()
    if split is None:
        return "the edge has no routes"
    if split.rest != 100 or split.mirror:
        return f"the edge still splits: control {split.control} %, rest {split.rest} %, canary {split.canary} %"
    said = region.readiness()[split.rest_engine]
    if said.serves != digest:
        reason = f" ({said.reason})" if said.reason else ""
        return f"engine {split.rest_engine} serves {(said.serves or 'nothing')[:12]}{reason}"
    return None


def _answer(ask: Callable[[], str | None], digest: str) -> str | None:
    answered = ask()
    return None if answered == digest else f"the edge answers with {(answered or 'nothing')[:12]}"


def _move_the_weights(region: Region, digest: str) -> None:
    serves = {slot: said.serves for slot, said in region.readiness().items()}
    if digest in serves.values():
        region.route(plan(Deployed(champion=digest), serves).split)
