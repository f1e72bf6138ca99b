"""Files -> landing tables of the lake. Nothing that names a person gets past this step.

A file lands whole or is set aside with its name and the reason, and the others still go in. Landing the same
content twice lands nothing new. `validate_day` then makes the partitions that the rest of the chain reads.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from artifacts.lake import Lake
from contracts.errors import CaravanError, DataError, UnreadableFile
from ingestion.formats.raw_files import RawFile, printable
from ingestion.landing import batches
from ingestion.landing.batches import FileReport
from ingestion.landing.table_reader import no_usable_row, read_file
from ingestion.pseudonymize import Pseudonymizer
from ingestion.rules.quarantine import counts
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA, JUDGMENT_SCHEMA, TableSchema
from ingestion.rules.split import split_rows
from ingestion.sources import Source

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
#: Origin of a partition that another file has replaced.
WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class LandingReport:
    """All files of one call."""

    source: str
    files: tuple[FileReport, ...]

    @property
    def read(self) -> int:
        return sum(f.read for f in self.files)

    @property
    def kept(self) -> int:
        return sum(f.kept for f in self.files)

    @property
    def quarantined(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for file in self.files:
            for reason, number in file.quarantined.items():
                total[reason] = total.get(reason, 0) + number
        return dict(sorted(total.items()))

    @property
    def days(self) -> tuple[str, ...]:
        return tuple(sorted({d for f in self.files for d in f.days}))

    @property
    def refused(self) -> tuple[FileReport, ...]:
        return tuple(f for f in self.files if f.status == "refused")

    @property
    def new(self) -> int:
        """Files that were not in the lake before."""
        return sum(f.status == "landed" for f in self.files)


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

    def events(self, batch: str, name: str, read: Callable[[], RawFile]) -> FileReport:
        partition = f"events-{batch}"
        self.brought.add(partition)
        known = self._known(partition)
        if known is not None and not self.replace:
            return batches.report_of(known, EVENT_SCHEMA, name, "known")
        raw, made = self._checked(name, read, EVENT_SCHEMA)
        self.progress(f"{name}: {made.kept.num_rows:,} of {made.read:,} rows kept, writing")
        if self.replace:
            self._withdraw(made)
        batches.publish_batch(self.lake, made, partition, origin="file", about={})
        about = self.lake.manifest(batches.FILES_TABLE, partition).meta
        return batches.report_of(about, EVENT_SCHEMA, name, "landed", raw.dropped)

    def catalog(self, batch: str, name: str, read: Callable[[], RawFile]) -> FileReport:
        existing = self.lake.partitions(batches.CATALOG_TABLE)
        if existing and existing[-1].endswith(f"-{batch}"):
            about = self.lake.manifest(batches.CATALOG_TABLE, existing[-1]).meta
            return batches.report_of(about, CATALOG_SCHEMA, name, "known")
        number = int(existing[-1].split("-")[0]) + 1 if existing else 1
        made = self._checked(name, read, CATALOG_SCHEMA)
        return self._whole(*made, CATALOG_SCHEMA, batches.CATALOG_TABLE, f"{number:06d}-{batch}", "item_id")

    def judgments(self, _batch: str, name: str, read: Callable[[], RawFile]) -> FileReport:
        return self._whole(*self._checked(name, read, JUDGMENT_SCHEMA), JUDGMENT_SCHEMA, "judgments", "all", "query")

    def _checked(self, name: str, read: Callable[[], RawFile], schema: TableSchema) -> tuple[RawFile, batches.Batch]:
        """Read and check a file; a value that was not foreseen costs this file, not those after it."""
        events = schema is EVENT_SCHEMA
        hash_column = self.pseudonymizer.hash_column if events else None
        try:
            raw = read()
            stored = partial(batches.as_stored, hash_column=hash_column)
            split = split_rows(raw, schema, now=self.now if events else None, stored=stored)
            if not split.kept.num_rows:
                raise no_usable_row(raw, split.reasons)
            return raw, batches.batch_of(raw, split, hash_column, self.pseudonymizer.hash)
        except CaravanError:
            raise
        except Exception as error:
            # where it happened, not what it says: that may quote a shopper's data
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s could not be landed: %s\n%s", name, type(error).__name__, where)
            raise UnreadableFile(
                f"{name} holds something that cannot be read ({type(error).__name__})",
                remedy="see the log for where, and export it again without it",
            ) from error

    def _whole(
        self, raw: RawFile, made: batches.Batch, schema: TableSchema, table: str, partition: str, order: str
    ) -> FileReport:
        """Publish a table that replaces the one before."""
        rows = made.kept.drop_columns("record").sort_by([(order, "ascending"), ("item_id", "ascending")])
        about = {
            "file": raw.name,
            "families": raw.families,
            "read": raw.read,
            "kept": rows.num_rows,
            "quarantined": counts(made.quarantined.column("reason")),
            "days": [],
            "dropped": len(raw.dropped),
        }
        before = self.lake.digest(table, partition)
        after = batches.publish_tables(self.lake, table, partition, rows.combine_chunks(), made.quarantined, about)
        return batches.report_of(about, schema, raw.name, "known" if before == after else "landed", raw.dropped)

    def _known(self, partition: str) -> dict[str, Any] | None:
        """Return what `landing-files` says of a batch that is in the lake with all its days, else None."""
        if self.lake.digest(batches.FILES_TABLE, partition) is None:
            return None
        about = self.lake.manifest(batches.FILES_TABLE, partition).meta
        for day in about["days"]:
            if self.lake.manifest(batches.EVENTS_TABLE, f"{day}/{partition}").meta.get("origin") == WITHDRAWN:
                return None
        return about

    def _withdraw(self, made: batches.Batch) -> None:
        """Empty what files before this call brought for the days of this one."""
        days = {batches.day_name(d) for d in set(batches.day_numbers(made.kept.column("event_time")).tolist())}
        for existing in self.lake.partitions(batches.EVENTS_TABLE):
            day, _, other = existing.partition("/")
            if day in days and other not in self.brought and other.startswith("events-"):
                empty = batches.LANDED.empty_table()
                meta = {"origin": WITHDRAWN, "file": "", "families": {}, "values": {}, "read": 0, "kept": 0}
                nothing = made.quarantined.slice(0, 0)
                batches.publish_tables(self.lake, batches.EVENTS_TABLE, existing, empty, nothing, meta)

    def attempt(
        self,
        table: str,
        land_one: Callable[[str, str, Callable[[], RawFile]], FileReport],
        name: str,
        digest: Callable[[], str],
        read: Callable[[], RawFile],
    ) -> FileReport:
        """Land one file; what is wrong with the file itself becomes its report."""
        self.progress(f"{name}: reading")
        batch = ""
        try:
            try:
                batch = digest()
            except (OSError, ValueError) as error:
                raise UnreadableFile(f"{name} cannot be opened: {error}", remedy="check the path") from None
            return land_one(batch, name, read)
        except DataError as error:
            if batch:
                note = pa.table({"file": [name], "reason": [str(error)]})
                batches.publish_tables(self.lake, batches.REFUSED_TABLE, f"{table}-{batch}", note, None, {})
            return FileReport(name=name, table=table, status="refused", reason=str(error))


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
    reports = [_from_file(lander, lander.events, path, EVENT_SCHEMA) for path in events]
    if catalog is not None:
        reports.append(_from_file(lander, lander.catalog, catalog, CATALOG_SCHEMA))
    if judgments is not None:
        reports.append(_from_file(lander, lander.judgments, judgments, JUDGMENT_SCHEMA))
    return LandingReport(source=lake.source, files=tuple(reports))


def _from_file(
    lander: _Lander,
    land_one: Callable[[str, str, Callable[[], RawFile]], FileReport],
    path: Path,
    schema: TableSchema,
) -> FileReport:
    return lander.attempt(
        schema.name,
        land_one,
        printable(path.name),
        lambda: batches.content_digest([_plain(path)]),
        lambda: read_file(path, schema),
    )


def _plain(path: Path) -> Path:
    if not path.is_file():
        raise OSError("not a regular file" if path.exists() else "no such file")
    return path


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
    digest = batches.content_digest(files, source.name, str(source.version))
    lander.progress(f"{source.name}: converting {len(files)} files")
    converted = source.convert(directory)
    events = [t for t in (converted.events, converted.test_events) if t is not None]
    reports = []
    if events:
        raw = _as_raw(f"{source.name} events", pa.concat_tables(events), converted.skipped)
        reports.append(lander.attempt("events", lander.events, raw.name, lambda: digest, lambda: raw))
    parts: Sequence[tuple[str, pa.Table | None, Callable[[str, str, Callable[[], RawFile]], FileReport]]] = (
        ("catalog", converted.catalog, lander.catalog),
        ("judgments", converted.judgments, lander.judgments),
    )
    for name, table, land_one in parts:
        if table is not None:
            whole = _as_raw(f"{source.name} {name}", table, {})
            reports.append(
                lander.attempt(name, land_one, whole.name, lambda: digest, lambda whole=whole: whole)  # type: ignore[misc]
            )
    return LandingReport(source=lake.source, files=tuple(reports))


def _as_raw(name: str, table: pa.Table, skipped: dict[str, int]) -> RawFile:
    from ingestion.formats.raw_files import Refused

    refused = tuple(Refused(0, reason, 0) for reason, number in skipped.items() for _ in range(number))
    return RawFile(
        name=name,
        format="adapter",
        table=table.combine_chunks(),
        numbers=pa.array(range(1, table.num_rows + 1), pa.int64()),
        refused=refused,
        families=dict.fromkeys(table.column_names, "any"),
    )
