"""What the demo's script writes as the reviewer's reason: what the release's own reports say, good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contracts.settings import Settings

HEADLINE = "ndcg_at_10_per_shopper"
PER_QUESTION = "ndcg_at_10"
NAMES = {
    "champion": "the champion",
    "popularity": "the most popular",
    "last_item_neighbours": "the last item's neighbours",
}
#: Slices that fell are named, the worst first, up to so many.
NAMED = 2
SCRIPT = "answered by the demo's script, no person"


def reason_for(s: Settings, digest: str) -> str:
    """Compose the reason for approving this very release, from its evaluation."""
    from artifacts.ledger import Ledger
    from artifacts.object_store import ObjectStore
    from releases.brief import gather

    return reason(gather(Ledger.of(s), ObjectStore.of(s), s.shop, digest).evaluation)


def reason(report: dict[str, Any]) -> str:
    """Say who ranks better than whom, and which slices fell; `report` is an evaluation.json, empty when unreadable."""
    rankers = report.get("rankers", {})
    ours = rankers.get("challenger", {}).get(HEADLINE)
    if ours is None:
        return f"{SCRIPT}: its evaluation cannot be read; let pass to show the road of a release"
    measured = report.get("differences", {})
    said = [
        _against(name, float(ours), report) for name in NAMES if HEADLINE in rankers.get(name, {}) and name in measured
    ]
    return f"{SCRIPT}, to show the road of a release: NDCG@10 {ours:.4f}; {'; '.join([*said, _slices(report)])}"


def _against(name: str, ours: float, report: dict[str, Any]) -> str:
    theirs = float(report["rankers"][name][HEADLINE])
    low, high = report["differences"][name]["interval"]
    word = "better than" if low > 0 else "worse than" if high < 0 else "not clearly different from"
    return (
        f"{word} {NAMES[name]} ({theirs:.4f}, difference {ours - theirs:+.4f}, 95 % interval {low:+.4f} to {high:+.4f})"
    )


def _slices(report: dict[str, Any]) -> str:
    rival = "champion" if "champion" in report.get("rankers", {}) else "popularity"
    fell = sorted(
        (figures["challenger"][PER_QUESTION] - figures[rival][PER_QUESTION], name)
        for name, figures in report.get("slices", {}).items()
        if "challenger" in figures and rival in figures
    )
    asked, fell = len(fell), [row for row in fell if row[0] < 0]
    if not asked:
        return "no slice could be compared"
    if not fell:
        return f"none of {asked} slices is below {NAMES[rival]}"
    worst = ", ".join(f"{name} {difference:+.4f}" for difference, name in fell[:NAMED])
    return f"{len(fell)} of {asked} slices are below {NAMES[rival]}, the most: {worst}"
