"""Names one adapter per public data format, and the generator of a synthetic shop."""

from __future__ import annotations

from contracts.errors import DataError
from ingestion.sources.base import ConvertedDataset, Source
from ingestion.sources.diginetica import Diginetica
from ingestion.sources.home_depot import HomeDepot
from ingestion.sources.online_shoppers import OnlineShoppers
from ingestion.sources.open_bandit import OpenBandit
from ingestion.sources.ratings import Ratings
from ingestion.sources.sequences import RecordedSequences

_SOURCES: dict[str, Source] = {
    s.name: s
    for s in (
        Ratings("ml-100k"),
        RecordedSequences("office"),
        RecordedSequences("beauty"),
        RecordedSequences("sports"),
        Diginetica(),
        HomeDepot(),
        OpenBandit(),
        OnlineShoppers(),
    )
}


def names() -> list[str]:
    """List the names of all adapters."""
    return sorted(_SOURCES)


def get(name: str) -> Source:
    """Return the adapter of that name; `home_depot` and `home-depot` are one. Raises DataError, listing all names."""
    source = _SOURCES.get(name.lower().replace("_", "-"))
    if source is None:
        raise DataError(f"there is no adapter {name!r}", remedy=f"choose one of {', '.join(names())}")
    return source


__all__ = ["ConvertedDataset", "Source", "get", "names"]
