"""Landed rows of a day -> the partition that everything downstream reads, or a refusal that says what to do.

A day is published whole or not at all. What it is made of is written into its manifest, so a rerun on the same
landed batches has nothing to do, and one that is made again has the same bytes.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.errors import DataError, EmptyPartition, SchemaChanged
from contracts.events import CATALOG, EVENTS
from ingestion import landing
from ingestion.collect import collect
from ingestion.quarantine import QUARANTINE, counts, quarantine_rows
from ingestion.schema import EVENT_SCHEMA
from ingestion.split import duplicates

EVENTS_TABLE = "events"
CATALOG_TABLE = "catalog"
#: Without a value in these a day is of no use.
ESSENTIAL = ("event_id", "event_time", "user_id", "kind", "item_id")
#: A partition of which a larger share is quarantined is refused.
MAX_QUARANTINED = 0.5
_FEW = 20
_DAY = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")


@dataclass(frozen=True, kw_only=True)
class DayReport:
    """One day: kept + quarantined = read. `written` is False when it was published before as it is."""

    day: str
    digest: str
    read: int
    kept: int
    quarantined: dict[str, int]
    written: bool
    catalog_digest: str = ""
    catalog_items: int = 0
    caught_up: tuple[DayReport, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    collected: int = 0

    def __str__(self) -> str:
        reasons = ", ".join(f"{n} {r}" for r, n in self.quarantined.items()) or "none"
        lines = [
            f"events/{self.day} {self.digest[:12]} {'written' if self.written else 'unchanged'}: "
            f"{self.read} read, {self.kept} kept, {self.read - self.kept} quarantined ({reasons})"
        ]
        if self.catalog_digest:
            lines.append(f"catalog/{self.day} {self.catalog_digest[:12]}: {self.catalog_items} items")
        if self.collected:
            lines.append(f"{self.collected} new segments of engines' event logs")
        if self.caught_up:
            lines.append(f"caught up {len(self.caught_up)} earlier days: {', '.join(r.day for r in self.caught_up)}")
        lines += [f"skipped {day}: {why}" for day, why in self.skipped.items()]
        return "\n".join(lines)


def validate_day(
    lake: Lake,
    day: str,
    *,
    event_log: Path | None = None,
    accept_changes: bool = False,
    max_quarantined: float = MAX_QUARANTINED,
    now: datetime | None = None,
) -> DayReport:
    """Publish `events/<day>` and `catalog/<day>`, and every earlier landed day that is not published as it is.

    Raises EmptyPartition (nothing usable), SchemaChanged (a column lost, retyped or all empty; `accept_changes`
    lets it pass) or DataError (a larger share than `max_quarantined` is bad). An earlier day without a usable row
    is skipped and named; any other trouble with one is raised after the rest is done.
    """
    _checked_day(day)
    collected = collect(lake, event_log, now=now) if event_log else []
    landed = _landed(lake, day)
    published = _published(lake, day, landed)
    reports: list[DayReport] = []
    skipped: dict[str, str] = {}
    trouble: DataError | None = None
    own: DayReport | None = None
    for current in sorted({*landed, day}):
        baseline = _baseline(published, current)
        try:
            report = _publish_day(
                lake, current, landed.get(current, {}), published, baseline, accept_changes, max_quarantined
            )
        except EmptyPartition as error:
            if current == day:
                trouble = error
            else:
                skipped[current] = error.what
        except DataError as error:
            trouble = trouble or error
        else:
            if current == day:
                own = report
            elif report.written:
                reports.append(report)
    if trouble is not None or own is None:
        raise trouble or EmptyPartition(f"{day} has no rows", remedy="`caravan ingest` brings them")
    digest, items = _pin_catalog(lake, day, accept_changes=accept_changes)
    return DayReport(
        **{k: getattr(own, k) for k in ("day", "digest", "read", "kept", "quarantined", "written")},
        catalog_digest=digest,
        catalog_items=items,
        caught_up=tuple(reports),
        skipped=skipped,
        collected=sum(f.status == "landed" for f in collected),
    )


def _checked_day(day: str) -> None:
    try:
        if not _DAY.match(day):
            raise ValueError
        datetime.strptime(day, "%Y-%m-%d")
    except ValueError:
        raise DataError(f"{day!r} is not a day", remedy="give it as YYYY-MM-DD") from None


def _landed(lake: Lake, last: str) -> dict[str, dict[str, str]]:
    """day -> batch -> digest, up to and including `last`."""
    names = [n for n in lake.partitions(landing.EVENTS_TABLE) if n.partition("/")[0] <= last]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda n: lake.digest(landing.EVENTS_TABLE, n), names))
    found: dict[str, dict[str, str]] = {}
    for name, digest in zip(names, digests, strict=True):
        day, _, batch = name.partition("/")
        if digest is not None:
            found.setdefault(day, {})[batch] = digest
    return found


def _published(lake: Lake, last: str, landed: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    """day -> what its manifest says, and its digest, up to and including `last`."""
    days = [d for d in lake.partitions(EVENTS_TABLE) if d <= last or d in landed]
    with ThreadPoolExecutor(8) as pool:
        manifests = list(pool.map(lambda d: lake.manifest(EVENTS_TABLE, d), days))
    return {d: {**m.meta, "digest": m.digest} for d, m in zip(days, manifests, strict=True)}


def _baseline(published: dict[str, dict[str, Any]], day: str) -> tuple[str, dict[str, str]] | None:
    """The last published day before `day`, and the columns it had."""
    for earlier in sorted((d for d in published if d < day), reverse=True):
        if published[earlier].get("columns"):
            return earlier, published[earlier]["columns"]
    return None


def _publish_day(
    lake: Lake,
    day: str,
    batches: dict[str, str],
    published: dict[str, dict[str, Any]],
    baseline: tuple[str, dict[str, str]] | None,
    accept_changes: bool,
    max_quarantined: float,
) -> DayReport:
    before = published.get(day)
    if before is not None and before["batches"] == batches:
        return _report(day, before, written=False)
    if not batches:
        raise EmptyPartition(
            f"no event of {day} has landed for {lake.source}",
            remedy="bring them with `caravan ingest`, or choose a day that has some",
        )
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda b: lake.fetch(landing.EVENTS_TABLE, f"{day}/{b}"), sorted(batches)))
    abouts = [lake.manifest(landing.EVENTS_TABLE, f"{day}/{b}").meta for b in sorted(batches)]
    kept, aside = _merge(folders, [a["file"] for a in abouts])
    read = kept.num_rows + aside.num_rows
    columns = _columns(abouts) or (baseline[1] if baseline else {})
    if not kept.num_rows:
        why = ", ".join(f"{n} {r}" for r, n in counts(aside.column("reason")).items())
        raise EmptyPartition(
            f"none of the {read} rows of {day} can be used{f' ({why})' if why else ''}",
            remedy="repair and land them again with `caravan ingest`; docs/data-contract.md explains each reason",
        )
    if not accept_changes:
        _refuse_changes(day, kept, columns, baseline)
    if read >= _FEW and aside.num_rows > max_quarantined * read:
        top = max(counts(aside.column("reason")).items(), key=lambda p: p[1])
        raise DataError(
            f"{aside.num_rows} of {read} rows of {day} are quarantined, mostly {top[0]} ({top[1]})",
            remedy=f"repair the export and land it with `caravan ingest --replace`, or allow more than "
            f"{max_quarantined:.0%}",
        )
    about = {
        "batches": batches,
        "columns": columns,
        "read": read,
        "kept": kept.num_rows,
        "quarantined": counts(aside.column("reason")),
    }
    digest = landing.publish_tables(lake, EVENTS_TABLE, day, kept, aside, about)
    published[day] = {**about, "digest": digest}
    return _report(day, published[day], written=before is None or before["digest"] != digest)


def _report(day: str, about: dict[str, Any], *, written: bool) -> DayReport:
    return DayReport(
        day=day,
        digest=about["digest"],
        read=about["read"],
        kept=about["kept"],
        quarantined=about["quarantined"],
        written=written,
    )


def _merge(folders: list[Path], names: list[str]) -> tuple[pa.Table, pa.Table]:
    """Rows of all batches by time and id, each event once; and everything quarantined."""
    parts, asides = [], []
    for folder, name in zip(folders, names, strict=True):
        rows = pq.read_table(folder / DATA, schema=landing.LANDED)
        parts.append(rows.append_column("file", pa.array([name] * rows.num_rows, pa.string())))
        asides.append(pq.read_table(folder / landing.QUARANTINED, schema=QUARANTINE))
    rows = pa.concat_tables(parts).combine_chunks()
    again = duplicates(rows.select(EVENTS.names), EVENT_SCHEMA, np.ones(rows.num_rows, bool))
    repeated = rows.filter(pa.array(again))
    for file in sorted(set(repeated.column("file").to_pylist())):
        of_file = repeated.filter(pc.equal(repeated.column("file"), file))
        reasons = pa.array(["duplicate_event_id"] * of_file.num_rows, pa.string())
        shown = of_file.select(EVENTS.names)
        asides.append(
            quarantine_rows(shown, reasons, of_file.column("record").combine_chunks(), file, lambda _: "[not hashed]")
        )
    kept = rows.filter(pa.array(~again)).select(EVENTS.names).cast(EVENTS)
    kept = kept.sort_by([("event_time", "ascending"), ("event_id", "ascending")]).combine_chunks()
    return kept, pa.concat_tables(asides)


def _columns(abouts: list[dict[str, Any]]) -> dict[str, str]:
    """What the day's files had, together; engines' logs always have everything and say nothing here."""
    columns: dict[str, str] = {}
    for about in abouts:
        if about["origin"] == "file":
            for name, kind in about["families"].items():
                columns[name] = kind if columns.get(name, "any") == "any" else columns[name]
    return columns


def _refuse_changes(
    day: str, kept: pa.Table, columns: dict[str, str], baseline: tuple[str, dict[str, str]] | None
) -> None:
    remedy = (
        "repair the export and land it with `caravan ingest --replace`, or let the change pass with "
        f"`caravan validate {day} --accept-changes`"
    )
    for name in ESSENTIAL:
        if kept.column(name).null_count == kept.num_rows:
            raise SchemaChanged(f"{name} is empty in every row of {day}", remedy=remedy)
    if baseline is None:
        return
    since, had = baseline
    lost = sorted(set(had) - set(columns))
    if lost:
        raise SchemaChanged(f"{day} has lost the column {', '.join(lost)}, which {since} had", remedy=remedy)
    for name in sorted(set(had) & set(columns)):
        if "any" not in (had[name], columns[name]) and had[name] != columns[name]:
            raise SchemaChanged(
                f"the column {name} of {day} is {columns[name]}, on {since} it was {had[name]}", remedy=remedy
            )


def _pin_catalog(lake: Lake, day: str, *, accept_changes: bool) -> tuple[str, int]:
    """The catalog as that day's run sees it: the last one landed when it first ran, without later items."""
    pinned = lake.digest(CATALOG_TABLE, day)
    if pinned is not None:
        return pinned, int(lake.manifest(CATALOG_TABLE, day).meta["kept"])
    landed = lake.partitions(landing.CATALOG_TABLE)
    if not landed:
        raise EmptyPartition(
            f"no catalog has landed for {lake.source}", remedy="bring one with `caravan ingest --catalog FILE`"
        )
    about = lake.manifest(landing.CATALOG_TABLE, landed[-1]).meta
    earlier = [d for d in lake.partitions(CATALOG_TABLE) if d < day]
    had = lake.manifest(CATALOG_TABLE, earlier[-1]).meta["columns"] if earlier else {}
    lost = sorted(set(had) - set(about["families"]))
    if lost and not accept_changes:
        raise SchemaChanged(
            f"the catalog has lost the column {', '.join(lost)}, which the one of {earlier[-1]} had",
            remedy=f"land a whole catalog, or let it pass with `caravan validate {day} --accept-changes`",
        )
    table = pq.read_table(lake.fetch(landing.CATALOG_TABLE, landed[-1]) / DATA, schema=CATALOG)
    end = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
    created = table.column("created_at")
    rows = table.filter(pc.fill_null(pc.less(created, pa.scalar(end, created.type)), True)).combine_chunks()
    if not rows.num_rows:
        raise EmptyPartition(
            f"no item of the catalog existed on {day}", remedy="check `created_at`, or choose a later day"
        )
    made = {"columns": about["families"], "landed": landed[-1], "read": table.num_rows, "kept": rows.num_rows}
    return landing.publish_tables(lake, CATALOG_TABLE, day, rows, None, made), rows.num_rows
