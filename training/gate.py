"""Decides whether the challenger may become a release: yes, or the reasons why not, in sentences.

Two nights of an unchanging shop differ by chance: by the questions that happened to be asked, and by training. A
challenger is refused when it is worse than the champion by more than the margin m, or worse than the anchor, the best
of the present and former champions that are asked (training/evaluation/rivals.py says which), by more than M. Both
come from the noise that the evaluation names, so that all checks together refuse RATE of good nights; `python -m
tests.bench.nights` simulates that, docs/nightly.md shows it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from artifacts.object_store import ObjectStore
from artifacts.publish import fetch
from contracts import release as files
from contracts.release import PER_SHOPPER
from contracts.settings import DEFAULT_GATE_MARGIN, Settings

MIN_QUESTIONS = 30
#: Share of the nights of an unchanging shop that all checks together may refuse, and how the checks divide it.
RATE = 0.01
_CHAMPION, _ANCHOR, _POPULARITY, _PARTS = 0.5 * RATE, 0.4 * RATE, 0.05 * RATE, 0.025 * RATE
#: Share of the best part's figure that all parts together may lose against it by chance.
PARTS_MARGIN = 0.02
#: The anchor's margin stays below this loss, and a margin above it is said to be wide.
WIDE = 0.10
NO_CHAMPION = (
    "It met no champion: none served, or the one that did learned from later events than this one, or cannot be read."
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition, whether it holds, and a sentence that says so with figures."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """All checks of one evaluation."""

    evaluation: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """The sentences against the challenger."""
        return [check.sentence for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        return {"evaluation": self.evaluation, "passed": self.passed, "checks": [asdict(c) for c in self.checks]}

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'refused'}: {' '.join(check.sentence for check in self.checks)}"


def gate(s: Settings, source: str, evaluation_digest: str) -> GateDecision:  # noqa: ARG001 - which shop's, by name
    """Decide on an evaluation of `source`: go, or a refusal with every reason."""
    folder = fetch(ObjectStore.of(s), evaluation_digest, s.cache / "objects")
    return decide(json.loads((folder / files.EVALUATION).read_text()), evaluation_digest, margin=s.gate_margin)


def decide(report: dict[str, Any], evaluation: str = "", *, margin: float = DEFAULT_GATE_MARGIN) -> GateDecision:
    """Decide on an evaluation report, by its figures alone; `margin` is the least loss that is refused, a share."""
    checks = [_numbers(report)]
    if checks[0].passed:
        checks += [_enough(report), _beats_popularity(report), _no_regression(report, margin)]
        checks += [_anchored(report, margin), _best_source(report), _neighbours(report)]
    return GateDecision(evaluation=evaluation, checks=tuple(checks))


def margins(noise: float, anchors: int, margin: float) -> tuple[float, float]:
    """Compute the losses (m, M) that a challenger may have against the champion, and against the best of `anchors`.

    noise: standard deviation of the relative difference between two nights that are equally good.
    """
    least = max(margin, _reach(1, _CHAMPION) * noise)
    if least >= WIDE:
        return least, least
    return least, max(least, min(_reach(max(1, anchors), _ANCHOR) * noise, math.nextafter(WIDE, 0)))


@cache
def _reach(rivals: int, rate: float) -> float:
    """Compute by how many standard deviations the best of `rivals` equally good ones is ahead, at this rate.

    Each figure is normal with variance 1/2, so that a difference of two has variance 1.
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq
    from scipy.stats import norm

    def beyond(reach: float) -> float:
        """Return by how much the probability that the best is ahead by more than `reach` is above `rate`."""
        behind, _ = quad(lambda x: norm.pdf(x) * norm.cdf(x + reach * math.sqrt(2)) ** rivals, -9, 9)
        return float(1 - behind - rate)

    return float(brentq(beyond, 0.0, 12.0))


def _numbers(report: dict[str, Any]) -> Check:
    """Check that every figure and every difference is a finite number, and that the headline is among them."""
    bad = [
        f"{name}.{key}"
        for part in ("rankers", "differences", "noise")
        for name, figures in sorted(_named(report, part).items())
        for key, value in sorted(figures.items())
        if not all(_finite(v) for v in (value if isinstance(value, list) else [value]))
    ]
    rankers = report.get("rankers", {})
    needed = ["challenger", "popularity", *(name for name in ("champion", "anchor") if name in rankers)]
    bad += [f"rankers.{name}" for name in needed if PER_SHOPPER not in rankers.get(name, {})]
    sentence = f"These figures are missing or not numbers: {', '.join(bad)}." if bad else "All figures are numbers."
    return Check(name="numbers", passed=not bad, sentence=sentence)


