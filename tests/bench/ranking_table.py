"""Tables of what tests.bench.ranking measured."""

from __future__ import annotations

from typing import Any

import numpy as np

NEIGHBOURS = "last_item_neighbours"


def table(rows: list[dict[str, Any]]) -> str:
    """Return all figures as Markdown: levels and gains, histories, the knob, causes, noise."""
    nights = [row for row in rows if row["data"] != "noise"]
    names = sorted({row["data"] for row in nights})
    parts = [make(names, nights) for make in (_levels, _histories, _pages, _knob, _causes)]
    noise = [row for row in rows if row["data"] == "noise"]
    if noise:
        parts.append(f"Shops of pure noise: of {sum(row['passed'] for row in noise)} of {len(noise)} a model passed.")
    return "\n\n".join(part for part in parts if part)


def _levels(names: list[str], nights: list[dict[str, Any]]) -> str:
    lines = [
        "| data | nights | questions | whole | best source | neighbours | whole - best source | gain over neighbours |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, own in _of(names, nights):
        level, near = np.array([r["level"] for r in own]), np.array([r["levels"][NEIGHBOURS] for r in own])
        best = np.array([r["levels"][r["best_source"]] for r in own])
        errors = np.array([r["differences"][r["best_source"]]["standard_error"] for r in own])
        over, half = (level - best).mean() / best.mean(), 1.96 * np.sqrt((errors**2).sum()) / len(own) / best.mean()
        gain = level / near - 1
        wide = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else float("nan")
        lines.append(
            f"| {name} | {len(own)} | {sum(r['questions'] for r in own):,} | {level.mean():.4f} | {best.mean():.4f} "
            f"| {near.mean():.4f} | {over:+.1%} ({over - half:+.1%} to {over + half:+.1%}) "
            f"| {gain.mean():+.1%} ({gain.mean() - wide:+.1%} to {gain.mean() + wide:+.1%}) |"
        )
    return "\n".join(lines)


def _histories(names: list[str], nights: list[dict[str, Any]]) -> str:
    lines = [
        "| data | two actions at most | ten and more | share | best source of the short ones |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, own in _of(names, nights):
        short, long = (np.nanmean([r[part]["ranker"] for r in own]) for part in ("short", "long"))
        alone = max(
            (float(np.nanmean([r["short"].get(source, 0.0) for r in own])), source)
            for source in set().union(*(r["short"] for r in own)) - {"ranker"}
        )
        lines.append(f"| {name} | {short:.4f} | {long:.4f} | {short / long:.0%} | {alone[1]} {alone[0]:.4f} |")
    return "\n".join(lines)


def _pages(names: list[str], nights: list[dict[str, Any]]) -> str:
    lines = ["| data | page | whole | best source there | gain |", "|---|---|---:|---:|---:|"]
    for name, own in _of(names, [row for row in nights if row.get("pages")]):
        for page in own[0]["pages"]:
            means = {who: float(np.mean([r["pages"][page][who] for r in own])) for who in own[0]["pages"][page]}
            whole = means.pop("whole")
            best = max(means, key=lambda who: means[who])
            gain = [r["pages"][page]["whole"] / r["pages"][page][best] - 1 for r in own]
            wide = 1.96 * np.std(gain, ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else float("nan")
            lines.append(
                f"| {name} | {page} | {whole:.4f} | {best} {means[best]:.4f} "
                f"| {np.mean(gain):+.1%} ({np.mean(gain) - wide:+.1%} to {np.mean(gain) + wide:+.1%}) |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def _knob(names: list[str], nights: list[dict[str, Any]]) -> str:
    lines = ["| data | knob | NDCG@10 | of the best | diversity |", "|---|---:|---:|---:|---:|"]
    for name, own in _of(names, [row for row in nights if row["knob"]]):
        first = [np.mean([r["knob"][0][key] for r in own]) for key in ("ndcg_at_10", "diversity")]
        for place, knob in enumerate(row["knob"] for row in own[0]["knob"]):
            ndcg, wide = (np.mean([r["knob"][place][key] for r in own]) for key in ("ndcg_at_10", "diversity"))
            lines.append(f"| {name} | {knob:g} | {ndcg:.4f} | {ndcg / first[0]:.1%} | {wide / first[1] - 1:+.1%} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _causes(names: list[str], nights: list[dict[str, Any]]) -> str:
    lines = [
        "| data | asked again | left without the named action | without another | ratio | named source's first fifty |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, own in _of(names, [row for row in nights if row.get("deletions")]):
        found = [row["deletions"] for row in own]
        asked, named, other = (np.array([f[key] for f in found]) for key in ("asked", "named_left", "other_left"))
        ratio = named.sum() / max(other.sum(), 1)
        # the logarithm of a ratio of two counts
        half = 1.96 * (1 / max(named.sum(), 1) + 1 / max(other.sum(), 1)) ** 0.5
        lines.append(
            f"| {name} | {asked.sum():.0f} | {named.sum() / asked.sum():.1%} | {other.sum() / asked.sum():.1%} "
            f"| {ratio:.1f} ({ratio * np.exp(-half):.1f} to {ratio * np.exp(half):.1f}) "
            f"| {np.mean([f['foremost'] for f in found]):.1%} |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def _of(names: list[str], nights: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    grouped = [(name, [row for row in nights if row["data"] == name]) for name in names]
    return [(name, own) for name, own in grouped if own]
