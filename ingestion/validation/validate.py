"""Publishes the landed rows of a day as the partition that everything downstream reads, or refuses with a remedy.

A day is published whole or not at all. What it is made of is written into its manifest, so a rerun on the same
landed batches has nothing to do, and one that is made again has the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from artifacts.lake import Lake
from artifacts.publish import fetch
from contracts.errors import DataError, EmptyPartition, LargeChange, SchemaChanged
from contracts.settings import settings
from ingestion.landing import batches
from ingestion.landing.ahead import take_due
from ingestion.landing.event_log import collect
from ingestion.landing.manifests import LandedDay
from ingestion.rules import machines as machine_rule
from ingestion.rules.quarantine import counts
from ingestion.rules.reasons import EVENT_REASONS, HARMLESS
from ingestion.validation.changes import (
    DayFigures,
    at_rest,
    figures_of_events,
    large_changes,
    near,
    refuse,
)
from ingestion.validation.columns import REMEDY, accepted_columns
from ingestion.validation.merge import merge
from ingestion.validation.pinned_catalog import CatalogCorrection, pin_catalog
from ingestion.validation.report import DayReport
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
_DAY = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")


def validate_day(
    lake: Lake,
    day: str,
    *,
    event_log: Path | None = None,
    accept_changes: bool = False,
    max_quarantined: float = MAX_QUARANTINED,
    least_known: float | None = None,
    correction: CatalogCorrection | None = None,
    now: datetime | None = None,
) -> DayReport:
    """Publish `events/<day>` and `catalog/<day>`, and every earlier landed day that is not published as it is.

    Raises NothingLanded, EmptyPartition (nothing usable), SchemaChanged (a column lost, retyped or all empty;
    `accept_changes` lets it pass), LargeChange (the day or its catalog is far from what was usual; the same),
    UnknownItems (the catalog knows a smaller share of the day's items than `least_known`, by default the setting
    CARAVAN_CATALOG_KNOWN) or DataError (a larger share than `max_quarantined` is bad). An earlier day without a usable
    row, or far from what was usual, is skipped and named; any other trouble with one is raised after the rest is done.

    `correction` pins the newest catalog for a day that has one already, and stays in the record.
    """
    _checked_day(day)
    now = now or batches.utc_now()
    early = take_due(lake, now)
    collected = collect(lake, event_log, now=now) if event_log else []
    found = survey_days(lake, day, now.date().isoformat())
    parts = in_parallel(lambda d: read_landed(lake, found.landed[d]), found.changed)
    columns = accepted_columns(found, parts, accept_changes=accept_changes)

    history = {d: p.about() for d, p in found.published.items()}

    def make(current: str) -> DayReport | DataError:
        accepted = columns[current]
        if isinstance(accepted, DataError):
            return accepted
        try:
            return _publish_day(
                lake, found, current, parts[current], accepted, history,
                accept_changes=accept_changes, max_quarantined=max_quarantined,
            )  # fmt: skip
        except DataError as error:
            return error

    made = in_parallel(make, [d for d in found.changed if d != day])
    history |= {
        d: DayFigures(numbers=r.figures, changes=r.changes) for d, r in made.items() if isinstance(r, DayReport)
    }
    if day in found.changed:
        made[day] = make(day)  # judged by all days before it
    skipped = _skipped(made, day)
    own = made.get(day)
    if not isinstance(own, DayReport):  # nothing changed, for _skipped raises the error of this day
        own = _report(day, found.published[day], found.digests[day], written=False)
    if least_known is None:
        least_known = settings().catalog_known
    pinned = pin_catalog(
        lake, day, accept_changes=accept_changes, least_known=least_known, events=EVENTS_TABLE, correction=correction
    )
    return replace(
        own,
        catalog_digest=pinned.digest,
        catalog_items=pinned.items,
        catalog_notes=pinned.notes,
        items=pinned.fit,
        early=early,
        caught_up=tuple(r for d, r in made.items() if d != day and isinstance(r, DayReport) and r.written),
        skipped=skipped,
        collected=sum(f.status == "landed" for f in collected),
    )


def _skipped(made: Mapping[str, DayReport | DataError], day: str) -> dict[str, str]:
    """Return earlier days without a usable row or far from the usual, and why; raise any other error."""
    skipped: dict[str, str] = {}
    for current, result in made.items():
        if isinstance(result, DataError):
            if current == day or not isinstance(result, EmptyPartition | LargeChange):
                raise result
            skipped[current] = str(result) if isinstance(result, LargeChange) else result.what
    return skipped


def _checked_day(day: str) -> None:
    try:
        if not _DAY.match(day):
            raise ValueError
        datetime.strptime(day, "%Y-%m-%d")
    except ValueError:
        raise DataError(f"{day!r} is not a day", remedy="give it as YYYY-MM-DD") from None


def _publish_day(
    lake: Lake,
    found: DaySurvey,
    day: str,
    parts: list[LandedDay],
    columns: dict[str, str],
    history: Mapping[str, DayFigures],
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
            raise SchemaChanged(f"{name} is empty in every row of {day}", remedy=REMEDY.format(day=day))
    undated = dict(sum((Counter(p.undated) for p in parts), Counter[str]()))
    machines = machine_rule.find_machines(kept)  # of this day; training looks again, over all days
    _refuse_bad_rows(day, kept.num_rows, counts(aside.column("reason")), undated, max_quarantined)
    bad = Counter({r: n for r, n in counts(aside.column("reason")).items() if r not in HARMLESS}) + Counter(undated)
    figures = figures_of_events(kept, bad.total())
    changes = _accepted_changes(lake, found, day, figures, history, accept_changes=accept_changes)
    published = PublishedDay(
        figures=figures,
        changes=changes,
        open=day >= found.today,
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


def _accepted_changes(
    lake: Lake,
    found: DaySurvey,
    day: str,
    figures: dict[str, float],
    history: Mapping[str, DayFigures],
    *,
    accept_changes: bool,
) -> list[dict[str, Any]]:
    """Return the large changes of a day as its manifest keeps them. Raises LargeChange where nobody lets them pass."""
    s, former = settings(), found.published.get(day)
    if former is not None and not former.open and near(figures, former.about().numbers, s):
        return former.changes  # a few late rows
    large = large_changes(day, figures, history, least=s.day_least, s=s, today=found.today)
    if large and not accept_changes:
        refuse(lake, day, day, large, "bring what is missing with `caravan ingest`, or whole files with `--replace`")
    return at_rest(large)


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


def _report(day: str, published: PublishedDay, digest: str, *, written: bool) -> DayReport:
    return DayReport(
        day=day,
        digest=digest,
        read=published.read,
        kept=published.kept,
        quarantined=published.quarantined,
        undated=published.undated,
        machines=published.machines,
        figures=dict(published.about().numbers),
        changes=published.changes,
        written=written,
    )
