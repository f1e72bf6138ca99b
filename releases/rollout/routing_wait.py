"""Waiting until the edge really routes all shoppers to one release, and helping where the controller does not."""

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

#: The controller's heartbeat is older than this many seconds: it is gone, or it hangs.
SILENT = 3.0
PAUSE = 0.1


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
    """The controller's last heartbeat, or None where there is none that can be read."""
    try:
        body = json.loads(s.paths.heartbeat(CONTROLLER).read_text())
        return Beat(at=float(body["at"]), doing=str(body["doing"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def asked_at_the_edge(s: Settings) -> str | None:
    """The digest that answers one real question at the edge; a search, which leaves no trace of a shopper."""
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
    patience: float = 10.0,
) -> Arrival:
    """Wait until every shopper's question goes to `digest`. ServingError, saying what is missing, after `patience`.

    The controller does it within a second. Where it is silent we make its next step ourselves with `tick`; where even
    that fails, because the object store is gone for instance, we move the weights alone.
    """
    began, helped = time.monotonic(), False
    while True:
        missing = _missing(region, digest) or _answer(ask, digest)
        spent = time.monotonic() - began
        if missing is None:
            split = region.split()
            return Arrival(engine=split.rest_engine if split else "champion", seconds=spent, helped=helped)
        if spent > patience:
            raise ServingError(
                f"release {digest[:12]} does not serve all shoppers after {spent:.0f} s: {missing}",
                remedy="the ledger has it, so it will come; `caravan status` and `caravan logs controller` say more",
            )
        beat = last_beat(s)
        if beat is None or time.time() - beat.at > SILENT or spent > SILENT:
            helped = True
            try:
                tick()
            except CaravanError as error:
                log.warning("the controller's step failed: %s", error)
                _move_the_weights(region, digest)
        time.sleep(PAUSE)


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
