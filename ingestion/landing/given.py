"""Defines what is given to land: a file in the contract's columns, or a table that an adapter made of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from contracts.errors import UnreadableFile
from ingestion.formats.raw_files import RawFile, Refused, printable
from ingestion.landing import batches
from ingestion.landing.table_reader import read_file
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA, JUDGMENT_SCHEMA, TableSchema
from ingestion.sources import ConvertedDataset


class GivenTable(Protocol):
    """One table that is to land, before anything of it is read."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> TableSchema: ...

    def digest(self) -> str:
        """Return what names the content, independent of its name. Raises UnreadableFile."""

    def read(self) -> RawFile:
        """Return its rows as they are. Raises UnreadableFile."""


@dataclass(frozen=True)
class ContractFile:
    """A file in the contract's columns."""

    path: Path
    schema: TableSchema

    @property
    def name(self) -> str:
        return printable(self.path.name)

    def digest(self) -> str:
        try:
            if not self.path.is_file():
                raise OSError("not a regular file" if self.path.exists() else "no such file")
            return batches.content_digest([self.path])
        except (OSError, ValueError) as error:
            raise UnreadableFile(f"{self.name} cannot be opened: {error}", remedy="check the path") from None

    def read(self) -> RawFile:
        return read_file(self.path, self.schema)


@dataclass(frozen=True, kw_only=True)
class ConvertedTable:
    """A table that an adapter made of a data set; `content` names the files of the set."""

    name: str
    schema: TableSchema
    table: pa.Table
    skipped: dict[str, int]
    content: str

    def digest(self) -> str:
        return self.content

    def read(self) -> RawFile:
        return RawFile(
            name=self.name,
            format="adapter",
            table=self.table.combine_chunks(),
            numbers=pa.array(range(1, self.table.num_rows + 1), pa.int64()),
            refused=tuple(Refused(0, reason, 0) for reason, number in self.skipped.items() for _ in range(number)),
            families=dict.fromkeys(self.table.column_names, "any"),
        )


def converted_tables(source: str, converted: ConvertedDataset, content: str) -> Iterator[ConvertedTable]:
    """Yield the tables of a data set, one at a time; records that became no row count among the events."""
    events = [t for t in (converted.events, converted.test_events) if t is not None]
    parts: tuple[tuple[TableSchema, pa.Table | None, dict[str, int]], ...] = (
        (EVENT_SCHEMA, pa.concat_tables(events) if events else None, converted.skipped),
        (CATALOG_SCHEMA, converted.catalog, {}),
        (JUDGMENT_SCHEMA, converted.judgments, {}),
    )
    for schema, table, skipped in parts:
        if table is not None:
            yield ConvertedTable(
                name=f"{source} {schema.name}", schema=schema, table=table, skipped=skipped, content=content
            )
