"""Plans where traffic should go: a pure function of the ledger and of what the engines serve.

Engines have fixed roles: `champion` serves all shoppers, `control` and `canary` the two arms of a running canary, and
`former` keeps the champion before this one warm. When the ledger makes another release champion, shoppers reach it at
once through whichever engine has it already; the champion's engine loads it meanwhile and then takes over. So neither
a promotion nor a rollback waits for a load, and each is a change of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.release import CANARY_SHARE, State
from serving.edge.edge import TrafficSplit

#: Engines that may stand in for the champion's while it loads, the likeliest first.
STAND_INS = ("canary", "former", "control")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What the ledger says of one source: the champion, the one before, and the release in progress with its state."""

    champion: str | None = None
    former: str | None = None
    candidate: str | None = None
    state: State | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What should be: a digest per engine (those not named stay as they are), and the split of the traffic."""

    pointers: Mapping[str, str]
    split: TrafficSplit


def plan(deployed: Deployed, serves: Mapping[str, str | None], present: TrafficSplit | None = None) -> Plan:
    """Plan pointers and split for what the engines serve now; `present` is the split in force.

    An arm gets its share only once both arms' engines are ready; it then keeps it though its engine dies: its shoppers
    get the champion's answers, and what they met is evidence.
    """
    champion, candidate, state = deployed.champion, deployed.candidate, deployed.state
    rest_engine = _rest_engine(champion, serves)
    pointers: dict[str, str] = {}
    if champion is not None:
        pointers["champion"] = champion
    if deployed.former is not None and rest_engine != "former":
        pointers["former"] = deployed.former
    if candidate is not None and rest_engine not in ("canary", "control"):
        pointers["canary"] = candidate
        if champion is not None:
            pointers["control"] = champion
    share = CANARY_SHARE.get(state, 0) if state is not None and candidate is not None else 0
    salt = candidate[:16] if candidate is not None else ""
    entered = present is not None and present.canary > 0 and present.salt == salt
    ready = (
        rest_engine == "champion"
        and candidate is not None
        and champion is not None
        and serves.get("canary") == candidate
        and serves.get("control") == champion == serves.get("champion")
    )
    if share and (ready or entered):
        split = TrafficSplit(control=share, rest=100 - 2 * share, canary=share, rest_engine=rest_engine, salt=salt)
    else:
        mirror = state == "shadow" and serves.get("canary") == candidate
        split = TrafficSplit(rest_engine=rest_engine, mirror=mirror, salt=salt)
    return Plan(pointers=pointers, split=split)


def _rest_engine(champion: str | None, serves: Mapping[str, str | None]) -> str:
    if champion is None or serves.get("champion") == champion:
        return "champion"
    return next((slot for slot in STAND_INS if serves.get(slot) == champion), "champion")


def describe(split: TrafficSplit) -> str:
    """Describe a split for people."""
    rest = f"{split.rest} % on {split.rest_engine}"
    arms = f", control {split.control} %, canary {split.canary} %" if split.canary else ""
    return rest + arms + (", copies to the shadow" if split.mirror else "")
