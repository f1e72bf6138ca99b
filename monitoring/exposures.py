"""Decides which shoppers count in a canary, and keeps a bounded number of them, so that invented ones steer nothing.

A shop's server vouches for its shoppers with its key. A token says who asks, but anybody may have as many tokens as
time allows; so of the shoppers whom only a token names, those from one origin (the address that the edge saw) are at
most `ORIGIN_SHARE` of an arm. Whether a shopper is let in is decided from those before, not by the arm: so who counts
is still put into an arm by a fair coin.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from monitoring.guardrails import Arm, Exposure, ShopperEvent

#: Largest part of an arm's shoppers from one origin, of those who come without the shop's key.
ORIGIN_SHARE = 0.01
#: Shoppers that are kept at most; enough for every verdict, as some thousand clean ones prove a release.
MAX_SHOPPERS = 200_000
#: Shoppers at most whose events are kept before the edge's line says that they met an arm; seconds that they are kept.
MAX_WAITING, WAITING_S = 20_000, 60.0
#: Leading bits of an IPv6 address that are one origin: a household has at least so many of its own.
IPV6_PREFIX = 64
#: The origin of lines without a readable address: all of them together are one.
UNREADABLE = "unreadable"


@dataclass(slots=True)
class _Met:
    """A shopper who counts: when and which arm was met first, from where, and the first time of each event since."""

    at: float
    arm: Arm
    origin: str | None
    events: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What was not counted: questions of shoppers beyond an origin's share, or beyond the number that is kept."""

    beyond_origin: int = 0
    beyond_memory: int = 0

    def say(self) -> list[str]:
        """Say what was not counted, and what would change it; empty when all was."""
        found = []
        if self.beyond_origin:
            found.append(
                f"not counted: {self.beyond_origin} questions of shoppers beyond {ORIGIN_SHARE:.0%} of an arm from one "
                "address without the shop's key; the shop's server should send its key, or let browsers ask directly"
            )
        if self.beyond_memory:
            found.append(f"not counted: {self.beyond_memory} questions of shoppers beyond {MAX_SHOPPERS:,} in the arms")
        return found


class Exposures:
    """The shoppers of one canary. What it holds depends on the lines alone, so one that reads them again has the same.

    `max_shoppers`, `max_waiting`: how many are kept at most.
    """

    def __init__(self, *, max_shoppers: int = MAX_SHOPPERS, max_waiting: int = MAX_WAITING) -> None:
        self._max_shoppers, self._max_waiting = max_shoppers, max_waiting
        self._met: dict[str, _Met] = {}
        self._arms: dict[Arm, int] = {"control": 0, "canary": 0}
        self._of_origin: dict[str, Counter[Arm]] = {}
        self._waiting: OrderedDict[str, dict[str, list[float]]] = OrderedDict()
        self._newest = 0.0
        self._beyond_origin = self._beyond_memory = 0

    @property
    def left_out(self) -> LeftOut:
        return LeftOut(beyond_origin=self._beyond_origin, beyond_memory=self._beyond_memory)

    @property
    def kept(self) -> int:
        """Return how many shoppers are kept: those who count, and those whose events wait."""
        return len(self._met) + len(self._waiting)

    def expose(self, shopper: str, arm: Arm, at: float, origin: str | None) -> bool:
        """Take a shopper's question to an arm; say whether the shopper counts. `origin`: None with the shop's key."""
        self._newest = max(self._newest, at)
        met = self._met.get(shopper)
        if met is not None:
            if at < met.at:  # lines come in the order in which answers end
                met.at = at
                if met.arm != arm:
                    self._move(met, arm)
            return True
        if len(self._met) >= self._max_shoppers:
            self._beyond_memory += 1
            return False
        if origin is not None and not self._has_room(origin):
            self._beyond_origin += 1
            return False
        met = self._met[shopper] = _Met(at, arm, origin)
        self._count(met, 1)
        for name, times in (self._waiting.pop(shopper, None) or {}).items():
            for time in sorted(times):
                self._add(met, name, time)
        return True

    def add_event(self, shopper: str, guardrail: str, at: float) -> None:
        """Take an event. Of a shopper who has not met an arm yet it waits; the oldest is forgotten when too many do."""
        met = self._met.get(shopper)
        if met is not None:
            self._add(met, guardrail, at)
            return
        times = self._waiting.setdefault(shopper, {}).setdefault(guardrail, [])
        # enough to tell whether one came after the exposure
        times[:] = [min([at, *times]), max([at, *times])]
        if len(self._waiting) > self._max_waiting:
            self._waiting.popitem(last=False)

    def forget_old(self) -> None:
        """Forget events that have waited for so long that the line of their exposure would be in the edge's log."""
        while self._waiting:
            shopper, events = next(iter(self._waiting.items()))
            if max(max(times) for times in events.values()) > self._newest - WAITING_S:
                return
            del self._waiting[shopper]

    def exposures(self) -> Iterator[Exposure]:
        for shopper, met in self._met.items():
            yield Exposure(shopper=shopper, arm=met.arm, at=met.at, origin=met.origin)

    def events(self) -> Iterator[ShopperEvent]:
        for shopper, met in self._met.items():
            for name, at in met.events.items():
                yield ShopperEvent(shopper=shopper, guardrail=name, at=at)

    def _has_room(self, origin: str) -> bool:
        held = self._of_origin.get(origin)
        if held is None:
            return True  # one shopper of an origin, however few there are
        return max(held["control"], held["canary"]) < int(ORIGIN_SHARE * min(self._arms.values()))

    def _add(self, met: _Met, guardrail: str, at: float) -> None:
        if at >= met.at:
            met.events[guardrail] = min(at, met.events.get(guardrail, at))

    def _move(self, met: _Met, arm: Arm) -> None:
        self._count(met, -1)
        met.arm = arm
        self._count(met, 1)

    def _count(self, met: _Met, by: int) -> None:
        self._arms[met.arm] += by
        if met.origin is not None:
            self._of_origin.setdefault(met.origin, Counter())[met.arm] += by


def read_origin(line: Mapping[str, object]) -> str | None:
    """Return the origin in a line of the edge: an IPv4 address, a network of IPv6; None with the shop's key.

    A shopper's line without an address, as edges of before wrote them, is of one origin with all others like it.
    """
    if line.get("caller", "shop") == "shop":
        return None
    return _network_of(str(line.get("origin") or ""))


@lru_cache(maxsize=4096)
def _network_of(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return UNREADABLE
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)))
    return str(address)
