"""Reads each shopper's items in order, without times: office (with text), beauty and sports (with numbered attributes).

`interactions.csv` has user, position, item; `items.csv` (title, brand, description) or `item_attributes.csv`
(item, attributes) tell about the items. Every interaction becomes a `purchase`: in the originals it is a
review of something bought.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import CATALOG
from ingestion.formats.columns import convert
from ingestion.formats.raw_files import RawFile
from ingestion.sources.base import (
    ConvertedDataset,
    Source,
    as_json,
    catalog_table,
    column,
    event_ids,
    events_table,
    find,
    find_optional,
    read_text_file,
    skipped,
    untitled,
    with_unlisted,
)
from ingestion.sources.calendar import spread, timestamps


class RecordedSequences(Source):
    """`interactions.csv`, and `items.csv` or `item_attributes.csv` where there is one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def files(self, directory: Path) -> list[Path]:
        about = find_optional(directory, "items.csv", "item_attributes.csv")
        return [find(directory, "interactions.csv"), *([about] if about else [])]

    def convert(self, directory: Path) -> ConvertedDataset:
        files = self.files(directory)
        raw = read_text_file(files[0], ("user", "position", "item"), ())
        rows = raw.table.num_rows
        users, items = column(raw.table, "user"), column(raw.table, "item")
        positions = convert(column(raw.table, "position"), pa.float64()).column
        events = events_table(
            rows,
            event_id=event_ids(self.name, raw.numbers),
            event_time=timestamps(spread(users, positions)),
            user_id=_named(users),
            kind=pa.array(["purchase"] * rows, pa.string()),
            item_id=items,
        )
        read_files: list[RawFile] = [raw]
        catalog = catalog_table(0)
        if len(files) > 1:
            about = read_text_file(files[1], ("item",))
            read_files.append(about)
            catalog = _catalog(about.table)
        return ConvertedDataset(events=events, catalog=with_unlisted(catalog, items), skipped=skipped(*read_files))


def _named(users: pa.Array) -> pa.Array:
    """Name the shopper whom such a file numbers 0: in a shop's own events that number stands for nobody."""
    return pc.if_else(pc.equal(users, "0"), "user-0", users)


def _catalog(about: pa.Table) -> pa.Table:
    items = column(about, "item")
    known = {
        name: convert(column(about, name), CATALOG.field(name).type).column
        for name in ("title", "description", "brand", "category", "price")
    }
    known["title"] = pc.coalesce(known["title"], untitled(items))
    numbers = column(about, "attributes").to_pylist()
    attributes = [as_json({"attributes": n.split()}) if n and n.strip() else None for n in numbers]
    return catalog_table(about.num_rows, item_id=items, attributes=pa.array(attributes, pa.string()), **known)
