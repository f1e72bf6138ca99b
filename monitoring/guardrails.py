"""Defines a canary's guardrails, and counts shoppers for them, at most one event per shopper and guardrail.

Counting each failure instead of each failing shopper breaks the test: the same few shoppers fail again and again and
are always in the same arm, so their events are not independent coins. docs/canary.md says by how much it breaks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError

Arm = Literal["control", "canary"]
#: So many origins without the shop's key, those with most, are left out of what speaks for a verdict.
ORIGINS_LEFT_OUT = 5
GUARDRAIL_NAME = re.compile(r"^[a-z][a-z0-9_]{0,40}$")
#: Shopper -> when the shopper met an arm first, and which.
_FirstMet = dict[str, tuple[float, Arm, str | None]]


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """One kind of event, with the limit of how much worse the canary may be.

    `harm`: "more" when an event is harm (an error), "less" when its absence is (a click). `ratio` (R1 > 1) and `delta`
    (a rate per shopper) draw the line that a promotion must prove the canary to be below: max(ratio x control, delta).
    With harm "less" the arms change places: the control's rate must be below max(ratio x canary, delta). delta = 0
    demands the ratio: for events so frequent that a control without any means a broken log.
    `follow_up_s`: seconds after the first exposure in which a shopper's event is awaited.
    `stall_s`: seconds in which the events of one arm may have one cause, a process that stood still: the canary's
    busiest stretch of that length is no evidence of harm. For harm "more" only; 0 counts every event.
    """

    name: str
    harm: Literal["more", "less"] = "more"
    ratio: float = 2.0
    delta: float = 0.005
    follow_up_s: float = 0.0
    stall_s: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            (not GUARDRAIL_NAME.match(self.name), "name: small letters, digits and _, at most 41"),
            (self.harm not in ("more", "less"), "harm: 'more' or 'less'"),
            (not (math.isfinite(self.ratio) and self.ratio > 1), "ratio: above 1"),
            (not 0 <= self.delta < 1, "delta: at least 0 and below 1"),
            (not (math.isfinite(self.follow_up_s) and self.follow_up_s >= 0), "follow_up_s: not negative"),
            (not (math.isfinite(self.stall_s) and self.stall_s >= 0), "stall_s: not negative"),
            (self.stall_s > 0 and self.harm == "less", "stall_s: only where harm is more"),
        ]
        if wrong := [rule for broken, rule in problems if broken]:
            raise SettingsError(f"guardrail {self.name!r} is not usable", remedy="; ".join(wrong))


#: The guardrails of every release. Carts and purchases are rarer than clicks, so their margins are wider.
GUARDRAILS = (
    Guardrail(name="errors"),
    Guardrail(name="timeouts"),
    Guardrail(name="over_budget", stall_s=5.0),
    Guardrail(name="fallbacks"),
    Guardrail(name="empty_answers"),
    Guardrail(name="unknown_items"),
    Guardrail(name="stale_features"),
    Guardrail(name="clicks", harm="less", ratio=1.25, delta=0.0, follow_up_s=300.0),
    Guardrail(name="carts", harm="less", ratio=1.5, follow_up_s=1800.0),
    Guardrail(name="purchases", harm="less", ratio=2.0, follow_up_s=1800.0),
)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The totals of one guardrail since the release's start. Counts are shoppers; None or NaN is "not known".

    `*_shoppers`: settled ones (with an event, or past their follow-up); `*_events`: those with an event;
    `canary_stall`: the most canary events within `stall_s`; `*_origin_events` and `*_origin_clean`: shoppers with
    an event, and settled ones without, of the few origins without the shop's key that have most of them;
    `complete_until`: the time, in seconds since 1970, up to which the source's log has been read to the end.
    """

    control_shoppers: float | None
    control_events: float | None
    canary_shoppers: float | None
    canary_events: float | None
    complete_until: float
    canary_stall: float = 0
    control_origin_events: float = 0
    canary_origin_events: float = 0
    control_origin_clean: float = 0
    canary_origin_clean: float = 0

    def problem(self, earlier: Tally | None = None) -> str | None:
        """Say why these counts cannot be judged, or None. `earlier`: the last counts that could; they never go down."""
        for field in fields(self)[:4]:
            value = getattr(self, field.name)
            if value is None or not math.isfinite(value) or value < 0 or value != int(value):
                return f"{field.name} is {value}, not a count"
            before = getattr(earlier, field.name) if earlier else 0
            if value < before:
                return f"{field.name} went down from {before:.0f} to {value:.0f}: outcomes were lost"
        for arm in ("control", "canary"):
            if getattr(self, f"{arm}_events") > getattr(self, f"{arm}_shoppers"):
                return f"more {arm} shoppers with an event than shoppers"
        if not math.isfinite(self.complete_until):
            return "it is not known up to when the log is complete"
        return self._parts_problem()

    def _parts_problem(self) -> str | None:
        """Say which count is not a part of what it is counted in, or None."""
        if not 0 <= self.canary_stall <= self.canary_events:  # type: ignore[operator]  # a number: looked at above
            return f"canary_stall is {self.canary_stall}, not a part of the canary's events"
        for arm in ("control", "canary"):
            events, shoppers = getattr(self, f"{arm}_events"), getattr(self, f"{arm}_shoppers")
            if not 0 <= getattr(self, f"{arm}_origin_events") <= events:
                return f"{arm}_origin_events are not a part of the {arm}'s events"
            if not 0 <= getattr(self, f"{arm}_origin_clean") <= shoppers - events:
                return f"{arm}_origin_clean are not a part of the {arm}'s shoppers without an event"
        return None


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The outcomes of a running canary: shoppers exposed per arm so far, and the tally of each guardrail.

    `left_out`: sentences that say what was not counted, and why.
    """

    control_shoppers: float | None
    canary_shoppers: float | None
    tallies: Mapping[str, Tally]
    left_out: tuple[str, ...] = ()

    def problem(self) -> str | None:
        """Say why the number of exposed shoppers cannot be used, or None."""
        for arm, value in (("control", self.control_shoppers), ("canary", self.canary_shoppers)):
            if value is None or not math.isfinite(value) or value < 0 or value != int(value):
                return f"exposed {arm} shoppers are {value}, not a count"
        return None


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The meeting of a shopper and an arm; repeated ones count once. `at` in seconds since 1970.

    `origin`: where a shopper came from whom only a token names; None for one of the shop's own server.
    """

    shopper: str
    arm: Arm
    at: float
    origin: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShopperEvent:
    """An event of a guardrail that a shopper had; repeated ones count once."""

    shopper: str
    guardrail: str
    at: float


