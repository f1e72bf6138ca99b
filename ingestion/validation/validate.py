"""Landed rows of a day -> the partition that everything downstream reads, or a refusal that says what to do.

A day is published whole or not at all. What it is made of is written into its manifest, so a rerun on the same
landed batches has nothing to do, and one that is made again has the same bytes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from artifacts.lake import Lake
from artifacts.publish import fetch, read_manifest
from contracts.errors import DataError, EmptyPartition, NothingLanded, SchemaChanged
from contracts.settings import settings
from ingestion.landing import batches
from ingestion.landing.event_log import collect
from ingestion.landing.pinned_catalog import pin_catalog
from ingestion.rules.quarantine import counts
from ingestion.validation.merge import merge

EVENTS_TABLE = "events"
#: Without a value in these a day is of no use.
ESSENTIAL = ("event_id", "event_time", "user_id", "kind", "item_id")
#: A partition of which a larger share is quarantined is refused.
MAX_QUARANTINED = 0.5
_FEW = 20
#: How far back a run looks for rows that landed after their day was published; older ones wait for a run of their day.
LATE_DAYS = 40
_WORKERS = 8
_REMEDY = (
    "repair the export and land it with `caravan ingest --replace`, or let the change pass with "
    "`caravan validate {day} --accept-changes`"
)
_In = TypeVar("_In")
_Out = TypeVar("_Out")
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
    state = _state(lake, day)
    changed = [d for d in state.days if d not in state.published or not state.same(d)]
    abouts = dict(zip(changed, _parallel(lambda d: _abouts(lake, state.landed[d]), changed), strict=True))
    accepted = {d: m["columns"] for d, m in state.published.items() if m.get("columns") and d not in changed}
    errors: dict[str, DataError] = {}
    for current in changed:
        try:
            accepted[current] = _accept(current, abouts[current], accepted, accept_changes=accept_changes)
        except DataError as error:
            errors[current] = error

    def make(current: str) -> DayReport | DataError:
        if current in errors:
            return errors[current]
        about = {"batches": state.landed[current], "columns": accepted[current]}
        before = state.published.get(current)
        try:
            return _publish_day(
                lake, current, about, abouts[current], before,
                accept_changes=accept_changes, max_quarantined=max_quarantined,
            )  # fmt: skip
        except DataError as error:
            return error

    made = dict(zip(changed, _parallel(make, changed), strict=True))
    skipped = _skipped(made, day)
    found = made.get(day)
    own = found if isinstance(found, DayReport) else _report(day, state.published[day], written=False)
    if least_known is None:
        least_known = settings().catalog_known
    digest, items = pin_catalog(lake, day, accept_changes=accept_changes, least_known=least_known, events=EVENTS_TABLE)
    return replace(
        own,
        catalog_digest=digest,
        catalog_items=items,
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


@dataclass(frozen=True)
class _State:
    """What has landed and what is published, for the days that a run looks at."""

    days: list[str]
    landed: dict[str, dict[str, str]]  # day -> batch -> digest
    published: dict[str, dict[str, Any]]  # day -> meta of its manifest, and its digest

    def same(self, day: str) -> bool:
        """Check whether the published day is made of exactly what has landed."""
        return bool(self.published[day]["batches"] == self.landed[day])


def _state(lake: Lake, day: str) -> _State:
    """Look at `day`, every landed day before it that is not published, and the LATE_DAYS last ones."""
    by_day: dict[str, list[str]] = {}
    for name in lake.partitions(batches.EVENTS_TABLE):
        own, _, batch = name.partition("/")
        if own <= day:
            by_day.setdefault(own, []).append(batch)
    published = [d for d in lake.partitions(EVENTS_TABLE) if d <= day]
    if day not in by_day:
        raise NothingLanded(
            f"no event of {day} has landed for {lake.source}",
            remedy="bring them with `caravan ingest`, or choose a day that has some",
        )
    recent = (date.fromisoformat(day) - timedelta(days=LATE_DAYS)).isoformat()
    there = set(published)
    days = [d for d in sorted(by_day) if d not in there or d >= recent]
    wanted = {d for d in days if d in there}
    for current in days:  # what the first of them is compared with
        before = bisect_left(published, current) - 1
        if before >= 0:
            wanted.add(published[before])
    names = [(d, b) for d in days for b in by_day[d]]
    digests = _parallel(lambda n: lake.digest(batches.EVENTS_TABLE, "/".join(n)), names)
    landed: dict[str, dict[str, str]] = {d: {} for d in days}
    for (own, batch), digest in zip(names, digests, strict=True):
        landed[own][batch] = str(digest)
    order = sorted(wanted)
    manifests = _parallel(lambda d: lake.manifest(EVENTS_TABLE, d), order)
    metas = {d: {**m.meta, "digest": m.digest} for d, m in zip(order, manifests, strict=True)}
    return _State(days, landed, metas)


def _parallel(work: Callable[[_In], _Out], values: Iterable[_In]) -> list[_Out]:
    """Run `function` on all in parallel: requests to the store take their time, not ours."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(work, values))


def _abouts(lake: Lake, batches: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the landed batches of a day say about themselves, in the order of their names."""
    return [read_manifest(lake.store, batches[b]).meta for b in sorted(batches)]


def _accept(
    day: str, abouts: list[dict[str, Any]], accepted: dict[str, dict[str, str]], *, accept_changes: bool
) -> dict[str, str]:
    """Return the columns of the day, compared with those of the last accepted day before it."""
    since = max((d for d in accepted if d < day), default=None)
    columns = _columns(abouts)
    if columns is None:
        return accepted[since] if since else {}
    if since and not accept_changes:
        _refuse_changes(day, columns, since, accepted[since])
    return columns


def _publish_day(
    lake: Lake,
    day: str,
    about: dict[str, Any],
    abouts: list[dict[str, Any]],
    before: dict[str, Any] | None,
    *,
    accept_changes: bool,
    max_quarantined: float,
) -> DayReport:
    folders = [fetch(lake.store, digest, lake.cache) for _, digest in sorted(about["batches"].items())]
    kept, aside = merge(folders, [a["file"] for a in abouts])
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
    if read >= _FEW and aside.num_rows > max_quarantined * read:
        top = max(counts(aside.column("reason")).items(), key=lambda p: p[1])
        raise DataError(
            f"{aside.num_rows} of {read} rows of {day} are quarantined, mostly {top[0]} ({top[1]})",
            remedy="repair the export and land it with `caravan ingest --replace`, or allow more with "
            f"`caravan validate {day} --max-quarantined SHARE` (now {max_quarantined})",
        )
    about = {**about, "read": read, "kept": kept.num_rows, "quarantined": counts(aside.column("reason"))}
    digest = batches.publish_tables(lake, EVENTS_TABLE, day, kept, aside, about)
    return _report(day, {**about, "digest": digest}, written=before is None or before["digest"] != digest)


def _report(day: str, about: dict[str, Any], *, written: bool) -> DayReport:
    return DayReport(
        day=day,
        digest=about["digest"],
        read=about["read"],
        kept=about["kept"],
        quarantined=about["quarantined"],
        written=written,
    )


def _columns(abouts: list[dict[str, Any]]) -> dict[str, str] | None:
    """Return what the day's files had, together; engines' logs always have everything and say nothing here."""
    columns: dict[str, str] | None = None
    for about in abouts:
        if about["origin"] == "file":
            columns = columns or {}
            for name, kind in about["families"].items():
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
