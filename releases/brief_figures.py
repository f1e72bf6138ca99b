"""The figures of a review brief, as Markdown: how good a release is, beside whom, and where it got worse."""

from __future__ import annotations

import re
from typing import Any

HEADLINE = "ndcg_at_10"
PER_SHOPPER = f"{HEADLINE}_per_shopper"
#: The metrics that are shown, and their names.
METRICS = {
    PER_SHOPPER: "NDCG@10, shoppers weighing alike", HEADLINE: "NDCG@10, questions weighing alike",
    "recall_at_10": "recall@10", "mrr_at_10": "MRR@10", "coverage_at_10": "coverage@10",
    "novelty_at_10": "novelty@10",
}  # fmt: skip
RANKERS = {
    "challenger": "challenger", "champion": "champion", "anchor": "best of 30 days", "popularity": "most popular",
    "last_item_neighbours": "neighbours",
}  # fmt: skip
LONGEST = 700


def plain(text: object) -> str:
    """What somebody wrote, on one line and as text: no Markdown, no HTML, no end to it."""
    line = " ".join(str(text).split())
    line = line if len(line) <= LONGEST else line[:LONGEST] + " …"
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", line)


def quality(report: dict[str, Any]) -> str:
    """The metrics of all rankers on the same questions, and the difference to the champion with its interval."""
    rankers = {name: report.get("rankers", {}).get(name) for name in RANKERS}
    shown = [name for name, figures in rankers.items() if figures]
    if "challenger" not in shown:
        return "#### Quality\n\nThere is no evaluation."
    rows = [["", *(RANKERS[name] for name in shown)]]
    for key, title in METRICS.items():
        if key in rankers["challenger"]:
            rows.append([title, *(_with_interval(rankers[name], key) for name in shown)])
    asked = (
        f"{report.get('questions', '?')} questions of {report.get('shoppers', '?')} shoppers, "
        f"held-out days {plain(', '.join(report.get('held_out', [])))}; {report.get('items_ranked', '?')} items ranked"
    )
    differences = report.get("differences", {})
    verdict = "There was no champion to compare with."
    if "champion" in differences:
        verdict = f"NDCG@10 against the champion: {_compared(differences['champion'])}."
    beside = [
        f"Against {name}: {_compared(differences[key])}."
        for key, name in (
            ("last_item_neighbours", "the neighbours of the last item"),
            ("popularity", "the most popular"),
        )
        if key in differences
    ]
    return f"#### Quality\n\n{' '.join([verdict, *beside])} {asked}.\n\n{_table(rows)}"


def _compared(difference: dict[str, Any]) -> str:
    """The mean difference, the interval that chance by the questions alone gives it, and what that says."""
    low, high = difference["interval"]
    word = "better" if low > 0 else "**worse**" if high < 0 else "no clear difference"
    return f"**{difference['mean']:+.4f}** (95 % interval by the questions {low:+.4f} to {high:+.4f}): {word}"


def slices(report: dict[str, Any]) -> str:
    """Where the challenger ranks worse than the champion, or than the most popular where there is no champion.

    Slices are compared question by question.
    """
    rival = "champion" if report.get("rankers", {}).get("champion") else "popularity"
    found = [
        (name, figures, figures["challenger"][HEADLINE] - figures[rival][HEADLINE])
        for name, figures in report.get("slices", {}).items()
        if "challenger" in figures and rival in figures
    ]
    if not found:
        return ""
    worse = sorted((row for row in found if row[2] < 0), key=lambda row: row[2])
    if not worse:
        return f"#### Slices\n\nNone of {len(found)} slices is worse than the {RANKERS[rival]}."
    rows = [["slice", "questions", "challenger", RANKERS[rival], "difference"]]
    for name, figures, difference in worse:
        ours, theirs = figures["challenger"][HEADLINE], figures[rival][HEADLINE]
        rows.append([plain(name), str(figures["questions"]), f"{ours:.4f}", f"{theirs:.4f}", f"{difference:+.4f}"])
    return (
        f"#### Slices below the {RANKERS[rival]}\n\n{len(worse)} of {len(found)}, by NDCG@10 with questions weighing "
        "alike; small slices move by chance.\n\n"
        f"{_table(rows)}"
    )


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *body))


def _with_interval(figures: dict[str, Any], key: str) -> str:
    value = figures.get(key)
    if value is None:
        return "–"
    interval = figures.get(f"{key}_interval")
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")
