"""Reads from the ledger what a region should serve: the champion, the one before it, and the release in progress."""

from __future__ import annotations

from artifacts.ledger import CurrentRelease, Ledger
from contracts.release import IN_FLIGHT
from releases.rollout.traffic import Deployed
from releases.served_shop import serving_source


def release_in_progress(ledger: Ledger, source: str | None = None) -> CurrentRelease | None:
    """Find the release in progress: the one that is furthest, else the one that was approved first."""
    releases = ledger.releases(source, among=IN_FLIGHT)
    return min(releases, key=lambda p: (-IN_FLIGHT.index(p.state), p.sequence), default=None)


def read_deployed(ledger: Ledger, candidate: CurrentRelease | None) -> Deployed:
    """Read champion and former champion of the shop that the region serves; the candidate is added."""
    source = serving_source(ledger)
    champion = former = None
    if source is not None:
        releases = ledger.releases(source, among=("champion", "retired"))
        champion = next((p.digest for p in releases if p.state == "champion"), None)
        former = next((p.digest for p in releases if p.state == "retired"), None)
    return Deployed(
        champion=champion,
        former=former,
        candidate=candidate.digest if candidate else None,
        state=candidate.state if candidate else None,
    )
