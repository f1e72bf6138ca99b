"""Lands an engine's event log. Its lines are hashed already and were checked when they came in.

A segment `<day>/<engine>-<n>.jsonl` only grows. Each run lands its whole lines so far as one batch, which
replaces the shorter one of the run before; a last line without its end is still being written, or never will be.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.lake import Lake
from contracts.region_paths import IMPRESSION_LOG
from contracts.settings import settings
from ingestion.formats.columns import Mask, mask
from ingestion.formats.json_lines import parse_json_lines
from ingestion.formats.raw_files import RawFile
from ingestion.landing import batches
from ingestion.landing.manifests import LandedSegment
from ingestion.landing.report import FileReport, report_of
from ingestion.pseudonymize import PERSONAL, PSEUDONYM, keep_pseudonym
from ingestion.rules.schema import EVENT_SCHEMA
from ingestion.rules.split import QuarantineSplit, split_rows

_SEGMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.jsonl$")
#: A segment spans midnights, and the oldest and the newest event that the door takes fall on days of their own.
_MIDNIGHTS = 3
_FOLDER = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")


def collect(lake: Lake, event_log: Path, *, now: datetime | None = None) -> list[FileReport]:
    """Land what engines logged for this lake's source, the impressions beside `event_log` too.

    Lines of other sources are left alone.
    """
    reports = []
    for path in sorted(
        p for folder in (event_log, event_log.with_name(IMPRESSION_LOG)) for p in folder.glob("*/*.jsonl")
    ):
        if _FOLDER.match(path.parent.name) and _SEGMENT.match(path.name) and path.is_file():
            report = _segment(lake, path, now or batches.utc_now())
            if report is not None:
                reports.append(report)
    return reports


def _segment(lake: Lake, path: Path, now: datetime) -> FileReport | None:
    partition = f"log-{path.parent.name}-{path.stem}"
    name = f"{path.parent.name}/{path.name}"
    known = None
    if lake.digest(batches.FILES_TABLE, partition) is not None:
        known = LandedSegment.from_meta(lake.manifest(batches.FILES_TABLE, partition).meta)
        if known.bytes == path.stat().st_size:  # it only grows, so nothing of it has to be read
            return report_of(known, EVENT_SCHEMA.name, name, "known")
    data = path.read_bytes()
    data = data[: data.rfind(b"\n") + 1]
    if known is not None and known.bytes == len(data):
        return report_of(known, EVENT_SCHEMA.name, name, "known")
    parsed = parse_json_lines(_of_source(data, lake.source), EVENT_SCHEMA.arrow.names)
    if not parsed.table.num_rows and not parsed.refused:
        return None
    raw = RawFile.of_text(name, "jsonl", parsed)
    split = _few_days(_only_pseudonyms(split_rows(raw, EVENT_SCHEMA, now=now)))
    batch = batches.batch_of(raw, split, None, keep_pseudonym)
    entry = batches.publish_batch(lake, batch, partition, origin="log", log_bytes=len(data))
    return report_of(entry, EVENT_SCHEMA.name, name, "landed")


def _of_source(data: bytes, source: str) -> bytes:
    """Leave out lines of other sources, which belong to other lakes; one that cannot be read belongs to every lake."""
    mine = []
    for line in data.splitlines(keepends=True):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            mine.append(line)
            continue
        if not isinstance(value, dict) or value.get("source", source) == source:
            mine.append(line)
    return b"".join(mine)


def _only_pseudonyms(split: QuarantineSplit) -> QuarantineSplit:
    """Quarantine rows with an identifier in the clear; this step has no key to hash them with."""
    clear = np.zeros(split.typed.num_rows, bool)
    for name in PERSONAL:
        hashed = pc.match_substring_regex(split.typed.column(name), PSEUDONYM.pattern)
        clear |= ~np.asarray(pc.fill_null(hashed, True).to_numpy(), bool)
    return _aside(split, clear, "not_pseudonymous")


def _few_days(split: QuarantineSplit) -> QuarantineSplit:
    """Quarantine rows of more days than the door lets through: each day costs a partition in every table."""
    numbers = batches.day_numbers(split.typed.column("event_time"))
    kept = mask(pc.is_null(split.reasons))
    newest = np.unique(numbers[kept])[-(settings().event_days + _MIDNIGHTS) :]
    return _aside(split, kept & ~np.isin(numbers, newest), "event_time_too_late")


def _aside(split: QuarantineSplit, rows: Mask, reason: str) -> QuarantineSplit:
    """Quarantine those of `rows` that are kept, and let none of them wait for its time."""
    kept = mask(pc.is_null(split.reasons))
    return QuarantineSplit(
        kept=split.kept.filter(pa.array(~rows[kept])),
        reasons=pc.if_else(pa.array(rows & kept), reason, split.reasons),
        typed=split.typed,
        ahead=split.ahead.filter(pa.array(~rows).take(split.ahead)),
    )
