"""Writes the reviewer's reason in a demo, from what the release's own reports say, good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.release import PER_SHOPPER
from releases.approval import figures

if TYPE_CHECKING:
    from contracts.settings import Settings

#: Slices that fell are named, the worst first, up to so many.
NAMED = 2
SCRIPT = "answered by the demo's script, no person"


def reason_for(s: Settings, digest: str) -> str:
    """Compose the reason for approving this very release, from its evaluation."""
    from artifacts.ledger import Ledger
    from artifacts.object_store import ObjectStore
    from releases.approval.review_summary import gather

    return reason(gather(Ledger.of(s), ObjectStore.of(s), s.shop, digest).evaluation)


def reason(report: dict[str, Any]) -> str:
    """Say who ranks better than whom, and which slices fell; `report` is an evaluation.json, empty when unreadable."""
    ours = figures.number((report.get("rankers", {}).get("challenger") or {}).get(PER_SHOPPER))
    if ours is None:
        return f"{SCRIPT}: its evaluation cannot be read; let pass to show the road of a release"
    said = [f"against {figures.RIVALS[one.rival]} {one}" for one in figures.comparisons(report)]
    return f"{SCRIPT}, to show the road of a release: NDCG@10 {ours:.4f}; {'; '.join([*said, _slices(report)])}"


def _slices(report: dict[str, Any]) -> str:
    found = figures.slices(report)
    asked, rival = len(found.measured), figures.RIVALS[found.rival]
    if not asked:
        return "no slice could be compared"
    if not found.worse:
        return f"none of {asked} slices is worse than {rival}"
    worst = ", ".join(f"{one.name} {one.difference:+.4f}" for one in found.worse[:NAMED])
    return f"{len(found.worse)} of {asked} slices are worse than {rival}, the most: {worst}"
