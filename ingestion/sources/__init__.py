"""One adapter per public data format, by name, and the generator of a synthetic shop."""

from __future__ import annotations

from contracts.errors import DataError
from ingestion.sources.base import Converted, Source
from ingestion.sources.diginetica import Diginetica
from ingestion.sources.home_depot import HomeDepot
from ingestion.sources.online_shoppers import OnlineShoppers
from ingestion.sources.open_bandit import OpenBandit
from ingestion.sources.ratings import Ratings
from ingestion.sources.sequences import Sequences

_SOURCES: dict[str, Source] = {
    s.name: s
    for s in (
        Ratings("ml-100k"),
        Sequences("office"),
        Sequences("beauty"),
        Sequences("sports"),
        Diginetica(),
        HomeDepot(),
        OpenBandit(),
        OnlineShoppers(),
    )
}


def names() -> list[str]:
    """Names of all adapters."""
    return sorted(_SOURCES)


def get(name: str) -> Source:
    """Return the adapter of that name; `home_depot` and `home-depot` are one. Raises DataError, listing all names."""
    source = _SOURCES.get(name.lower().replace("_", "-"))
    if source is None:
        raise DataError(f"there is no adapter {name!r}", remedy=f"choose one of {', '.join(names())}")
    return source


__all__ = ["Converted", "Source", "get", "names"]
