"""Compares the items of a day's interactions with its catalog: which it does not know, and which only look different.

What does not join is learned from nowhere, so a day says how much of it that is. An identifier that the catalog has in
another spelling (120 for 00120, 7.0 for 7) is the work of a spreadsheet or a float, not of a shopper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.events import INTERACTIONS

#: From this share of the day's interactions on, identifiers in another spelling than the catalog's stop the day.
MAX_RESPELLED = 0.05
_FLOAT = re.compile(r"\.0+$")


@dataclass(frozen=True, kw_only=True)
class KnownItems:
    """Interactions of a day, those with items that the catalog has not, and those of them that it has otherwise."""

    interactions: int = 0
    unknown: int = 0
    respelled: int = 0
    event_says: str = ""
    catalog_says: str = ""

    def __str__(self) -> str:
        text = f"{self.unknown} of {self.interactions} interactions name items that the catalog has not"
        if self.respelled:
            spelled = f"{self.catalog_says!r}, not {self.event_says!r}"
            text += f"; {self.respelled} of them it has in another spelling ({spelled})"
        return text

    @property
    def is_export_broken(self) -> bool:
        """Whether so many are spelled otherwise that the export must be mended."""
        return self.respelled > MAX_RESPELLED * self.interactions


def compare_items(lake: Lake, events: str, day: str, catalog: pa.ChunkedArray) -> KnownItems:
    """Compare the interactions of `day` in the table `events` with the item ids of its catalog."""
    rows = pq.read_table(lake.fetch(events, day) / DATA, columns=["kind", "item_id"])
    items = rows.filter(pc.is_in(rows.column("kind"), pa.array(INTERACTIONS))).column("item_id").drop_null()
    missing = items.filter(pc.invert(pc.is_in(items, catalog.combine_chunks())))
    if not len(missing):
        return KnownItems(interactions=len(items))
    spellings = {_bare(item): item for item in _texts(catalog)}
    respelled, example = 0, ("", "")
    for counted in pc.value_counts(missing).to_pylist():
        found = spellings.get(_bare(counted["values"]))
        if found is not None:
            respelled += counted["counts"]
            example = example if example[0] else (counted["values"], found)
    return KnownItems(
        interactions=len(items),
        unknown=len(missing),
        respelled=respelled,
        event_says=example[0],
        catalog_says=example[1],
    )


def _bare(item: str) -> str:
    """Return an identifier without what spreadsheets and floats take from it or add to it."""
    return _FLOAT.sub("", item.strip()).lstrip("0").casefold()


def _texts(column: pa.ChunkedArray) -> Iterable[str]:
    texts: list[str] = column.to_pylist()
    return texts
