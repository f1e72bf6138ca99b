"""Writes the model card: the description of a version in MLflow, as Markdown, from the release's own reports.

What a reviewer must weigh for an answer is in the brief; the card says what this model is, for whoever finds it later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from artifacts.publish import read_file
from contracts import release as files
from releases.approval.summary_figures import plain, quality, slices

if TYPE_CHECKING:
    from artifacts.manifest import Manifest
    from artifacts.publish import Store

#: Characters that MLflow's database keeps of a description.
LONGEST = 5000
_MORE = "\n\n… the whole is in the brief of the release's request for approval."
#: How a model ranks whom its ranker did not make better, by `ranks` of ranker.json; any other is a source's name.
_RANKS = {"ranker": "the ranker, from all sources together"}


def read_card(store: Store, manifest: Manifest) -> str:
    """Read a release's reports and write its card."""
    reports = {name: _report(store, manifest, name) for name in (files.EVALUATION, files.LINEAGE, files.RANKER_ABOUT)}
    return card(
        manifest.digest, manifest.meta, evaluation=reports[files.EVALUATION], lineage=reports[files.LINEAGE],
        ranker=reports[files.RANKER_ABOUT],
    )  # fmt: skip


def card(
    digest: str, meta: dict[str, Any], *, evaluation: dict[str, Any], lineage: dict[str, Any], ranker: dict[str, Any]
) -> str:
    """Write the card; what the reports do not have is left out."""
    about = [_head(digest, meta), _made_from(meta, evaluation, lineage, ranker)]
    text = "\n\n".join(part for part in (*about, quality(evaluation), slices(evaluation)) if part)
    if len(text) <= LONGEST:
        return text
    kept = text[: LONGEST - len(_MORE)]
    return kept[: kept.rindex("\n")].rstrip() + _MORE  # never half a line: a table would break


def _head(digest: str, meta: dict[str, Any]) -> str:
    shop = plain(meta.get("source", "a shop"))
    return (
        f"Release `{digest[:12]}` of **{shop}**: ranks the shop's items for a shopper, from the items of the shopper's "
        "history. A row is a question; the answer has the items, best first, each with its score and the source that "
        f"names it most. Whole digest: `{digest}`."
    )


def _made_from(
    meta: dict[str, Any], evaluation: dict[str, Any], lineage: dict[str, Any], ranker: dict[str, Any]
) -> str:
    lines = []
    if recipe := meta.get("recipe"):
        lines.append(f"- Recipe: **{plain(recipe)}**")
    days = sorted(lineage.get("partitions", {}).get("events", {}))
    until = f"up to {plain(meta.get('day', 'an unknown day'))}"
    window = f"days {plain(days[0])} to {plain(days[-1])}" if days else until
    held_out = f"; held out: {plain(', '.join(lineage['held_out']))}" if lineage.get("held_out") else ""
    count = evaluation.get("train_interactions")
    lines.append(f"- Data: {window}{held_out}" + (f"; {count} interactions learned from" if count else ""))
    if ranker:
        ranks = str(ranker.get("ranks", "ranker"))
        lines.append(f"- What ranks: {_RANKS.get(ranks, f'the source {plain(ranks)} alone')}")
        lines.append(f"- Sources: {plain(', '.join(ranker.get('sources', ())))}")
    else:
        lines.append("- What ranks: the sequence model alone")
    lines.append("- Without a history that it knows: the most popular items of the category, or of all")
    if code := lineage.get("commit"):
        lines.append(f"- Code: {plain(code)[:12]}")
    return "\n".join(lines)


def _report(store: Store, manifest: Manifest, path: str) -> dict[str, Any]:
    found = json.loads(read_file(store, manifest, path) or b"{}")
    return dict(found) if isinstance(found, dict) else {}
