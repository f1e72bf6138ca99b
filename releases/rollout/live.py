"""Makes the controller of a running region, for its own process and for people's commands."""

from __future__ import annotations

from artifacts.database import engine as region_database
from artifacts.ledger import Ledger
from contracts.settings import Settings
from releases.rollout.controller import Controller
from releases.rollout.region import LiveRegion


def live_controller(s: Settings) -> Controller:
    """Make the controller of a running region. Raises StoreUnavailable if its database does not answer."""
    region = LiveRegion(s)
    return Controller(
        s, Ledger.of(s), region_database(s), region, access_log=region.access_log, answer_log=s.paths.answer_log
    )
