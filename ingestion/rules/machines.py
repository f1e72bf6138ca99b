"""Says which shoppers are machines, and why: the one rule for training, evaluation and the report of a day.

A crawler has one name as a keen human has, and more actions than all others together. What tells them apart is not how
much they do alone: a wholesaler orders hundreds of lines at once, somebody rates a thousand films in an evening.
So moments are counted, not actions (a second in which anything happened), and two things must come together: many
times as many as is usual in this shop, and a day that no person can have (REASONS). A machine that acts as little, as
unevenly and with as much sleep as a person is not found; nor does it weigh more than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import INTERACTIONS

Ints = npt.NDArray[np.int64]

#: Moments of one day that nobody is looked at for who has fewer; and how many times the usual busiest day they must be,
#: the median over the shop's shoppers, of whom there must be so many.
LEAST_MOMENTS, LEAST_TIMES, LEAST_SHOPPERS = 200, 30, 20
#: Moments that no person has: of a day, one each half minute from waking to sleep; of an hour, one each four seconds.
A_DAY, AN_HOUR = 2_000, 900
#: Actions of a day that no person has, at however few moments.
ACTIONS = 10_000
#: Nobody lives through a day without a pause of so many seconds; midnight may cut a night's sleep into two of them.
REST = 2 * 3_600
#: Pauses between moments differ by less than this share of their median, the tenth least and greatest left out.
EVEN = 0.1
REASONS: Final = {
    "pace": f"faster than a person (at {A_DAY} moments of a day or {AN_HOUR} of an hour)",
    "bulk": f"with more than a person does ({ACTIONS} actions of a day)",
    "no_rest": f"without sleep (no pause of {REST // 3_600} hours in a day)",
    "regular": "as even as a clock",
}
_DAY, _HOUR, _SECOND_US = 86_400, 3_600, 1_000_000


@dataclass(frozen=True)
class Machines:
    """Shoppers that are machines, each with the first reason that applies; counted among `shoppers` and `actions`."""

    names: pa.Array
    reasons: tuple[str, ...] = ()
    actions: tuple[int, ...] = ()
    of_shoppers: int = 0
    of_actions: int = 0

    def __len__(self) -> int:
        return len(self.reasons)

    def __str__(self) -> str:
        return describe(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return counts alone: what is written down names nobody."""
        reasons = {reason: self.reasons.count(reason) for reason in REASONS if reason in self.reasons}
        done = sum(self.actions)
        return {
            "shoppers": len(self), "of_shoppers": self.of_shoppers, "interactions": done,
            "of_interactions": self.of_actions, "share": round(done / max(1, self.of_actions), 6), "reasons": reasons,
        }  # fmt: skip

    def of(self, user_ids: pa.ChunkedArray | pa.Array) -> Any:
        """Say which rows of a column of shoppers are a machine's."""
        return pc.is_in(user_ids, value_set=self.names)


def describe(counted: dict[str, Any]) -> str:
    """Say in a line what `Machines.to_dict` counted."""
    if not counted["shoppers"]:
        return f"none of {counted['of_shoppers']} shoppers is a machine"
    why = ", ".join(f"{number} {REASONS[reason]}" for reason, number in counted["reasons"].items())
    return (
        f"{counted['shoppers']} of {counted['of_shoppers']} shoppers are machines and set aside, with "
        f"{counted['interactions']} of {counted['of_interactions']} interactions ({counted['share']:.1%}): {why}"
    )


def find_machines(events: pa.Table) -> Machines:
    """Find the machines among the shoppers of EVENTS, by their interactions of all these days."""
    acted = events.filter(pc.is_in(events["kind"], value_set=pa.array(INTERACTIONS)))
    encoded = acted["user_id"].combine_chunks().dictionary_encode()
    names, codes = encoded.dictionary, np.asarray(encoded.indices, dtype=np.int64)
    if len(names) < LEAST_SHOPPERS:
        return Machines(names.slice(0, 0), of_shoppers=len(names), of_actions=len(codes))
    seconds = np.asarray(acted["event_time"].combine_chunks().cast(pa.int64()), dtype=np.int64) // _SECOND_US
    first = int(seconds.min()) // _DAY * _DAY
    span = int(seconds.max()) + _DAY - first
    moments = np.unique(codes * span + (seconds - first))
    days, counts = np.unique(moments // span * span + moments % span // _DAY, return_counts=True)
    whose = days // span
    busiest = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(busiest, whose, counts)
    looked_at = (counts >= LEAST_MOMENTS) & (counts >= LEAST_TIMES * np.median(busiest))
    found: dict[int, str] = {}
    for place in np.flatnonzero(looked_at).tolist():
        code, day = int(whose[place]), int(days[place] % span)
        begin = code * span + day * _DAY
        own = moments[np.searchsorted(moments, begin) : np.searchsorted(moments, begin + _DAY)] - begin
        reason = next(_reasons_of(own), None)
        if reason is not None:
            found.setdefault(code, reason)
    _add_bulk(found, codes, (seconds - first) // _DAY, busiest)
    of_each = np.bincount(codes, minlength=len(names))
    chosen = sorted(found)
    return Machines(
        names.take(pa.array(chosen, pa.int64())), tuple(found[c] for c in chosen),
        tuple(int(of_each[c]) for c in chosen), len(names), len(codes),
    )  # fmt: skip


def _reasons_of(moments: Ints) -> Iterator[str]:
    """Yield what no person's day of such `moments`, in seconds since midnight and ascending, can be."""
    if len(moments) >= A_DAY or np.bincount(moments // _HOUR).max() >= AN_HOUR:
        yield "pace"
    pauses = np.diff(moments)
    if max(moments[0], _DAY - moments[-1], pauses.max()) < REST:
        yield "no_rest"
    low, middle, high = np.quantile(pauses, [0.1, 0.5, 0.9])
    if high - low <= EVEN * middle:
        yield "regular"


def _add_bulk(found: dict[int, str], codes: Ints, day: Ints, busiest: Ints) -> None:
    """Add who has too many actions for a person at few moments, and many times as many as is usual."""
    span = int(day.max()) + 1
    days, actions = np.unique(codes * span + day, return_counts=True)
    for place in np.flatnonzero((actions >= ACTIONS) & (actions >= LEAST_TIMES * np.median(busiest))).tolist():
        found.setdefault(int(days[place] // span), "bulk")
