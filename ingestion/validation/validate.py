"""Publishes the landed rows of a day as the partition that everything downstream reads, or refuses with a remedy.

A day is published whole or not at all. What it is made of is written into its manifest, so a rerun on the same
landed batches has nothing to do, and one that is made again has the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from artifacts.lake import Lake
from artifacts.publish import fetch
from contracts.errors import DataError, EmptyPartition, SchemaChanged
from contracts.settings import settings
from ingestion.landing import batches
from ingestion.landing.event_log import collect
from ingestion.landing.known_items import KnownItems
from ingestion.landing.manifests import LandedDay
from ingestion.landing.pinned_catalog import pin_catalog
from ingestion.rules import machines as machine_rule
from ingestion.rules.quarantine import counts
from ingestion.rules.reasons import EVENT_REASONS, HARMLESS, describe
from ingestion.validation.merge import merge
from ingestion.validation.survey import (
    EVENTS_TABLE,
    DaySurvey,
    PublishedDay,
    in_parallel,
    read_landed,
    survey_days,
)

#: Without a value in these a day is of no use.
ESSENTIAL = ("event_id", "event_time", "user_id", "kind", "item_id")
#: A partition of which a larger share is quarantined is refused.
MAX_QUARANTINED = 0.5
_FEW = 20
_REMEDY = (
    "repair the export and land it with `caravan ingest --replace`, or let the change pass with "
    "`caravan validate {day} --accept-changes`"
)
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
    undated: dict[str, int] = field(default_factory=dict)
    machines: dict[str, Any] = field(default_factory=dict)
    items: KnownItems = field(default_factory=KnownItems)
    catalog_digest: str = ""
    catalog_items: int = 0
    caught_up: tuple[DayReport, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    collected: int = 0

    def __str__(self) -> str:
        reasons = _listed(self.quarantined) or "none"
        lines = [
            f"events/{self.day} {self.digest[:12]} {'written' if self.written else 'unchanged'}: "
            f"{self.read} read, {self.kept} kept, {self.read - self.kept} quarantined ({reasons})"
        ]
        if self.undated:
            lines.append(f"and rows of its files without a usable day: {_listed(self.undated)}")
        if nobodys := self.quarantined.get("nobody"):
            lines.append(
                f"{nobodys} of {self.read} rows ({nobodys / self.read:.0%}) are nobody's (guests, `undefined`): "
                "no history, no training"
            )
        if self.machines:
            lines.append(f"of this day alone, {machine_rule.describe(self.machines)}")
        lines += [f"{n} x {describe(r)}" for r, n in (self.quarantined | self.undated).items() if r not in HARMLESS]
        if self.items.unknown:
            lines.append(str(self.items))
        if self.catalog_digest:
            lines.append(f"catalog/{self.day} {self.catalog_digest[:12]}: {self.catalog_items} items")
        if self.collected:
            lines.append(f"{self.collected} new segments of engines' event logs")
        if self.caught_up:
            days = [r.day for r in self.caught_up]
            rows = sum(r.kept for r in self.caught_up)
            lines.append(f"caught up {len(days)} earlier days with {rows} rows: {days[0]} to {days[-1]}")
        lines += [f"skipped {day}: {why}" for day, why in self.skipped.items()]
        return "\n".join(lines)


def validate_day(
    lake: Lake,
    day: str,
    *,
    event_log: Path | None = None,
    accept_changes: bool = False,
    max_quarantined: float = MAX_QUARANTINED,
    least_known: float | None = None,
    now: datetime | None = None,
) -> DayReport:
    """Publish `events/<day>` and `catalog/<day>`, and every earlier landed day that is not published as it is.

    Raises NothingLanded, EmptyPartition (nothing usable), SchemaChanged (a column lost, retyped or all empty;
    `accept_changes` lets it pass), UnknownItems (the catalog knows a smaller share of the day's items than
    `least_known`, by default the setting CARAVAN_CATALOG_KNOWN) or DataError (a larger share than `max_quarantined` is
    bad). An earlier day without a usable row is skipped and named; any other trouble with one is raised after the rest
    is done.
    """
    _checked_day(day)
    collected = collect(lake, event_log, now=now) if event_log else []
    found = survey_days(lake, day)
    parts = in_parallel(lambda d: read_landed(lake, found.landed[d]), found.changed)
    columns = _accepted_columns(found, parts, accept_changes=accept_changes)

    def make(current: str) -> DayReport | DataError:
        accepted = columns[current]
        if isinstance(accepted, DataError):
            return accepted
        try:
            return _publish_day(
                lake, found, current, parts[current], accepted,
                accept_changes=accept_changes, max_quarantined=max_quarantined,
            )  # fmt: skip
        except DataError as error:
            return error

    made = in_parallel(make, found.changed)
    skipped = _skipped(made, day)
    own = made.get(day)
    if not isinstance(own, DayReport):  # nothing changed, for _skipped raises the error of this day
        own = _report(day, found.published[day], found.digests[day], written=False)
    if least_known is None:
        least_known = settings().catalog_known
    digest, items, fit = pin_catalog(
        lake, day, accept_changes=accept_changes, least_known=least_known, events=EVENTS_TABLE
    )
    return replace(
        own,
        catalog_digest=digest,
        catalog_items=items,
        items=fit,
        caught_up=tuple(r for d, r in made.items() if d != day and isinstance(r, DayReport) and r.written),
        skipped=skipped,
        collected=sum(f.status == "landed" for f in collected),
    )


def _skipped(made: Mapping[str, DayReport | DataError], day: str) -> dict[str, str]:
    """Return earlier days without a usable row, and why; raise any other error."""
    skipped: dict[str, str] = {}
    for current, result in made.items():
        if isinstance(result, DataError):
            if current == day or not isinstance(result, EmptyPartition):
                raise result
            skipped[current] = result.what
    return skipped


def _checked_day(day: str) -> None:
    try:
        if not _DAY.match(day):
            raise ValueError
        datetime.strptime(day, "%Y-%m-%d")
    except ValueError:
        raise DataError(f"{day!r} is not a day", remedy="give it as YYYY-MM-DD") from None


def _accepted_columns(
    found: DaySurvey, parts: Mapping[str, list[LandedDay]], *, accept_changes: bool
) -> dict[str, dict[str, str] | DataError]:
    """Return the columns of each changed day, or why they are refused.

    Each is compared with the last accepted day before it, which may itself be one of them.
    """
    accepted = {d: p.columns for d, p in found.published.items() if p.columns and d not in parts}
    result: dict[str, dict[str, str] | DataError] = {}
    for day in sorted(parts):
        since = max((d for d in accepted if d < day), default=None)
        columns = _columns(parts[day])
        try:
            if columns is None:
                columns = accepted[since] if since else {}
            elif since and not accept_changes:
                _refuse_changes(day, columns, since, accepted[since])
            result[day] = accepted[day] = columns
        except DataError as error:
            result[day] = error
    return result


def _publish_day(
    lake: Lake,
    found: DaySurvey,
    day: str,
    parts: list[LandedDay],
    columns: dict[str, str],
    *,
    accept_changes: bool,
    max_quarantined: float,
) -> DayReport:
    """Merge what has landed of a day and publish it, unless it is of no use."""
    folders = [fetch(lake.store, digest, lake.cache) for _, digest in sorted(found.landed[day].items())]
    kept, aside = merge(folders, [p.file for p in parts])
    read = kept.num_rows + aside.num_rows
    if not kept.num_rows:
        why = ", ".join(f"{n} {r}" for r, n in counts(aside.column("reason")).items())
        raise EmptyPartition(
            f"none of the {read} rows of {day} can be used{f' ({why})' if why else ''}",
            remedy="repair and land them again with `caravan ingest`; docs/data-contract.md explains each reason",
        )
    for name in () if accept_changes else ESSENTIAL:
        if kept.column(name).null_count == kept.num_rows:
            raise SchemaChanged(f"{name} is empty in every row of {day}", remedy=_REMEDY.format(day=day))
    undated = dict(sum((Counter(p.undated) for p in parts), Counter[str]()))
    machines = machine_rule.find_machines(kept)  # of this day; training looks again, over all days
    _refuse_bad_rows(day, kept.num_rows, counts(aside.column("reason")), undated, max_quarantined)
    published = PublishedDay(
        batches=found.landed[day],
        columns=columns,
        read=read,
        kept=kept.num_rows,
        quarantined=counts(aside.column("reason")),
        undated=undated,
        machines=machines.to_dict() if len(machines) else {},
    )
    digest = batches.publish_tables(lake, EVENTS_TABLE, day, kept, aside, published.to_meta())
    return _report(day, published, digest, written=found.digests.get(day) != digest)


def _refuse_bad_rows(
    day: str, kept: int, quarantined: dict[str, int], undated: dict[str, int], max_quarantined: float
) -> None:
    """Raise DataError when too many rows are bad; those of its files that have no usable day count like its own."""
    bad = Counter({r: n for r, n in quarantined.items() if r not in HARMLESS}) + Counter(undated)
    total = kept + bad.total()
    if total < _FEW or bad.total() <= max_quarantined * total:
        return
    top, number = bad.most_common(1)[0]
    raise DataError(
        f"{bad.total()} of {total} rows of {day} are quarantined, mostly {top} ({number}): {EVENT_REASONS[top]}",
        remedy="repair the export and land it with `caravan ingest --replace`, or allow more with "
        f"`caravan validate {day} --max-quarantined SHARE` (now {max_quarantined})",
    )


def _listed(found: dict[str, int]) -> str:
    return ", ".join(f"{n} {r}" for r, n in found.items())


def _report(day: str, published: PublishedDay, digest: str, *, written: bool) -> DayReport:
    return DayReport(
        day=day,
        digest=digest,
        read=published.read,
        kept=published.kept,
        quarantined=published.quarantined,
        undated=published.undated,
        machines=published.machines,
        written=written,
    )


def _columns(parts: list[LandedDay]) -> dict[str, str] | None:
    """Return what the day's files had, together; engines' logs always have everything and say nothing here."""
    columns: dict[str, str] | None = None
    for part in parts:
        if part.origin == "file":
            columns = columns or {}
            for name, kind in part.families.items():
                columns[name] = kind if columns.get(name, "any") == "any" else columns[name]
    return columns


def _refuse_changes(day: str, columns: dict[str, str], since: str, had: dict[str, str]) -> None:
    lost = sorted(set(had) - set(columns))
    if lost:
        raise SchemaChanged(
            f"{day} has lost the column {', '.join(lost)}, which {since} had", remedy=_REMEDY.format(day=day)
        )
    for name in sorted(set(had) & set(columns)):
        if "any" not in (had[name], columns[name]) and had[name] != columns[name]:
            raise SchemaChanged(
                f"the column {name} of {day} is {columns[name]}, on {since} it was {had[name]}",
                remedy=_REMEDY.format(day=day),
            )
