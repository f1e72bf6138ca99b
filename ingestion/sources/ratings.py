"""Reads RecBole's atomic format (tab separated, typed headers) with real timestamps: ml-100k and its like.

A rating says that the film was watched: kind `view`, the rating as `value`. What the `.user` file tells about
persons (age, sex, occupation, postcode) is not read.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import UnreadableFile
from contracts.events import TIMESTAMP
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
    find_optional,
    read_text_file,
    skipped,
    untitled,
    with_unlisted,
)

_TITLES = ("movie_title", "title", "name", "item_name")
_CLASSES = ("class", "genre", "genres", "category", "categories")
_YEARS = ("release_year", "year")


class Ratings(Source):
    """`<name>.inter`, and `<name>.item` where there is one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def files(self, directory: Path) -> list[Path]:
        items = self._one(directory, "item")
        interactions = self._one(directory, "inter")
        if interactions is None:
            raise UnreadableFile(f"{directory} has no {self.name}.inter (or .inter.gz)", remedy="name the right folder")
        return [interactions, *([items] if items else [])]

    def _one(self, directory: Path, kind: str) -> Path | None:
        exact = find_optional(directory, f"{self.name}.{kind}")
        if exact:
            return exact
        return next(iter(sorted([*directory.glob(f"*.{kind}"), *directory.glob(f"*.{kind}.gz")])), None)

    def convert(self, directory: Path) -> ConvertedDataset:
        files = self.files(directory)
        inter = _untyped(read_text_file(files[0], (), quoted=False))
        missing = [c for c in ("user_id", "item_id", "timestamp") if c not in inter.table.column_names]
        if missing:
            raise UnreadableFile(f"{files[0].name} lacks {', '.join(missing)}", remedy="give RecBole's atomic files")
        rows = inter.table.num_rows
        seconds = convert(column(inter.table, "timestamp"), pa.float64()).column
        seconds = pc.if_else(
            pc.and_(pc.greater(seconds, 0), pc.less(seconds, 1e11)), seconds, pa.scalar(None, pa.float64())
        )
        events = events_table(
            rows,
            event_id=event_ids(self.name, inter.numbers),
            event_time=pc.round(pc.multiply(seconds, 1e6)).cast(pa.int64()).cast(TIMESTAMP),
            user_id=column(inter.table, "user_id"),
            kind=pa.array(["view"] * rows, pa.string()),
            item_id=column(inter.table, "item_id"),
            value=convert(column(inter.table, "rating"), pa.float64()).column,
        )
        read_files = [inter]
        catalog = catalog_table(0)
        if len(files) > 1:
            items = _untyped(read_text_file(files[1], (), quoted=False))
            read_files.append(items)
            catalog = _catalog(items.table)
        catalog = with_unlisted(catalog, events.column("item_id").combine_chunks())
        return ConvertedDataset(events=events, catalog=catalog, skipped=skipped(*read_files))


def _untyped(raw: RawFile) -> RawFile:
    """Return `user_id` of `user_id:token`."""
    names = [n.split(":")[0] for n in raw.table.column_names]
    return RawFile(
        name=raw.name,
        format=raw.format,
        table=raw.table.rename_columns(names),
        numbers=raw.numbers,
        refused=raw.refused,
    )


def _catalog(items: pa.Table) -> pa.Table:
    titles = _first(items, _TITLES)
    identifiers = column(items, "item_id")
    classes = _first(items, _CLASSES).to_pylist()
    years = _first(items, _YEARS).to_pylist()
    described, first, attributes = [], [], []
    for words, year in zip(classes, years, strict=True):
        kinds = (words or "").split()
        told = ", ".join(kinds) + (f" ({year})" if year else "")
        described.append(told.strip() or None)
        first.append(kinds[0] if kinds else None)
        about = {**({"classes": kinds} if kinds else {}), **({"year": year} if year else {})}
        attributes.append(as_json(about) if about else None)
    return catalog_table(
        items.num_rows,
        item_id=identifiers,
        title=pc.coalesce(titles, untitled(identifiers)),
        description=pa.array(described, pa.string()),
        category=pa.array(first, pa.string()),
        attributes=pa.array(attributes, pa.string()),
    )


def _first(table: pa.Table, names: tuple[str, ...]) -> pa.Array:
    return column(table, next((n for n in names if n in table.column_names), names[0]))
