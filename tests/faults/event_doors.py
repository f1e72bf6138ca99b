"""Events of every odd kind, sent through every door: files and `POST /events` must give each the same verdict.

`run(seed, count)` makes `count` events whose values are drawn from what programs write. Each is judged as one JSON
value (HTTP), as a line of JSON, as a row of CSV where text can say it, and as a row of Parquet where one type can hold
the column; then what HTTP accepts is judged once more as the line of an engine's event log that it becomes.
"""

from __future__ import annotations

import csv
import io
import json
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.events import KINDS
from ingestion.landing.table_reader import read_file
from ingestion.rules.one_event import COLUMNS, judge_event
from ingestion.rules.schema import EVENT_SCHEMA
from ingestion.rules.split import split_rows
from serving.events.ingest import encode_line
from tests.faults.outcome import Outcome

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SPOILT = 0.35
_MISSING = (None, "", " ", "\t", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "None", "null", "NULL", "undefined", "\\N")
_NUMBERS = (0, -0.0, 7, 7.0, 7.5, 2**53, 2.0**53, 2**64, 10**22 + 1, 10**130, 1e22, 1e300, 5e-324, True, False)
_IDENTIFIERS = (
    "7.0", "007", "1e+05", "1E5", "1.23457E+12", "12e4", "x" * 128, "x" * 129, "漢" * 128, "a\x07b", "a\tb", "é", "+1",
    "u_" + "0" * 32, "anna@example.com", "a|b:c=d{e}", " x ", "#REF!", "nil", "-", "e\u200b",
)  # fmt: skip
_SHOPPERS = (
    "undefined", "[object Object]", "guest", "Guest ", "GUEST", "anonymous-user", "0", "000", "-1", "ゲスト", "?",
    "gast", "00000000-0000-0000-0000-000000000000", "{{user_id}}", "guest-7", "guests of anna", "nan0", "f" * 32,
    "null",
)  # fmt: skip
_TIMES = (
    "{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%dT%H:%M:%S.%f}+00:00", "{:%Y-%m-%dT%H:%M:%S},123Z", "{:%Y%m%dT%H%M%SZ}",
    "{:%Y-%m-%d %H:%M:%S UTC}", "{:%Y-%m-%d %H:%M:%S}.000 +0000", "{:%G-W%V-%u}T10:00:03Z", "{:%Y-%j}T10:00:04Z",
    "{:%a %b %d %Y %H:%M:%S} GMT+0100 (CET)", "{:%a, %d %b %Y %H:%M:%S GMT}", "{:%d.%m.%Y %H:%M}", "{:%Y/%m/%d %H:%M}",
    "{:%Y-%m-%d}", "{:%Y%m%d}", "{:%Y%m%d%H%M%S}", "{:%Y-%m-%dT%H:%M}+02", "{:%m/%d/%Y %H:%M}", "{:%d-%b-%y}",
    "{:%Y-%m-%dT%H:%M:%S}.1234567891", "{:%Y-%m-%d}T24:00:00Z", "{:%Y-%m-%d}T25:00:00Z", "{:%Y-%m-%dT%H:%M:%S} CST",
    " {:%Y-%m-%dT%H:%M:%SZ} ", "{:%Y-%m-%dT%H:%M:%S}-0330", "{:%Y-%m-%dT%H}", "{:%d/%b/%Y:%H:%M:%S +0000}",
)  # fmt: skip
_ODD_TIMES = ("soon", "2026-02-30", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+10:00", "1970-01-01", "46351.5",
              "2027-01-01T00:00:00Z", "2016-12-31T23:59:60Z", "9999-12-31T23:59:59Z", "2026-11-25T10:00:00+24:00",
              0, 20261124, 1.7e9, "1.7e+9", -1, True)  # fmt: skip
_QUERIES = (
    "nan",
    "null",
    "x" * 256,
    "x" * 257,
    "oak\x07",
    "oak\x00",
    "oak\nlamp",
    "a@b.example " * 20,
    "ランプ",
    501,
    5.5,
)
_AMOUNTS = ("9.5", " 9.5 ", ".5", "+3", "1e3", "9,50", "1,000.00", "-1", -1, "1e10", 1e9, 1e9 + 1, "inf", "Infinity",
            "x", 0.1, 3, "3.0", "2147483648", 100_000, 100_001, True, False, "true", "0" * 20)  # fmt: skip


def run(seed: int, count: int) -> Outcome:
    """Judge `count` events at every door. The same seed makes the same events."""
    outcome = Outcome(count=count)
    with tempfile.TemporaryDirectory(prefix="caravan-doors-") as folder:
        events = [_event(random.Random(n), str(n)) for n in range(seed, seed + count)]
        judged = [judge_event(event, NOW) for event in events]
        doors = {
            "JSON lines": _as_lines(events, Path(folder) / "e.jsonl"),
            "CSV": _as_csv(events, Path(folder) / "e.csv"),
            "Parquet": _as_parquet(events, Path(folder) / "e.parquet"),
            "event log": _as_log(judged, Path(folder) / "log.jsonl"),
        }
        for number, (event, at_http) in enumerate(zip(events, judged, strict=True)):
            for door, verdicts in doors.items():
                found = verdicts.get(number)
                if found is not None and found != at_http:
                    outcome.failures.append(f"event {seed + number}: {door} {found}, HTTP {at_http}: {event!r}")
    return outcome


