"""Judges a number of a day by what was usual on the days before it.

Usual is the median, of the days before and, for weekends and closing days, of the same day of the week. How far a
number may lie from it is a setting, widened where the days before differed much themselves; few days, or small numbers,
give no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

#: Numbers that are usually smaller say nothing when they fall; nor does a growth up to five of this.
FEW = 20
#: A number is out of the ordinary only when it lies this many (robust) standard deviations from the usual one.
DEVIATIONS = 4.0
_MAD = 1.4826


@dataclass(frozen=True, kw_only=True)
class Change:
    """A number that is far from the usual one; `share` says that both are shares."""

    what: str
    value: float
    usual: float
    share: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self._shown(self.value)}, usual {self._shown(self.usual)}"

    def _shown(self, number: float) -> str:
        return f"{number:.1%}" if self.share else f"{number:.12g}"


def amount_changed(
    what: str,
    value: float,
    before: Sequence[float],
    alike: Sequence[float] = (),
    *,
    least: float,
    most: float,
    over: bool = True,
) -> Change | None:
    """Return the change where `value` is less than `least` of the usual number, or more than `most` times it.

    `alike`: the numbers of the same day of the week. `over` False: the day is not over, and may still grow.
    """
    usual = median(before)
    logs = [math.log((number + 1) / (usual + 1)) for number in before]
    spread = DEVIATIONS * _MAD * median(abs(log) for log in logs)
    others = [usual, median(alike)] if alike else [usual]
    low = min(others) * min(least, math.exp(-spread))
    high = max(others) * max(most, math.exp(spread))
    shrunk = over and usual >= FEW and value < low
    grown = usual >= FEW and value > high
    return Change(what=what, value=value, usual=usual) if shrunk or grown else None


def share_changed(what: str, value: float, before: Sequence[float], *, above: float) -> Change | None:
    """Return the change where the share `value` lies more than `above` over the usual one."""
    usual = median(before)
    spread = DEVIATIONS * _MAD * median(abs(share - usual) for share in before)
    return Change(what=what, value=value, usual=usual, share=True) if value > usual + max(above, spread) else None