def _named(report: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    found: dict[str, Any] = report.get(part, {})
    return {part: found} if part == "noise" else found


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _enough(report: dict[str, Any]) -> Check:
    questions = int(report["questions"])
    return Check(
        name="enough data",
        passed=questions >= MIN_QUESTIONS,
        sentence=f"The held-out days {', '.join(report['held_out'])} ask {questions} questions"
        + (f"; a verdict needs {MIN_QUESTIONS}." if questions < MIN_QUESTIONS else "."),
    )


def _beats_popularity(report: dict[str, Any]) -> Check:
    """Check for being better by more than chance: a list of bestsellers needs no model."""
    ours, floor = (float(report["rankers"][name][PER_SHOPPER]) for name in ("challenger", "popularity"))
    difference = report["differences"]["popularity"]
    beyond = _reach(1, _POPULARITY) * float(difference["standard_error"])
    passed = float(difference["mean"]) > beyond
    word = "above" if passed else "not above" if ours <= floor else "not beyond chance above"
    return Check(
        name="better than popularity",
        passed=passed,
        sentence=f"The challenger's NDCG@10, shoppers weighing alike, is {ours:.4f}, {word} popularity's {floor:.4f} "
        f"({_interval(difference)}).",
    )


def _no_regression(report: dict[str, Any], margin: float) -> Check:
    if "champion" not in report["differences"]:
        return Check(name="no regression", passed=True, sentence=NO_CHAMPION)
    difference = report["differences"]["champion"]
    champion = float(report["rankers"]["champion"][PER_SHOPPER])
    by_questions = float(difference["standard_error"]) / champion if champion > 0 else 0.0
    by_training = float(report["noise"]["training"])
    least, _ = margins(math.hypot(by_questions, by_training), 1, margin)
    lost = -float(difference["mean"]) / champion if champion > 0 else 0.0
    passed = lost <= least
    sentence = (
        f"Against the champion's {champion:.4f} the difference is {_share(-lost)} ({_interval(difference)}), "
        f"{'within' if passed else 'beyond'} the margin of {least:.1%}, which "
        f"{'is the setting' if least <= margin else 'chance asks for'} "
        f"(noise of the questions {by_questions:.1%}, of training {by_training:.1%})."
    )
    if least > WIDE:
        sentence += (
            f" {report['questions']} questions of {report['shoppers']} shoppers cannot show a loss below {least:.0%}: "
            "more days are held out as soon as there are more."
        )
    return Check(name="no regression", passed=passed, sentence=sentence)


def _anchored(report: dict[str, Any], margin: float) -> Check:
    """Check against former champions too: small losses night after night are no chance."""
    about = report.get("anchor")
    if about is None:
        return Check(name="anchor", passed=True, sentence="Former champions were not asked.")
    if "anchor" not in report["differences"]:
        count = int(about["asked"])
        said = (
            f"Of {count} champions, present and former, none answers better than the one it met."
            if count > 1
            else "No former champion could be asked."
        )
        return Check(name="anchor", passed=True, sentence=said)
    difference, anchor = report["differences"]["anchor"], float(report["rankers"]["anchor"][PER_SHOPPER])
    noise = math.hypot(float(difference["standard_error"]) / anchor, float(report["noise"]["training"]))
    _, most = margins(noise, int(about["asked"]), margin)
    lost = -float(difference["mean"]) / anchor
    passed = lost <= most
    return Check(
        name="anchor",
        passed=passed,
        sentence=f"Against {str(about['release'])[:12]} ({anchor:.4f}), the best of {about['asked']} champions, "
        f"present and former, the difference is {_share(-lost)} ({_interval(difference)}), "
        f"{'within' if passed else 'beyond'} its margin of {most:.1%}.",
    )


def _best_source(report: dict[str, Any]) -> Check:
    """Check against the best part, as chosen on earlier days: what is put together must not be worse than it."""
    best = report.get("ranker", {}).get("best_source")
    if best is None or best not in report["differences"]:
        return Check(name="best source", passed=True, sentence="No source was measured alone.")
    return _not_below(report, best, name="best source", words=f"the best of its sources alone, {best}")


def _neighbours(report: dict[str, Any]) -> Check:
    """Check against the neighbours of the last item, which need no model."""
    name = "last_item_neighbours"
    if name not in report["differences"] or PER_SHOPPER not in report["rankers"].get(name, {}):
        return Check(name="neighbours", passed=True, sentence="Neighbours were not measured.")
    return _not_below(report, name, name="neighbours", words="the neighbours of the last item")


def _not_below(report: dict[str, Any], other: str, *, name: str, words: str) -> Check:
    """Refuse what is below `other` by more than PARTS_MARGIN and more than chance."""
    difference, theirs = report["differences"][other], float(report["rankers"][other][PER_SHOPPER])
    low, high = difference["interval"]
    beyond = max(PARTS_MARGIN * theirs, _reach(1, _PARTS) * float(difference["standard_error"]))
    passed = float(difference["mean"]) >= -beyond
    word = "worse than" if high < 0 else "better than" if low > 0 else "not clearly better or worse than"
    return Check(
        name=name,
        passed=passed,
        sentence=f"The challenger is {word} {words}, {theirs:.4f} ({_interval(difference)})"
        + (f"; it may lose {beyond / theirs:.1%} by chance." if not passed else "."),
    )


def _interval(difference: dict[str, Any]) -> str:
    low, high = difference["interval"]
    return f"{difference['mean']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"


def _share(value: float) -> str:
    return f"{value:+.1%}"