def count_outcomes(
    guardrails: Iterable[Guardrail],
    exposures: Iterable[Exposure],
    events: Iterable[ShopperEvent],
    *,
    complete_until: Mapping[str, float],
) -> Outcomes:
    """Count shoppers per guardrail and arm: each once, in the first arm met, for any order of the input.

    An event from before the shopper's first exposure belongs to the champion and is left out; so is one later than
    the guardrail's `complete_until`, since the other arm's may not be in yet. A guardrail that `complete_until` does
    not name has no source and gets no tally: the judge then holds.
    """
    first: _FirstMet = {}
    for e in exposures:
        known = first.get(e.shopper)
        if known is None or (e.at, e.arm) < known[:2]:
            first[e.shopper] = (e.at, e.arm, e.origin)
    seen: dict[str, dict[str, float]] = {}
    for event in events:
        met = first.get(event.shopper)
        if met and met[0] <= event.at <= complete_until.get(event.guardrail, -math.inf):
            times = seen.setdefault(event.guardrail, {})
            times[event.shopper] = min(times.get(event.shopper, event.at), event.at)
    exposed = _Exposed.of(first)
    tallies = {
        guardrail.name: _tally(guardrail, exposed, seen.get(guardrail.name, {}), complete_until[guardrail.name])
        for guardrail in guardrails
        if guardrail.name in complete_until
    }
    canary = int(exposed.canary.sum())
    return Outcomes(control_shoppers=len(first) - canary, canary_shoppers=canary, tallies=tallies)


@dataclass(frozen=True, kw_only=True)
class _Exposed:
    """Exposed shoppers as columns [n]: time, whether of the canary, number of the origin (0: the shop vouches)."""

    row: Mapping[str, int]
    at: NDArray[np.float64]
    canary: NDArray[np.bool_]
    origin: NDArray[np.int64]

    @classmethod
    def of(cls, first: _FirstMet) -> _Exposed:
        numbers: dict[str | None, int] = {None: 0}
        return cls(
            row={shopper: n for n, shopper in enumerate(first)},
            at=np.array([at for at, _, _ in first.values()], dtype=np.float64),
            canary=np.array([arm == "canary" for _, arm, _ in first.values()], dtype=np.bool_),
            origin=np.array(
                [numbers.setdefault(origin, len(numbers)) for _, _, origin in first.values()], dtype=np.int64
            ),
        )

    def most_of_few_origins(self, among: NDArray[np.bool_]) -> int:
        """Count the shoppers `among` [n] of the origins that have most of them; who is vouched for has none."""
        found = np.bincount(self.origin[among], minlength=1 + ORIGINS_LEFT_OUT)[1:]
        return int(np.partition(found, -ORIGINS_LEFT_OUT)[-ORIGINS_LEFT_OUT:].sum())


def _tally(guardrail: Guardrail, exposed: _Exposed, with_event: Mapping[str, float], until: float) -> Tally:
    """Count one guardrail. `with_event`: shopper -> time of the first event; its log is complete `until` then."""
    event = np.zeros(len(exposed.at), dtype=np.bool_)
    rows = [exposed.row[shopper] for shopper in with_event]
    event[rows] = True
    clean = ~event & (exposed.at + guardrail.follow_up_s <= until)
    counts: dict[str, int] = {}
    for arm, mine in (("control", ~exposed.canary), ("canary", exposed.canary)):
        counts[f"{arm}_events"] = int((event & mine).sum())
        counts[f"{arm}_shoppers"] = counts[f"{arm}_events"] + int((clean & mine).sum())
        counts[f"{arm}_origin_events"] = exposed.most_of_few_origins(event & mine)
        counts[f"{arm}_origin_clean"] = exposed.most_of_few_origins(clean & mine)
    canary_times = [at for row, at in zip(rows, with_event.values(), strict=True) if exposed.canary[row]]
    return Tally(**counts, complete_until=until, canary_stall=_count_most_within(guardrail.stall_s, canary_times))


def _count_most_within(seconds: float, times: list[float]) -> int:
    """Count the most of `times` that are within so many seconds; 0 for no seconds."""
    if not seconds:
        return 0
    times, most, oldest = sorted(times), 0, 0
    for newest, at in enumerate(times):
        while at - times[oldest] > seconds:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return most
