"""Writes the figures of the review brief, as Markdown: quality against every rival, and slices that got worse."""

from __future__ import annotations

import re
from typing import Any

from contracts.release import HEADLINE, PER_SHOPPER
from releases.approval import figures
from releases.approval.figures import RANKERS, RIVALS

#: The metrics that are shown, and their names.
METRICS = {
    PER_SHOPPER: "NDCG@10, shoppers alike", HEADLINE: "NDCG@10", "recall_at_10": "recall@10", "mrr_at_10": "MRR@10",
    "coverage_at_10": "coverage@10", "novelty_at_10": "novelty@10",
}  # fmt: skip
#: Characters of a text that the brief quotes.
LONGEST_QUOTE = 700


def plain(text: object) -> str:
    """Quote what others wrote, on one line and as text: no Markdown, no HTML, cut where it is long."""
    line = " ".join(str(text).split())
    line = line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + " …"
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", line)


def quality(report: dict[str, Any]) -> str:
    """Show the metrics of all rankers on the same questions, and the difference to each rival with its interval."""
    measured: dict[str, Any] = report.get("rankers") or {}
    rankers: dict[str, dict[str, Any]] = {name: measured[name] for name in RANKERS if measured.get(name)}
    shown = list(rankers)
    if "challenger" not in shown:
        return "#### Quality\n\nThere is no evaluation."
    rows = [["", *(RANKERS[name] for name in shown)]]
    for key, title in METRICS.items():
        if key in rankers["challenger"]:
            rows.append([title, *(_with_interval(rankers[name], key) for name in shown)])
    asked = (
        f"{report.get('questions', '?')} questions of {report.get('shoppers', '?')} shoppers, "
        f"held-out days {plain(', '.join(report.get('held_out') or []))}; "
        f"{report.get('items_ranked', '?')} items ranked."
    )
    alike = " Questions weigh alike, where it does not say shoppers." if PER_SHOPPER in rankers["challenger"] else ""
    parts = [_against(report), f"{asked}{alike} Intervals are of 95 %, whole shoppers drawn.", _table(rows)]
    return "#### Quality\n\n" + "\n\n".join(parts)


def _against(report: dict[str, Any]) -> str:
    """Write a line per rival: by how much the challenger is better or worse. A better rival is named in bold."""
    lines = []
    if not (report.get("rankers") or {}).get("champion"):
        lines.append("It met no champion: none served then, or none that learned from no later events than it did.")
    for found in figures.comparisons(report):
        name = RIVALS[found.rival]
        line = f"NDCG@10 against {name}, {found.alike} weighing alike: **{found.mean:+.4f}**"
        if found.interval:
            line += f" (95 % interval {found.interval[0]:+.4f} to {found.interval[1]:+.4f})"
        line += f": {found.word}"
        if found.mean_per_question is not None:
            line += f"; questions weighing alike {found.mean_per_question:+.4f}"
        if found.word == "worse":
            line += (
                f". **{name[0].upper()}{name[1:]} {'is' if found.rival in ('champion', 'anchor') else 'are'} better**"
            )
        lines.append(f"{line}.")
    if about := figures.anchor(report):
        lines.append(f"{about[0].upper()}{about[1:]}.")
    noise = report.get("noise") or {}
    if (training := figures.number(noise.get("training"))) is not None:
        nights = int(noise.get("nights") or 0)
        seen = f"and {nights} earlier nights" if nights else "alone: no earlier night met a champion"
        lines.append(
            f"By training alone, two nights of an unchanging shop differ by {training:.1%} (standard deviation; from "
            f"the recipe's benchmark {seen})."
        )
    return "\n".join(f"- {line}" for line in lines)


def slices(report: dict[str, Any]) -> str:
    """Show where the challenger ranks worse than the champion it met, or than the most popular if it met none."""
    found = figures.slices(report)
    few = ", ".join(f"{plain(name)} ({count})" for name, count in found.few.items())
    unmeasured = f"Not measured, with too few questions: {few}." if few else ""
    if not found.measured:
        return f"#### Slices\n\n{unmeasured}" if unmeasured else ""
    rival = RIVALS[found.rival]
    if not found.worse:
        said = f"None of {len(found.measured)} slices is worse than {rival}, by NDCG@10, questions weighing alike."
        return f"#### Slices\n\n{said} {unmeasured}".rstrip()
    rows = [["slice", "questions", "challenger", RANKERS[found.rival], "difference"]]
    for one in found.worse:
        values = [f"{one.ours:.4f}", f"{one.theirs:.4f}", f"{one.difference:+.4f}"]
        rows.append([plain(one.name), str(one.questions), *values])
    said = (
        f"{len(found.worse)} of {len(found.measured)} are worse than {rival}, by NDCG@10, questions weighing alike; "
        f"without intervals: small slices move by chance. {unmeasured}"
    )
    return f"#### Slices that got worse\n\n{said.rstrip()}\n\n{_table(rows)}"


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *body))


def _with_interval(values: dict[str, Any], key: str) -> str:
    value, within = figures.number(values.get(key)), figures.interval(values.get(f"{key}_interval"))
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" ({within[0]:.4f} to {within[1]:.4f})" if within else "")
