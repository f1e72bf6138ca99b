"""May the challenger become a release? Yes, or the reasons why not, in sentences."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from artifacts.object_store import ObjectStore
from artifacts.publish import fetch
from contracts import release as files
from contracts.settings import Settings

HEADLINE = "ndcg_at_10"
MIN_QUESTIONS = 30


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
        """What speaks against the challenger."""
        return [check.sentence for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        return {"evaluation": self.evaluation, "passed": self.passed, "checks": [asdict(c) for c in self.checks]}

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'refused'}: {' '.join(check.sentence for check in self.checks)}"


def gate(s: Settings, source: str, evaluation_digest: str) -> GateDecision:  # noqa: ARG001 - which shop's, by name
    """The decision on an evaluation of `source`: go, or a refusal with every reason."""
    folder = fetch(ObjectStore.of(s), evaluation_digest, s.cache / "objects")
    return decide(json.loads((folder / files.EVALUATION).read_text()), evaluation_digest)


def decide(report: dict[str, Any], evaluation: str = "") -> GateDecision:
    """The decision on an evaluation report, by its figures alone."""
    checks = [_numbers(report)]
    if checks[0].passed:
        checks += [_enough(report), _beats_popularity(report), _no_regression(report)]
    return GateDecision(evaluation=evaluation, checks=tuple(checks))


def _numbers(report: dict[str, Any]) -> Check:
    """Every figure of every ranker, and every difference, is a finite number."""
    bad = [
        f"{name}.{key}"
        for part in ("rankers", "differences")
        for name, figures in sorted(report.get(part, {}).items())
        for key, value in sorted(figures.items())
        if not all(_finite(v) for v in (value if isinstance(value, list) else [value]))
    ]
    if not report.get("rankers", {}).get("challenger"):
        bad.append("rankers.challenger")
    sentence = f"These figures are missing or not numbers: {', '.join(bad)}." if bad else "All figures are numbers."
    return Check(name="numbers", passed=not bad, sentence=sentence)


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
    ours, floor = (float(report["rankers"][name][HEADLINE]) for name in ("challenger", "popularity"))
    return Check(
        name="better than popularity",
        passed=ours > floor,
        sentence=f"The challenger's NDCG@10 is {ours:.4f}, "
        + (f"above popularity's {floor:.4f}." if ours > floor else f"not above popularity's {floor:.4f}."),
    )


def _no_regression(report: dict[str, Any]) -> Check:
    if "champion" not in report["differences"]:
        return Check(name="no regression", passed=True, sentence="There is no champion to compare with.")
    difference = report["differences"]["champion"]
    low, high = difference["interval"]
    champion = float(report["rankers"]["champion"][HEADLINE])
    passed = high >= 0
    figures = f"{difference['mean']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    return Check(
        name="no regression",
        passed=passed,
        sentence=f"Against the champion's {champion:.4f} the difference is {figures}"
        + ("." if passed else ": worse than the champion beyond chance."),
    )
