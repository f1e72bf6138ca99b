"""Puts an evaluation into words: who ranks better than whom, by how much, how surely, and where it got worse.

Everything is read from the report of one release (`evaluation.json`), as it was written: figures that it does not have
are not mentioned. A report of an earlier version weighs questions alike, the present one shoppers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from contracts.release import HEADLINE, PER_SHOPPER

#: The rankers of a report, and their names in a table's head.
RANKERS = {
    "challenger": "challenger", "champion": "champion", "anchor": "anchor", "popularity": "most popular",
    "last_item_neighbours": "neighbours",
}  # fmt: skip
#: Whom the challenger is compared with, and their names in a sentence.
RIVALS = {
    "champion": "the champion it met", "anchor": "the anchor", "popularity": "the most popular items",
    "last_item_neighbours": "the neighbours of the last item",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The challenger beside one rival on the same questions; an interval is one of 95 %, whole shoppers drawn."""

    rival: str
    theirs: float | None
    mean: float
    interval: tuple[float, float] | None
    alike: str  # who weighs alike in `mean` and `theirs`: shoppers or questions
    mean_per_question: float | None = None

    @property
    def word(self) -> str:
        """Say what the interval shows; nothing is clear without one."""
        if self.interval is None:
            return "no interval is known"
        low, high = self.interval
        return "better" if low > 0 else "worse" if high < 0 else "no clear difference"

    def __str__(self) -> str:
        within = f" (95 % interval {self.interval[0]:+.4f} to {self.interval[1]:+.4f})" if self.interval else ""
        return f"{self.mean:+.4f}{within}: {self.word}"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A slice in which challenger and rival were both measured, its questions weighing alike."""

    name: str
    questions: int
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        return self.ours - self.theirs


@dataclass(frozen=True, kw_only=True)
class Slices:
    """All slices of a report against one rival; `few`: those with too few questions to be measured, with the number."""

    rival: str
    measured: tuple[Slice, ...]
    few: dict[str, int]

    @property
    def worse(self) -> list[Slice]:
        """List those that fell, the worst first."""
        return sorted((one for one in self.measured if one.difference < 0), key=lambda one: one.difference)


def comparisons(report: dict[str, Any]) -> list[Comparison]:
    """Compare the challenger with every rival that was measured, in the order of RIVALS."""
    return [found for name in RIVALS if (found := compared(report, name)) is not None]


def compared(report: dict[str, Any], rival: str) -> Comparison | None:
    """Compare the challenger with one rival; None if the report has no difference between the two."""
    difference = (report.get("differences") or {}).get(rival) or {}
    mean = number(difference.get("mean"))
    if mean is None:
        return None
    figures = (report.get("rankers") or {}).get(rival) or {}
    alike, key = ("shoppers", PER_SHOPPER) if "mean_per_question" in difference else ("questions", HEADLINE)
    return Comparison(
        rival=rival, theirs=number(figures.get(key)), mean=mean, interval=interval(difference.get("interval")),
        alike=alike, mean_per_question=number(difference.get("mean_per_question")),
    )  # fmt: skip


def slices(report: dict[str, Any]) -> Slices:
    """Compare the slices with the champion's, or with the most popular where no champion was met."""
    rival = "champion" if (report.get("rankers") or {}).get("champion") else "popularity"
    measured, few = [], {}
    for name, figures in (report.get("slices") or {}).items():
        ours, theirs = (number((figures.get(who) or {}).get(HEADLINE)) for who in ("challenger", rival))
        if ours is None or theirs is None:
            few[name] = int(figures.get("questions") or 0)
        else:
            measured.append(Slice(name=name, questions=int(figures["questions"]), ours=ours, theirs=theirs))
    return Slices(rival=rival, measured=tuple(measured), few=few)


def anchor(report: dict[str, Any]) -> str:
    """Name the champion, former ones included, that answers the same questions best; empty if no other was asked."""
    about = report.get("anchor") or {}
    count = int(about.get("asked") or 0)
    them = f"{count} champions, present and former"
    if about.get("release"):
        return f"the anchor is {str(about['release'])[:12]}, the best of {them}, on these questions"
    return f"of {them}, none ranks better than the one it met" if count > 1 else ""


def number(value: Any) -> float | None:
    """Return `value` if it is a finite number, else None; a report has null where there was none."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def interval(value: Any) -> tuple[float, float] | None:
    """Return both ends of an interval, or None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (low, high)
