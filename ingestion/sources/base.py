"""Defines an adapter: a public format in, tables in the contract's columns out, identifiers in the clear.

Tables that adapters return may still hold bad rows (a null where the file had nonsense): the same checks as for
any other file come after them, so that every row of a public file is accounted for too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import UnreadableFile
from contracts.events import CATALOG, EVENTS
from ingestion.formats.raw_files import RawFile
from ingestion.formats.table_files import read_raw

_ENDINGS = ("", ".gz")


@dataclass(frozen=True, kw_only=True)
class ConvertedDataset:
    """A public data set in the contract. `skipped`: reason -> records of its files that are no row of a table."""

    events: pa.Table | None = None
    test_events: pa.Table | None = None
    catalog: pa.Table | None = None
    judgments: pa.Table | None = None
    skipped: dict[str, int] = field(default_factory=dict)


class Source(ABC):
    """One public format. `version` goes up when the same files give other tables than before."""

    name: str
    version: int = 1

    @abstractmethod
    def files(self, directory: Path) -> list[Path]:
        """List the files that are read, in a fixed order. Raises UnreadableFile when one is missing."""

    @abstractmethod
    def convert(self, directory: Path) -> ConvertedDataset:
        """Convert the whole data set. Raises UnreadableFile."""

    def events(self, directory: Path) -> pa.Table | None:
        """Return EVENTS columns (training events where the set has a split of its own)."""
        return self.convert(directory).events

    def catalog(self, directory: Path) -> pa.Table | None:
        """Return CATALOG columns."""
        return self.convert(directory).catalog

    def judgments(self, directory: Path) -> pa.Table | None:
        """Return JUDGMENTS columns, or None."""
        return self.convert(directory).judgments


def find(directory: Path, *names: str) -> Path:
    """Find the first of `names` in the folder, plain or gzipped. Raises UnreadableFile naming what was looked for."""
    for name in names:
        for ending in _ENDINGS:
            if (directory / f"{name}{ending}").is_file():
                return directory / f"{name}{ending}"
    raise UnreadableFile(
        f"{directory} has no {names[0]} (or {names[0]}.gz)", remedy="name the folder that holds the data set's files"
    )


def find_optional(directory: Path, *names: str) -> Path | None:
    try:
        return find(directory, *names)
    except UnreadableFile:
        return None


def skipped(*files: RawFile) -> dict[str, int]:
    """Count the lines that could not be read, by reason, over several files."""
    return dict(sorted(Counter(r.reason for f in files for r in f.refused).items()))


def read_text_file(
    path: Path, required: Sequence[str], columns: Iterable[str] | None = None, *, quoted: bool = True
) -> RawFile:
    """Read a text file of a public data set: all columns, or `columns`, as strings."""
    wanted = None if columns is None else [*required, *columns]
    return read_raw(path, wanted, required, multiline=quoted, quoted=quoted)


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as strings, all null when it is not there."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    return table.column(name).cast(pa.string()).combine_chunks()


def event_ids(prefix: str, numbers: Any) -> pa.Array:
    """Return `<prefix>-<record>`, padded, so that ids sort as the file's records do; they never name a person."""
    padded = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 9, "0")
    return pc.binary_join_element_wise(prefix, padded, "-")


def events_table(rows: int, **columns: pa.Array) -> pa.Table:
    """Make a table with EVENTS columns; those that are not given are null."""
    return _table(EVENTS, rows, columns)


def catalog_table(rows: int, **columns: pa.Array) -> pa.Table:
    """Make a table with CATALOG columns; those that are not given are null, and everything can be bought."""
    if "available" not in columns:
        columns["available"] = pa.array(np.ones(rows, bool))
    return _table(CATALOG, rows, columns)


def untitled(items: pa.Array) -> pa.Array:
    """Make a title for items that have none."""
    return pc.binary_join_element_wise("Item", items, " ")


def with_unlisted(catalog: pa.Table, used: pa.Array) -> pa.Table:
    """Return `catalog`, and every item of `used` that it lacks, by its identifier alone."""
    lacking = used.drop_null().unique().sort()
    lacking = lacking.filter(pc.invert(pc.is_in(lacking, catalog.column("item_id").combine_chunks())))
    if not len(lacking):
        return catalog
    return pa.concat_tables([catalog, catalog_table(len(lacking), item_id=lacking, title=untitled(lacking))])


def as_json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _table(schema: pa.Schema, rows: int, columns: dict[str, pa.Array]) -> pa.Table:
    arrays = [columns.get(f.name, pa.nulls(rows, f.type)) for f in schema]
    loose = pa.schema([pa.field(f.name, f.type) for f in schema])
    return pa.table([a.cast(f.type) for a, f in zip(arrays, loose, strict=True)], schema=loose)
