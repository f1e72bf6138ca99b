"""Pins the catalog as one day's run sees it, so that a rerun of the day sees the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.errors import EmptyPartition, SchemaChanged, UnknownItems
from contracts.events import CATALOG, INTERACTIONS
from contracts.settings import settings
from ingestion.landing import batches
from ingestion.landing.availability import PINNED_TABLE, newest_landed
from ingestion.landing.manifests import LandedTable
from ingestion.validation.changes import (
    ITEMS,
    WINDOW,
    DayFigures,
    at_rest,
    figures_of_catalog,
    large_changes,
    refuse,
    sentences,
)
from ingestion.validation.known_items import KnownItems, compare_items

CATALOG_TABLE = PINNED_TABLE
#: A day on which fewer different items were looked at says nothing about the catalog.
FEW_ITEMS = 20
#: Kept with a pinned catalog that a person let pass, so that the day's later runs take it too.
ACCEPTED = "unknown_items_accepted"


@dataclass(frozen=True, kw_only=True)
class CatalogCorrection:
    """Who pins the corrected catalog for a day that ran, when and why; kept with the catalog."""

    by: str
    at: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PinnedCatalog:
    """The catalog of a day: its digest, its number of items, how it fits the interactions, and what is to be told."""

    digest: str
    items: int
    fit: KnownItems
    notes: tuple[str, ...] = ()


def pin_catalog(
    lake: Lake,
    day: str,
    *,
    accept_changes: bool,
    least_known: float,
    events: str,
    correction: CatalogCorrection | None = None,
) -> PinnedCatalog:
    """Pin the catalog as that day's run sees it: the last one landed when it first ran, without later items.

    `events`: the table of clean events, published for this day. Raises UnknownItems when the catalog knows a smaller
    share than `least_known` of the items that were looked at, or has too many of them in another spelling, and
    LargeChange when it is far from the catalogs before; nothing is pinned then. `accept_changes` pins the newest
    catalog however few it knows. `correction` pins the newest one in the place of the one that the day began with.
    """
    looked_at = _looked_at(lake, events, day)
    pinned = lake.manifest(CATALOG_TABLE, day) if lake.digest(CATALOG_TABLE, day) is not None else None
    if pinned is not None and not (correction and pinned.meta.get("landed") != _newest(lake)):
        ids = pq.read_table(lake.fetch(CATALOG_TABLE, day) / DATA, columns=["item_id"]).column("item_id")
        fit = compare_items(lake, events, day, ids)
        wrong = None
        if not pinned.meta.get(ACCEPTED):
            why = "this day keeps the catalog it began with"
            wrong = _misfit(lake, day, looked_at, ids, fit, why, least_known)
        if wrong is None:
            return PinnedCatalog(
                digest=pinned.digest, items=int(pinned.meta["kept"]), fit=fit, notes=_notes(lake, day, pinned.meta)
            )
        if not accept_changes:
            raise wrong
    newest, made, table, rows = _newest_catalog(lake, day, accept_changes=accept_changes)
    ids = rows.column("item_id")
    fit = compare_items(lake, events, day, ids)
    figures = _figures(lake, day, newest, rows, fit, accept_changes=accept_changes)
    later = _known(looked_at, table.column("item_id")) >= least_known * len(looked_at)
    why = "others have a later `created_at`" if later else f"it comes from {newest.file}"
    wrong = _misfit(lake, day, looked_at, ids, fit, why, least_known)
    if wrong is not None:
        if not accept_changes:
            raise wrong
        made[ACCEPTED] = True
    made |= figures
    if correction is not None and pinned is not None:
        told = asdict(correction) | {"instead_of": pinned.digest}
        made["corrections"] = [*pinned.meta.get("corrections", []), told]
    digest = batches.publish_tables(lake, CATALOG_TABLE, day, rows, None, made)
    return PinnedCatalog(digest=digest, items=rows.num_rows, fit=fit, notes=_notes(lake, day, made))


def _figures(
    lake: Lake, day: str, newest: LandedTable, rows: pa.Table, fit: KnownItems, *, accept_changes: bool
) -> dict[str, Any]:
    """Return a catalog's numbers and large changes, as its manifest keeps them. Raises LargeChange."""
    numbers = figures_of_catalog(rows, fit.unknown / max(fit.interactions, 1))
    s = settings()
    large = large_changes(day, numbers, _history(lake, day), least=s.catalog_least, s=s, state=True)
    if large and not accept_changes:
        left = next((c for c in large if c.what == ITEMS and c.value < c.usual), None)
        what = f"{left.value:g} of {left.usual:g} items are left: the catalog" if left else "the catalog"
        remedy = f"bring the whole catalog with `caravan ingest --shop {lake.source} --catalog FILE`"
        refuse(lake, day, f"{what} of {day}, which comes from {newest.file},", large, remedy)
    return {"figures": numbers, "changes": at_rest(large)} if large else {"figures": numbers}


def _history(lake: Lake, day: str) -> dict[str, DayFigures]:
    """Return the numbers of the catalogs that were pinned for days before; of an older version's, its items."""
    before = [d for d in lake.partitions(CATALOG_TABLE) if d < day][-WINDOW:]
    found = {}
    for earlier in before:
        meta = lake.manifest(CATALOG_TABLE, earlier).meta
        numbers = {ITEMS: meta["kept"]} | dict(meta.get("figures") or {})
        found[earlier] = DayFigures(numbers=numbers, changes=meta.get("changes") or ())
    return found


