"""Says which shop a region serves: one at a time, and only that shop's releases may meet its shoppers.

It is the shop of the setting until a release is champion, then that champion's. `caravan region serve` changes it, by a
row of the ledger that two people answer for; no setting does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.release import State

if TYPE_CHECKING:
    from datetime import datetime

    from artifacts.ledger import Ledger, Move

_CHAMPION: tuple[State, ...] = ("champion",)


def serving_source(ledger: Ledger) -> str | None:
    """Return the source whose champion serves the region; None before there ever was one.

    A switch to a shop without a champion takes effect with its first one.
    """
    crowned, switched = ledger.newest("champion"), ledger.newest("serves")
    if switched is None or (crowned is not None and crowned.sequence > switched.sequence):
        return crowned.source if crowned else None
    if ledger.releases(switched.source, among=_CHAMPION):
        return switched.source
    return crowned.source if crowned else None


def find_served(ledger: Ledger, at: datetime | None = None) -> Move | None:
    """Find the move that made the champion, of whichever shop, that the region served at `at` (default: now)."""
    champions: dict[str, Move] = {}
    serving = ""
    for move in ledger.history():
        if at is not None and move.at > at:
            break
        present = champions.get(move.source)
        if move.to_state == "champion":
            champions[move.source], serving = move, move.source
        elif move.to_state == "serves" and present is not None:
            serving = move.source
        elif present is not None and move.digest == present.digest and move.from_state == "champion":
            del champions[move.source]
    return champions.get(serving)


def permitted_shop(ledger: Ledger, shop: str) -> str:
    """Return the source whose releases may meet shoppers; `shop` is the setting, for a region that served none yet."""
    switched = ledger.newest("serves")
    return switched.source if switched else serving_source(ledger) or shop


def find_foreign(ledger: Ledger, shop: str, source: str) -> tuple[str, str] | None:
    """Say why no release of `source` may meet this region's shoppers, and the two ways on; None if it may."""
    served = permitted_shop(ledger, shop)
    if source == served:
        return None
    return (
        f"this region serves {served}: a release of {source} would meet all its shoppers at once, without a canary",
        f"give {source} a stack of its own (CARAVAN_SHOP={source} with another CARAVAN_HOME and CARAVAN_PORT_OFFSET, "
        f"then `caravan up`); or switch all shoppers: `caravan region serve {source} --reason …`, by two reviewers",
    )
