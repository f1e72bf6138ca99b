"""Compares a shadow's answers with the champion's: it is asked the same questions, and no shopper sees its answers.

A new model may well give other answers, so little overlap is shown and not judged. The judgement is whether it answers
at all: empty answers, fallbacks and lost ones beyond the champion's, and time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from monitoring.canary_policy import ShadowPolicy
from monitoring.log_tail import Line, TailOfFolder, is_counted

#: Questions kept; the oldest are dropped.
KEPT_QUESTIONS = 20_000
#: Time after which the edge surely mirrors, and after which both answers are in the logs.
MIRRORING_S, PAIR_SETTLING_S = 10.0, 2.0
#: Newest pairs whose orders are compared.
COMPARED_PAIRS = 500


@dataclass(frozen=True, kw_only=True)
class ShadowComparison:
    """The comparison of champion and shadow on the newest questions. Times in milliseconds, rates per question.

    `seen`: all questions so far; `asked`: those compared, which both should have answered; `overlap`: mean share of the
    champion's items that the shadow shows too; `rank_correlation`: mean Kendall tau over those items; None without any
    such pair.
    """

    seen: int = 0
    asked: int = 0
    answered: int = 0
    empty: int = 0
    champion_empty: int = 0
    fallbacks: int = 0
    champion_fallbacks: int = 0
    overlap: float | None = None
    rank_correlation: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    champion_p50_ms: float | None = None
    champion_p99_ms: float | None = None

    def evidence(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class ShadowReader:
    """A reader of the answer log that pairs the two engines' answers by the request's id."""

    answer_log: Path
    champion: str
    shadow: str
    since: float
    _pairs: OrderedDict[str, dict[str, Line]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._tail = TailOfFolder(self.answer_log, lambda line: float(line["t"]), self.since)

    def compare(self, *, newest: int, now: float) -> ShadowComparison:
        """Compare the `newest` questions so far, except those of this moment, whose pair may not be in the log yet."""
        for line in self._tail.read():
            if not is_counted(line):
                continue
            side = "shadow" if line.get("shadow") else "champion"
            if line.get("kind") == "events" or line.get("release") != (
                self.shadow if side == "shadow" else self.champion
            ):
                continue
            self._pairs.setdefault(str(line["id"]), {})[side] = line
            if len(self._pairs) > KEPT_QUESTIONS:
                self._pairs.popitem(last=False)
        first = min((float(p["shadow"]["t"]) for p in self._pairs.values() if "shadow" in p), default=math.inf)
        begin, end = min(first, self.since + MIRRORING_S), now - PAIR_SETTLING_S
        settled = [p for p in self._pairs.values() if "champion" in p and begin <= float(p["champion"]["t"]) < end]
        settled.sort(key=lambda pair: float(pair["champion"]["t"]))
        compared = settled[-newest:]
        both = [(p["champion"], p["shadow"]) for p in compared if "shadow" in p]
        return ShadowComparison(
            seen=len(settled),
            asked=len(compared),
            answered=len(both),
            empty=sum(not shadow["items"] for _, shadow in both),
            champion_empty=sum(not champion["items"] for champion, _ in both),
            fallbacks=sum(bool(shadow["fallback"]) for _, shadow in both),
            champion_fallbacks=sum(bool(champion["fallback"]) for champion, _ in both),
            **_measure_agreement(both[-COMPARED_PAIRS:]),
            **_measure_times("", [shadow for _, shadow in both]),
            **_measure_times("champion_", [champion for champion, _ in both]),
        )


def find_shadow_problem(policy: ShadowPolicy, found: ShadowComparison) -> str | None:
    """Say why this shadow must not meet shoppers yet, or None."""
    allowed = policy.allowed_share * max(found.asked, 1)
    lost, empty = found.asked - found.answered, found.empty - found.champion_empty
    fallbacks = found.fallbacks - found.champion_fallbacks
    for name, count in (("errors", lost), ("empty_answers", empty), ("fallbacks", fallbacks)):
        if count > max(allowed, policy.allowed_count):
            return f"{name}: {count} of {found.asked} questions beyond the champion's"
    return None


def _measure_agreement(both: list[tuple[Line, Line]]) -> dict[str, float | None]:
    overlaps, correlations = [], []
    for champion, shadow in both:
        place = {item: n for n, item in enumerate(shadow["items"])}
        common = [(n, place[item]) for n, item in enumerate(champion["items"]) if item in place]
        if champion["items"]:
            overlaps.append(len(common) / len(champion["items"]))
        if len(common) > 2:
            tau = float(kendalltau([a for a, _ in common], [b for _, b in common]).statistic)
            correlations.append(tau)
    return {"overlap": _mean(overlaps), "rank_correlation": _mean(correlations)}


def _measure_times(prefix: str, lines: list[Line]) -> dict[str, float | None]:
    if not lines:
        return {f"{prefix}p50_ms": None, f"{prefix}p99_ms": None}
    p50, p99 = np.quantile([float(line["ms"]) for line in lines], [0.5, 0.99]).tolist()
    return {f"{prefix}p50_ms": round(p50, 3), f"{prefix}p99_ms": round(p99, 3)}


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
