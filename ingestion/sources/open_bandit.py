"""Reads the Open Bandit data set: impressions of a fashion shop under two policies, with clicks and propensities.

Files `<policy>_<campaign>.csv` and `<policy>_item_context.csv`. A row is an `impression` (position from 0, the
propensity as `value`) and, where it was clicked, a `click` one second later. There is no shopper id: rows that
share all user features count as one shopper. The policy is the start of every `event_id`.
"""

from __future__ import annotations

import hashlib
import re
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
    read_text_file,
    skipped,
    untitled,
    with_unlisted,
)

_LOG = re.compile(r"^([a-z0-9]+)_([a-z0-9]+)\.csv(\.gz)?$")
_CONTEXT = re.compile(r"^([a-z0-9]+)_item_context\.csv(\.gz)?$")


class OpenBandit(Source):
    """All logs of a folder; with several campaigns the items are named `<campaign>-<item>`."""

    name = "open-bandit"

    def files(self, directory: Path) -> list[Path]:
        logs = sorted(p for p in directory.glob("*.csv*") if _LOG.match(p.name))
        if not logs:
            raise UnreadableFile(f"{directory} has no <policy>_<campaign>.csv", remedy="name the folder of the logs")
        return [*logs, *sorted(p for p in directory.glob("*.csv*") if _CONTEXT.match(p.name))]

    def convert(self, directory: Path) -> ConvertedDataset:
        files = self.files(directory)
        logs = [(m.group(1), m.group(2), p) for p in files if (m := _LOG.match(p.name))]
        several = len({campaign for _, campaign, _ in logs}) > 1
        read_files: list[RawFile] = []
        tables = []
        for policy, campaign, path in logs:
            raw = _read_log(path)
            read_files.append(raw)
            tables.append(_events(policy, campaign, raw, f"{campaign}-" if several else ""))
        events = pa.concat_tables(tables).combine_chunks()
        catalog = catalog_table(0)
        if not several:
            for path in (p for p in files if _CONTEXT.match(p.name)):
                raw = read_text_file(path, ("item_id",))
                read_files.append(raw)
                fresh = _catalog(raw.table)
                known = pc.is_in(fresh.column("item_id"), catalog.column("item_id").combine_chunks())
                catalog = pa.concat_tables([catalog, fresh.filter(pc.invert(known))]).combine_chunks()
        catalog = with_unlisted(catalog, events.column("item_id").combine_chunks())
        return ConvertedDataset(events=events, catalog=catalog, skipped=skipped(*read_files))


def _read_log(path: Path) -> RawFile:
    users = tuple(f"user_feature_{i}" for i in range(16))
    return read_text_file(path, ("timestamp", "item_id", "position", "click"), ("propensity_score", *users))


def _events(policy: str, campaign: str, raw: RawFile, prefix: str) -> pa.Table:
    table, rows = raw.table, raw.table.num_rows
    ids = event_ids(f"{policy}-{campaign}", raw.numbers)
    times = convert(column(table, "timestamp"), TIMESTAMP).column
    positions = convert(column(table, "position"), pa.int32()).column
    items = column(table, "item_id")
    shown = {
        "user_id": _shoppers(table),
        "item_id": pc.binary_join_element_wise(prefix, items, "") if prefix else items,
        "position": pc.subtract(positions, pa.scalar(1, pa.int32())),
    }
    impressions = events_table(
        rows,
        event_id=ids,
        event_time=times,
        kind=pa.array(["impression"] * rows, pa.string()),
        value=convert(column(table, "propensity_score"), pa.float64()).column,
        **shown,
    )
    clicked = pc.fill_null(convert(column(table, "click"), pa.bool_()).column, False)
    number = pc.sum(clicked).as_py() or 0
    clicks = events_table(
        number,
        event_id=pc.binary_join_element_wise(ids.filter(clicked), "click", "-"),
        event_time=pc.add(times.filter(clicked), pa.scalar(1_000_000, pa.duration("us"))),
        kind=pa.array(["click"] * number, pa.string()),
        **{name: values.filter(clicked) for name, values in shown.items()},
    )
    return pa.concat_tables([impressions, clicks])


def _shoppers(table: pa.Table) -> pa.Array:
    """Return one name per combination of user features, null where there is none."""
    features = [n for n in table.column_names if n.startswith("user_feature_")]
    if not features:
        return pa.nulls(table.num_rows, pa.string())
    joined = pc.binary_join_element_wise(*(pc.fill_null(column(table, n), "") for n in features), "|")
    encoded = pc.dictionary_encode(joined)
    names = [f"group-{hashlib.blake2b(v.encode(), digest_size=12).hexdigest()}" for v in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def _catalog(items: pa.Table) -> pa.Table:
    features = [n for n in items.column_names if n.startswith("item_feature_")]
    rows = items.select(features).to_pylist() if features else [{}] * items.num_rows
    identifiers = column(items, "item_id")
    return catalog_table(
        items.num_rows,
        item_id=identifiers,
        title=untitled(identifiers),
        category=column(items, "item_feature_1"),
        attributes=pa.array([as_json(r) if r else None for r in rows], pa.string()),
    )