def _notes(lake: Lake, day: str, meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what is on the record of a pinned catalog, and whether a newer one has landed."""
    notes = [*sentences(day, meta.get("changes") or ())]
    notes += [
        f"corrected {c['at']} by {c['by']}: {c['reason']} (it was {c['instead_of'][:12]})"
        for c in meta.get("corrections") or ()
    ]
    if meta.get("landed") != _newest(lake):
        notes.append(
            f"a newer catalog has landed since; `caravan validate {day} --source {lake.source} --correct-catalog "
            "--reason WHY` pins it for this day"
        )
    return tuple(notes)


def _newest(lake: Lake) -> str:
    return newest_landed(lake) or ""


def _newest_catalog(
    lake: Lake, day: str, *, accept_changes: bool
) -> tuple[LandedTable, dict[str, Any], pa.Table, pa.Table]:
    """Return the catalog that landed last: its entry, what is kept with it, all its items, and those of `day`."""
    landed = lake.partitions(batches.CATALOG_TABLE)
    if not landed:
        raise EmptyPartition(
            f"no catalog has landed for {lake.source}", remedy="bring one with `caravan ingest --catalog FILE`"
        )
    newest = LandedTable.from_meta(lake.manifest(batches.CATALOG_TABLE, landed[-1]).meta)
    if not accept_changes:
        _refuse_lost_columns(lake, day, newest)
    table = pq.read_table(lake.fetch(batches.CATALOG_TABLE, landed[-1]) / DATA, schema=CATALOG)
    end = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
    created = table.column("created_at")
    rows = table.filter(pc.fill_null(pc.less(created, pa.scalar(end, created.type)), True)).combine_chunks()
    if not rows.num_rows:
        raise EmptyPartition(
            f"no item of the catalog existed on {day}", remedy="check `created_at`, or choose a later day"
        )
    made = {"columns": newest.families, "landed": landed[-1], "read": table.num_rows, "kept": rows.num_rows}
    return newest, made, table, rows


def _misfit(
    lake: Lake,
    day: str,
    looked_at: pa.Array,
    ids: pa.ChunkedArray,
    fit: KnownItems,
    why: str,
    least_known: float,
) -> UnknownItems | None:
    """Return why a catalog does not fit the day's interactions, or None."""
    if fit.is_export_broken:  # the cause, where it is one, of the catalog knowing few
        return _respelled(lake, day, fit)
    if _known(looked_at, ids) < least_known * len(looked_at):
        return _refusal(lake, day, looked_at, ids, why, least_known)
    return _mostly_unknown(lake, day, fit, why) if len(looked_at) else None


def _mostly_unknown(lake: Lake, day: str, fit: KnownItems, why: str) -> UnknownItems | None:
    allowed = settings().unknown_items
    if fit.unknown <= allowed * fit.interactions:
        return None
    return UnknownItems(
        f"{fit} on {day} ({why}; {allowed:.0%} may be unknown)",
        remedy="bring the catalog of these events, or events with its identifiers (`caravan ingest --replace`); "
        f"or let it pass with `caravan validate {day} --source {lake.source} --accept-changes`",
    )


def _respelled(lake: Lake, day: str, fit: KnownItems) -> UnknownItems:
    return UnknownItems(
        f"{fit} on {day}",
        remedy="export `item_id` as text, the same in events and catalog, and land it with `caravan ingest --replace`; "
        f"or let it pass with `caravan validate {day} --source {lake.source} --accept-changes`",
    )


def _refuse_lost_columns(lake: Lake, day: str, newest: LandedTable) -> None:
    earlier = [d for d in lake.partitions(CATALOG_TABLE) if d < day]
    had = lake.manifest(CATALOG_TABLE, earlier[-1]).meta["columns"] if earlier else {}
    if lost := sorted(set(had) - set(newest.families)):
        raise SchemaChanged(
            f"the catalog has lost the column {', '.join(lost)}, which the one of {earlier[-1]} had",
            remedy=f"land a whole catalog, or let it pass with `caravan validate {day} --accept-changes`",
        )


def _looked_at(lake: Lake, events: str, day: str) -> pa.Array:
    """Return the different items of the day's interactions; none when they are too few to judge a catalog by."""
    rows = pq.read_table(lake.fetch(events, day) / DATA, columns=["kind", "item_id"])
    chosen = rows.filter(pc.is_in(rows.column("kind"), pa.array(INTERACTIONS))).column("item_id")
    items = pc.unique(chosen.drop_null())
    return items if len(items) >= FEW_ITEMS else items.slice(0, 0)


def _known(items: pa.Array, catalog: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.is_in(items, catalog.combine_chunks())).as_py() or 0)


def _refusal(
    lake: Lake, day: str, items: pa.Array, catalog: pa.ChunkedArray, why: str, least_known: float
) -> UnknownItems:
    return UnknownItems(
        f"the catalog of {day} knows {_known(items, catalog)} of the {len(items)} items that were looked at on {day} "
        f"({why}; {least_known:.0%} must be known)",
        remedy="events of another shop get a name of their own (`caravan ingest --shop NAME`); the right catalog "
        f"comes with `caravan ingest --shop {lake.source} --catalog FILE`, and a day that keeps another one takes it "
        f"with `caravan validate {day} --source {lake.source} --accept-changes`",
    )