Verdict = tuple[dict[str, Any] | None, str]


def _event(draw: random.Random, name: str) -> dict[str, Any]:
    """A good event, some values of which are replaced."""
    kind = draw.choice(KINDS)
    event: dict[str, Any] = {
        "event_id": f"e-{name}",
        "event_time": draw.choice(_TIMES).format(NOW - timedelta(seconds=draw.randint(0, 10**7))),
        "user_id": f"shopper-{draw.randint(1, 99)}",
        "session_id": f"s-{draw.randint(1, 99)}",
        "kind": kind,
        "item_id": None if kind == "search" else f"i-{draw.randint(1, 99)}",
        "query": "lamp" if kind == "search" else None,
        "position": draw.choice((None, 3)),
        "value": draw.choice((None, 9.5)),
    }
    odd: dict[str, tuple[Any, ...]] = {
        "event_id": (*_MISSING, *_NUMBERS, *_IDENTIFIERS),
        "event_time": (*_MISSING, *_ODD_TIMES, *_epochs(draw)),
        "user_id": (*_MISSING, *_NUMBERS, *_IDENTIFIERS, *_SHOPPERS),
        "session_id": (*_MISSING, *_NUMBERS, *_IDENTIFIERS),
        "kind": (*_MISSING, *_NUMBERS, "View", "view ", "bought"),
        "item_id": (*_MISSING, *_NUMBERS, *_IDENTIFIERS),
        "query": (*_MISSING, *_NUMBERS, *_QUERIES),
        "position": (*_MISSING, *_NUMBERS, *_AMOUNTS),
        "value": (*_MISSING, *_NUMBERS, *_AMOUNTS),
    }
    for column, values in odd.items():
        if draw.random() < SPOILT / 3:
            event[column] = draw.choice(values)
    if draw.random() < 0.05:
        event[draw.choice(COLUMNS)] = draw.choice(([1], {"a": 1}, float("nan"), float("inf")))
    return event


def _epochs(draw: random.Random) -> tuple[Any, ...]:
    seconds = int(NOW.timestamp()) - draw.randint(0, 10**7)
    units = (seconds, seconds * 1000 + 123, seconds * 10**6 + 123_456, seconds * 10**9 + 123_456_789)
    return (*units, *map(str, units), seconds + 0.5, f"{seconds}.123456789", float(units[2]), float(units[3]))


def _as_lines(events: list[dict[str, Any]], path: Path) -> dict[int, Verdict]:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return _verdicts(path, range(len(events)))


def _as_csv(events: list[dict[str, Any]], path: Path) -> dict[int, Verdict]:
    """Judge the events all of whose values CSV can say: text in one line, and missing ones."""
    rows = [n for n, e in enumerate(events) if all(v is None or _is_line(v) for v in e.values())]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([events[n][c] for c in COLUMNS] for n in rows)
    path.write_text(sink.getvalue(), newline="")
    return _verdicts(path, rows)


def _is_line(value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) < 2**31 and value == int(value) and isinstance(value, int)
    return isinstance(value, str) and not set("\r\n\0") & set(value)


def _as_parquet(events: list[dict[str, Any]], path: Path) -> dict[int, Verdict]:
    """Judge the events, in one file per row, each column in the type of its value, as a typed export has it."""
    found: dict[int, Verdict] = {}
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, event in enumerate(events):
        kinds = tuple(_kind_of(event[c]) for c in COLUMNS)
        if "" not in kinds:
            groups.setdefault(kinds, []).append(number)
    for kinds, rows in groups.items():
        columns = [pa.array([events[n][c] for n in rows], _TYPES[kind]) for c, kind in zip(COLUMNS, kinds, strict=True)]
        pq.write_table(pa.table(columns, names=list(COLUMNS)), path)
        found |= _verdicts(path, rows)
    return found


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "NoneType": pa.null()}


def _kind_of(value: Any) -> str:
    kind = type(value).__name__
    return "" if kind not in _TYPES or (kind == "int" and not -(2**63) <= value < 2**63) else kind


def _as_log(judged: list[Verdict], path: Path) -> dict[int, Verdict]:
    """Judge what HTTP accepted once more, as the line that it becomes; hashing aside, nothing may change."""
    rows = [n for n, (event, _) in enumerate(judged) if event is not None]
    path.write_bytes(b"".join(encode_line(event, "shop") for event, _ in judged if event is not None))
    return _verdicts(path, rows)


def _verdicts(path: Path, numbers: Any) -> dict[int, Verdict]:
    """Return the verdict on each row of a file; the n-th record is the event `numbers[n]`."""
    listed = list(numbers)
    if not listed:
        return {}
    raw = read_file(path, EVENT_SCHEMA)
    split = split_rows(raw, EVENT_SCHEMA, now=NOW)
    found: dict[int, Verdict] = {listed[r.number - 1]: (None, r.reason) for r in raw.refused}
    kept = iter(split.kept.to_pylist())
    for number, reason in zip(raw.numbers.to_pylist(), split.reasons.to_pylist(), strict=True):
        if reason == "duplicate_event_id":  # a rule among rows, not for one
            continue
        found[listed[number - 1]] = (None, reason) if reason else (next(kept), "")
    return found
