"""Lands files in the lake's landing tables. Nothing that names a person gets past this step.

A file lands whole or is set aside with its name and the reason, and the others still go in. Landing the same
content twice lands nothing new. `validate_day` then makes the partitions that the rest of the chain reads.

`_Lander.land_one` is the way of one file from bytes to a table; what it calls follows in that order.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from artifacts.lake import Lake
from contracts.errors import CaravanError, DataError, UnreadableFile
from contracts.settings import settings
from ingestion.landing import batches
from ingestion.landing.ahead import drop_ahead, take_due
from ingestion.landing.given import ContractFile, GivenTable, converted_tables
from ingestion.landing.manifests import WITHDRAWN, LandedDay, LandedFile, LandedTable
from ingestion.landing.replacing import ReplacedDay, ids_by_day, merge_ids, plan_replacement
from ingestion.landing.report import FileReport, LandingReport, report_of
from ingestion.landing.table_reader import no_usable_row
from ingestion.pseudonymize import Pseudonymizer
from ingestion.rules.quarantine import counts
from ingestion.rules.reasons import FOR_LATER
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA, JUDGMENT_SCHEMA, TableSchema
from ingestion.rules.split import QuarantineSplit, split_rows
from ingestion.sources import Source

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
#: Whether files replace others; "confirmed": also where a day loses many rows by it.
Replace = bool | Literal["confirmed"]
#: A file all of whose rows are later than this is not early, but wrong.
_SOON = timedelta(days=2)
#: Rows that `--replace` keeps in memory from looking at all files until it lands them; others are read twice.
_KEPT_ROWS = 2_000_000
JUDGMENTS_TABLE, JUDGMENTS_PARTITION = "judgments", "all"


def land(
    lake: Lake,
    events: Iterable[Path] = (),
    catalog: Path | None = None,
    judgments: Path | None = None,
    *,
    pseudonymizer: Pseudonymizer,
    now: datetime | None = None,
    replace: Replace = False,
    progress: Progress | None = None,
) -> LandingReport:
    """Land files in the contract; a file that cannot be used is reported as refused and the others go in.

    `replace`: what other files brought for the days that these are about is withdrawn. Raises LargeChange, and lands
    nothing, when that is more than a little, unless it is "confirmed". Rows dated later than `now` (default: the clock)
    wait in quarantine, and those of earlier calls whose time has come are taken in.
    """
    lander = _Lander(lake, pseudonymizer, now, progress, replace=replace)
    given = [ContractFile(path, EVENT_SCHEMA) for path in events]
    if catalog is not None:
        given.append(ContractFile(catalog, CATALOG_SCHEMA))
    if judgments is not None:
        given.append(ContractFile(judgments, JUDGMENT_SCHEMA))
    return lander.land_all(given)


def land_source(
    lake: Lake,
    source: Source,
    directory: Path,
    *,
    pseudonymizer: Pseudonymizer,
    now: datetime | None = None,
    replace: Replace = False,
    progress: Progress | None = None,
) -> LandingReport:
    """Land a public data set through its adapter. Raises UnreadableFile when the folder is not of that format."""
    lander = _Lander(lake, pseudonymizer, now, progress, replace=replace)
    files = source.files(directory)
    content = batches.content_digest(files, source.name, str(source.version))
    lander.progress(f"{source.name}: converting {len(files)} files")
    tables = converted_tables(source.name, source.convert(directory), content)
    return lander.land_all(tables)


class _Lander:
    """One call's circumstances: where to, with which key, at what time."""

    def __init__(
        self,
        lake: Lake,
        pseudonymizer: Pseudonymizer,
        now: datetime | None,
        progress: Progress | None,
        *,
        replace: Replace,
    ) -> None:
        self.lake = lake
        self.pseudonymizer = pseudonymizer
        self.now = now or batches.utc_now()
        self.replace = replace
        self.plan: tuple[ReplacedDay, ...] = ()
        self.looked_at: dict[str, batches.LandedBatch] = {}
        self.progress = progress or (lambda _: None)
        self.brought: set[str] = set()  # batches of this call, which replace others and not one another

    def land_all(self, given: Iterable[GivenTable]) -> LandingReport:
        """Take in what was waiting for its time, then land the tables one by one."""
        early = take_due(self.lake, self.now)
        if self.replace:
            given = list(given)
            self._look_at_all(given)
        files = tuple(self.land_one(one) for one in given)
        if any(reason in file.quarantined for file in files for reason in FOR_LATER):  # some of them wait now
            early = replace(take_due(self.lake, self.now), taken=early.taken)
        return LandingReport(source=self.lake.source, files=files, replaced=self.plan, early=early)

    def _look_at_all(self, given: list[GivenTable]) -> None:
        """Plan from all event files of the call together what is to be withdrawn. Raises LargeChange."""
        brought, spared = [], set()
        for one in given:
            if one.schema is EVENT_SCHEMA:
                with suppress(DataError):  # told when it is landed
                    batch = one.digest()
                    checked = self._checked(one)
                    spared.add(_events_partition(batch))
                    brought.append(ids_by_day(checked.kept))
                    if sum(c.kept.num_rows for c in self.looked_at.values()) < _KEPT_ROWS:
                        self.looked_at[batch] = checked
        ids, loss = merge_ids(brought), settings().replace_loss
        self.plan = plan_replacement(self.lake, ids, spared, largest_loss=loss, confirmed=self.replace == "confirmed")

    def land_one(self, given: GivenTable) -> FileReport:
        """Land one table, unless the lake has it; what is wrong with the file itself becomes its report."""
        self.progress(f"{given.name}: reading")
        batch = ""
        try:
            batch = given.digest()
            known = self._known(given.schema, batch)
            if known is not None:
                return report_of(known, given.schema.name, given.name, "known")
            if given.schema is EVENT_SCHEMA:
                checked = self.looked_at.pop(batch, None) or self._checked(given)
                return self._publish_events(checked, batch)
            return self._publish_whole(self._checked(given), given.schema, batch)
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
        early = any(reason in entry.quarantined for reason in FOR_LATER)
        if early and self.lake.digest(batches.AHEAD_TABLE, partition) is None:
            return None  # landed by a version that did not keep such rows
        for day in entry.days:
            meta = self.lake.manifest(batches.EVENTS_TABLE, f"{day}/{partition}").meta
            if LandedDay.from_meta(meta).origin == WITHDRAWN:
                return None
        return entry

    def _newest_catalog(self) -> str:
        """Return the partition `<sequence>-<batch>` of the catalog that landed last, or an empty string."""
        return next(reversed(self.lake.partitions(batches.CATALOG_TABLE)), "")

    def _checked(self, given: GivenTable) -> batches.LandedBatch:
        """Read and check a file; a value that was not foreseen costs this file, not those after it."""
        events = given.schema is EVENT_SCHEMA
        hash_column = self.pseudonymizer.hash_column if events else None
        try:
            raw = given.read()
            stored = partial(batches.as_stored, hash_column=hash_column)
            split = split_rows(raw, given.schema, now=self.now if events else None, stored=stored)
            nobodys = bool(split.typed.num_rows) and set(split.reasons.to_pylist()) == {"nobody"}
            # a file of guests alone is a whole one, and so is one whose clock is a time zone ahead
            if not split.kept.num_rows and not nobodys and not self._comes_soon(split):
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

    def _comes_soon(self, split: QuarantineSplit) -> bool:
        """Say whether rows wait whose time comes soon; a file of another year is a mistake."""
        if not len(split.ahead):
            return False
        times = split.typed.column("event_time").take(split.ahead)
        return bool(pc.less(pc.min(times), pa.scalar(self.now + _SOON, times.type)).as_py())

    def _publish_events(self, checked: batches.LandedBatch, batch: str) -> FileReport:
        """Publish events by day; with `replace`, instead of what earlier files brought for those days."""
        self.progress(f"{checked.name}: {checked.kept.num_rows:,} of {checked.read:,} rows kept, writing")
        if self.replace:
            self._withdraw(checked)
        entry = batches.publish_batch(self.lake, checked, _events_partition(batch), origin="file")
        return report_of(entry, EVENT_SCHEMA.name, checked.name, "landed", checked.dropped)

    def _withdraw(self, checked: batches.LandedBatch) -> None:
        """Empty what files before this call brought for the days of this one that are to be replaced."""
        days = {batches.day_name(d) for d in set(batches.day_numbers(checked.kept.column("event_time")).tolist())}
        days -= {d.day for d in self.plan if not d.withdrawn}
        drop_ahead(self.lake, days, self.brought)
        withdrawn = LandedDay(origin=WITHDRAWN, file="", families={}, values={}, read=0, kept=0).to_meta()
        empty, nothing = batches.LANDED.empty_table(), checked.quarantined.slice(0, 0)
        for existing in self.lake.partitions(batches.EVENTS_TABLE):
            day, _, other = existing.partition("/")
            if day in days and other not in self.brought and other.startswith(batches.OF_FILES):
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

    def _set_aside(self, given: GivenTable, batch: str, error: DataError) -> FileReport:
        """Keep the name and the reason of a refused file in the lake, unless it could not even be opened."""
        if batch:
            note = pa.table({"file": [given.name], "reason": [str(error)]})
            batches.publish_tables(self.lake, batches.REFUSED_TABLE, f"{given.schema.name}-{batch}", note, None, {})
        return FileReport(name=given.name, table=given.schema.name, status="refused", reason=str(error))


def _events_partition(batch: str) -> str:
    return f"{batches.OF_FILES}{batch}"
