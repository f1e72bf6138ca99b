"""Lands files in the lake's landing tables. Nothing that names a person gets past this step.

A file lands whole or is set aside with its name and the reason, and the others still go in. Landing the same
content twice lands nothing new. `validate_day` then makes the partitions that the rest of the chain reads.

`_Lander.land_one` is the way of one file from bytes to a table; what it calls follows in that order.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from artifacts.lake import Lake
from contracts.errors import CaravanError, DataError, UnreadableFile
from ingestion.formats.raw_files import RawFile, Refused, printable
from ingestion.landing import batches
from ingestion.landing.manifests import LandedDay, LandedFile, LandedTable
from ingestion.landing.report import FileReport, LandingReport, report_of
from ingestion.landing.table_reader import no_usable_row, read_file
from ingestion.pseudonymize import Pseudonymizer
from ingestion.rules.quarantine import counts
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA, JUDGMENT_SCHEMA, TableSchema
from ingestion.rules.split import split_rows
from ingestion.sources import ConvertedDataset, Source

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
#: Origin of a partition that another file has replaced.
WITHDRAWN = "withdrawn"
JUDGMENTS_TABLE, JUDGMENTS_PARTITION = "judgments", "all"


def land(
    lake: Lake,
    events: Iterable[Path] = (),
    catalog: Path | None = None,
    judgments: Path | None = None,
    *,
    pseudonymizer: Pseudonymizer,
    now: datetime | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> LandingReport:
    """Land files in the contract; a file that cannot be used is reported as refused and the others go in.

    `replace`: what other files brought for the days of these ones is withdrawn. Rows dated later than `now`
    (default: the clock) are quarantined.
    """
    lander = _Lander(lake, pseudonymizer, now, progress, replace=replace)
    given = [_ContractFile(path, EVENT_SCHEMA) for path in events]
    if catalog is not None:
        given.append(_ContractFile(catalog, CATALOG_SCHEMA))
    if judgments is not None:
        given.append(_ContractFile(judgments, JUDGMENT_SCHEMA))
    return LandingReport(source=lake.source, files=tuple(lander.land_one(file) for file in given))


def land_source(
    lake: Lake,
    source: Source,
    directory: Path,
    *,
    pseudonymizer: Pseudonymizer,
    now: datetime | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> LandingReport:
    """Land a public data set through its adapter. Raises UnreadableFile when the folder is not of that format."""
    lander = _Lander(lake, pseudonymizer, now, progress, replace=replace)
    files = source.files(directory)
    content = batches.content_digest(files, source.name, str(source.version))
    lander.progress(f"{source.name}: converting {len(files)} files")
    tables = _converted_tables(source.name, source.convert(directory), content)
    return LandingReport(source=lake.source, files=tuple(lander.land_one(table) for table in tables))


class _Given(Protocol):
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
class _ContractFile:
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
class _ConvertedTable:
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


def _converted_tables(source: str, converted: ConvertedDataset, content: str) -> Iterator[_ConvertedTable]:
    """Yield the tables of a data set, one at a time; records that became no row count among the events."""
    events = [t for t in (converted.events, converted.test_events) if t is not None]
    parts: tuple[tuple[TableSchema, pa.Table | None, dict[str, int]], ...] = (
        (EVENT_SCHEMA, pa.concat_tables(events) if events else None, converted.skipped),
        (CATALOG_SCHEMA, converted.catalog, {}),
        (JUDGMENT_SCHEMA, converted.judgments, {}),
    )
    for schema, table, skipped in parts:
        if table is not None:
            yield _ConvertedTable(
                name=f"{source} {schema.name}", schema=schema, table=table, skipped=skipped, content=content
            )


class _Lander:
    """One call's circumstances: where to, with which key, at what time."""

    def __init__(
        self,
        lake: Lake,
        pseudonymizer: Pseudonymizer,
        now: datetime | None,
        progress: Progress | None,
        *,
        replace: bool,
    ) -> None:
        self.lake = lake
        self.pseudonymizer = pseudonymizer
        self.now = now or batches.utc_now()
        self.replace = replace
        self.progress = progress or (lambda _: None)
        self.brought: set[str] = set()  # batches of this call, which replace others and not one another

    def land_one(self, given: _Given) -> FileReport:
        """Land one table, unless the lake has it; what is wrong with the file itself becomes its report."""
        self.progress(f"{given.name}: reading")
        batch = ""
        try:
            batch = given.digest()
            known = self._known(given.schema, batch)
            if known is not None:
                return report_of(known, given.schema.name, given.name, "known")
            checked = self._checked(given)
            if given.schema is EVENT_SCHEMA:
                return self._publish_events(checked, batch)
            return self._publish_whole(checked, given.schema, batch)
        except DataError as error:
            return self._set_aside(given, batch, error)

    def _known(self, schema: TableSchema, batch: str) -> LandedFile | None:
        """Return what the lake says of this content when it has it and nothing is to be done, else None."""
        if schema is EVENT_SCHEMA:
            self.brought.add(_events_partition(batch))
            return None if self.replace else self._known_events(_events_partition(batch))
        newest = self._newest_catalog() if schema is CATALOG_SCHEMA else ""
        if newest.endswith(f"-{batch}"):
            return LandedTable.from_meta(self.lake.manifest(batches.CATALOG_TABLE, newest).meta)
        return None

    def _known_events(self, partition: str) -> LandedFile | None:
        """Return the `landing-files` entry of a batch that is in the lake with all its days, else None."""
        if self.lake.digest(batches.FILES_TABLE, partition) is None:
            return None
        entry = LandedFile.from_meta(self.lake.manifest(batches.FILES_TABLE, partition).meta)
        for day in entry.days:
            meta = self.lake.manifest(batches.EVENTS_TABLE, f"{day}/{partition}").meta
            if LandedDay.from_meta(meta).origin == WITHDRAWN:
                return None
        return entry

    def _newest_catalog(self) -> str:
        """Return the partition `<sequence>-<batch>` of the catalog that landed last, or an empty string."""
        return next(reversed(self.lake.partitions(batches.CATALOG_TABLE)), "")

    def _checked(self, given: _Given) -> batches.LandedBatch:
        """Read and check a file; a value that was not foreseen costs this file, not those after it."""
        events = given.schema is EVENT_SCHEMA
        hash_column = self.pseudonymizer.hash_column if events else None
        try:
            raw = given.read()
            stored = partial(batches.as_stored, hash_column=hash_column)
            split = split_rows(raw, given.schema, now=self.now if events else None, stored=stored)
            nobodys = bool(split.typed.num_rows) and set(split.reasons.to_pylist()) == {"nobody"}
            if not split.kept.num_rows and not nobodys:  # a file of guests alone is a whole one
                raise no_usable_row(raw, split.reasons)
            return batches.batch_of(raw, split, hash_column, self.pseudonymizer.hash)
        except CaravanError:
            raise
        except Exception as error:
            # where it happened, not what it says: that may quote a shopper's data
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s could not be landed: %s\n%s", given.name, type(error).__name__, where)
            raise UnreadableFile(
                f"{given.name} holds something that cannot be read ({type(error).__name__})",
                remedy="see the log for where, and export it again without it",
            ) from error

    def _publish_events(self, checked: batches.LandedBatch, batch: str) -> FileReport:
        """Publish events by day; with `replace`, instead of what earlier files brought for those days."""
        self.progress(f"{checked.name}: {checked.kept.num_rows:,} of {checked.read:,} rows kept, writing")
        if self.replace:
            self._withdraw(checked)
        entry = batches.publish_batch(self.lake, checked, _events_partition(batch), origin="file")
        return report_of(entry, EVENT_SCHEMA.name, checked.name, "landed", checked.dropped)

    def _withdraw(self, checked: batches.LandedBatch) -> None:
        """Empty what files before this call brought for the days of this one."""
        days = {batches.day_name(d) for d in set(batches.day_numbers(checked.kept.column("event_time")).tolist())}
        withdrawn = LandedDay(origin=WITHDRAWN, file="", families={}, values={}, read=0, kept=0).to_meta()
        empty, nothing = batches.LANDED.empty_table(), checked.quarantined.slice(0, 0)
        for existing in self.lake.partitions(batches.EVENTS_TABLE):
            day, _, other = existing.partition("/")
            if day in days and other not in self.brought and other.startswith("events-"):
                batches.publish_tables(self.lake, batches.EVENTS_TABLE, existing, empty, nothing, withdrawn)

    def _publish_whole(self, checked: batches.LandedBatch, schema: TableSchema, batch: str) -> FileReport:
        """Publish a catalog or judgments, which replace those before."""
        table, partition, order = JUDGMENTS_TABLE, JUDGMENTS_PARTITION, "query"
        if schema is CATALOG_SCHEMA:
            newest = self._newest_catalog()
            number = int(newest.split("-")[0]) + 1 if newest else 1
            table, partition, order = batches.CATALOG_TABLE, f"{number:06d}-{batch}", "item_id"
        rows = checked.kept.drop_columns("record").sort_by([(order, "ascending"), ("item_id", "ascending")])
        landed = LandedTable(
            file=checked.name,
            families=checked.families,
            read=checked.read,
            kept=rows.num_rows,
            quarantined=counts(checked.quarantined.column("reason")),
            days=[],
            dropped=len(checked.dropped),
        )
        before = self.lake.digest(table, partition)
        after = batches.publish_tables(
            self.lake, table, partition, rows.combine_chunks(), checked.quarantined, landed.to_meta()
        )
        status = "known" if before == after else "landed"
        return report_of(landed, schema.name, checked.name, status, checked.dropped)

    def _set_aside(self, given: _Given, batch: str, error: DataError) -> FileReport:
        """Keep the name and the reason of a refused file in the lake, unless it could not even be opened."""
        if batch:
            note = pa.table({"file": [given.name], "reason": [str(error)]})
            batches.publish_tables(self.lake, batches.REFUSED_TABLE, f"{given.schema.name}-{batch}", note, None, {})
        return FileReport(name=given.name, table=given.schema.name, status="refused", reason=str(error))


def _events_partition(batch: str) -> str:
    return f"events-{batch}"
