"""All cases, in the order of their numbers, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.cases import by_tests, landed, people, runs, served, values, words
from tests.cases.case import Case, Given, Looks
from tests.cases.running import RunningShop

_MODULES = (words, values, people, landed, served, runs, by_tests)
EVERY: tuple[Case, ...] = tuple(
    sorted(
        (case for module in _MODULES for case in module.CASES), key=lambda case: (case.number[0] == "N", case.number)
    )
)


@dataclass(frozen=True)
class Row:
    """What came of one case; seconds by the clock."""

    case: str
    title: str
    right: str
    seen: str
    passed: bool
    seconds: float


def chosen(only: Collection[str]) -> list[Case]:
    """Return the cases of these numbers, or all; raises ValueError for a number that there is not."""
    numbers = {case.number for case in EVERY}
    if unknown := sorted(set(only) - numbers):
        raise ValueError(f"no case {', '.join(unknown)}; there are {', '.join(case.number for case in EVERY)}")
    return [case for case in EVERY if not only or case.number in only]


def run(case: Case, folder: Path, seed: int, shop: RunningShop | None = None) -> Row:
    """Run one case. What its check raises is what was seen."""
    looks, began = Looks(), time.monotonic()
    given = Given.of(case.number, folder, seed)
    try:
        case.check(looks, given, shop) if case.needs == "stack" else case.check(looks, given)
    except Exception as error:
        looks.wrong.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    seen = "; ".join([*looks.wrong, *looks.seen])
    passed = not looks.wrong and bool(looks.seen)
    return Row(case.number, case.title, case.right, seen, passed, round(time.monotonic() - began, 1))
