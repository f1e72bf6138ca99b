"""What the ledger says of a region: the release on its way, the champion, and the one before it."""

from __future__ import annotations

from artifacts.ledger import CurrentRelease, Ledger
from contracts.release import IN_FLIGHT
from releases.rollout.traffic import Deployed


def on_its_way(ledger: Ledger, source: str | None = None) -> CurrentRelease | None:
    """The release on its way: the one that is furthest, else the one that was approved first."""
    releases = ledger.releases(source, among=IN_FLIGHT)
    return min(releases, key=lambda p: (-IN_FLIGHT.index(p.state), p.sequence), default=None)


def read_deployed(ledger: Ledger, candidate: CurrentRelease | None) -> Deployed:
    """Champion and former champion of the shop that was crowned last, and the candidate."""
    last = ledger.newest("champion")
    champion = former = None
    if last is not None:
        releases = ledger.releases(last.source, among=("champion", "retired"))
        champion = next((p.digest for p in releases if p.state == "champion"), None)
        former = next((p.digest for p in releases if p.state == "retired"), None)
    return Deployed(
        champion=champion,
        former=former,
        candidate=candidate.digest if candidate else None,
        state=candidate.state if candidate else None,
    )
