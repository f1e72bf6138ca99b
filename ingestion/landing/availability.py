"""Reads from the landed catalogs which items can be had, for a shop that cannot wait for the next release."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.errors import DataError, SchemaChanged, UnknownItems
from contracts.settings import settings
from ingestion.landing import batches
from ingestion.landing.manifests import LandedTable

PINNED_TABLE = "catalog"
#: A catalog of fewer items says nothing when it shrinks.
FEW_ITEMS = 20
_REMEDY = "land the whole catalog; or let it pass with `caravan overlay make --source {shop} --accept-changes`"


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What a catalog says of its items; one that says nothing of an item's availability says that it can be had."""

    available: frozenset[str]
    unavailable: frozenset[str]

    @property
    def items(self) -> frozenset[str]:
        return self.available | self.unavailable


def newest_landed(lake: Lake) -> str | None:
    """Return the name of the catalog that landed last."""
    return next(reversed(lake.partitions(batches.CATALOG_TABLE)), None)


def newest_pinned(lake: Lake) -> str | None:
    """Return the newest day for which a night has pinned a catalog."""
    return next(reversed(lake.partitions(PINNED_TABLE)), None)


def read_landed(lake: Lake, landed: str) -> Availability:
    """Read a landed catalog."""
    return _read(lake, batches.CATALOG_TABLE, landed)


def read_pinned(lake: Lake, day: str) -> Availability:
    """Read the catalog of a day."""
    return _read(lake, PINNED_TABLE, day)


def check_landed(lake: Lake, landed: str, found: Availability, day: str) -> None:
    """Raise DataError where the landed catalog is too far from the one pinned for `day` to be taken by itself.

    One that a night has pinned has passed the limits of validation, or a person let it.
    """
    about = lake.manifest(PINNED_TABLE, day).meta
    if about.get("landed") == landed:
        return
    newest = LandedTable.from_meta(lake.manifest(batches.CATALOG_TABLE, landed).meta)
    remedy = _REMEDY.format(shop=lake.source)
    if lost := sorted(set(about.get("columns") or {}) - set(newest.families)):
        raise SchemaChanged(
            f"the catalog {newest.file} has lost the column {', '.join(lost)}, which that of {day} had", remedy=remedy
        )
    pinned, least = read_pinned(lake, day), settings().catalog_least
    left = len(pinned.items & found.items)
    if len(pinned.items) >= FEW_ITEMS and left < least * len(pinned.items):
        raise UnknownItems(
            f"{left} of the {len(pinned.items)} items of {day} are left in the catalog {newest.file}", remedy=remedy
        )
    if len(pinned.available) >= FEW_ITEMS and len(found.available) < least * len(pinned.available):
        raise DataError(
            f"{len(found.available)} items of the catalog {newest.file} can be had; on {day} it was "
            f"{len(pinned.available)}",
            remedy=remedy,
        )


def _read(lake: Lake, table: str, partition: str) -> Availability:
    rows = pq.read_table(lake.fetch(table, partition) / DATA, columns=["item_id", "available"])
    can_be_had = pc.fill_null(rows.column("available"), fill_value=True)
    return Availability(
        available=frozenset(rows.filter(can_be_had).column("item_id").to_pylist()),
        unavailable=frozenset(rows.filter(pc.invert(can_be_had)).column("item_id").to_pylist()),
    )
