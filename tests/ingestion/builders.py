"""Small events, files and lakes for the tests of this room."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from artifacts.lake import Lake
from contracts.events import EVENTS, KINDS
from ingestion.pseudonymize import Pseudonymizer
from tests.fakes import MemoryStore

KEY = Pseudonymizer("a key that only tests know")
START = datetime(2024, 3, 4, 9, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def lake(tmp_path: Path) -> Lake:
    return Lake(MemoryStore(), "shop", tmp_path / "cache")


def rows(count: int = 20, *, day: int = 0, prefix: str = "e") -> list[dict[str, Any]]:
    """Good events of one day."""
    made = []
    for n in range(count):
        kind = KINDS[n % len(KINDS)]
        made.append(
            {
                "event_id": f"{prefix}-{day}-{n:05d}",
                "event_time": START + timedelta(days=day, seconds=n),
                "user_id": f"clear-user-{n % 7}",
                "session_id": f"clear-session-{n % 9}" if n % 3 else None,
                "kind": kind,
                "item_id": None if kind == "search" else f"item-{n % 5}",
                "query": 'red, "warm" socks' if kind == "search" else None,
                "position": n % 10 if kind == "impression" else None,
                "value": 9.5 if kind == "purchase" else None,
            }
        )
    return made


def table(events: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(events, schema=pa.schema([pa.field(f.name, f.type) for f in EVENTS]))


def parquet(events: list[dict[str, Any]] | pa.Table, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(events if isinstance(events, pa.Table) else table(events), path)
    return path


def csv_bytes(events: list[dict[str, Any]]) -> bytes:
    texts = table(events)
    at = texts.column_names.index("event_time")
    texts = texts.set_column(at, "event_time", pa.array([e["event_time"].isoformat() for e in events]))
    sink = io.BytesIO()
    pa_csv.write_csv(texts, sink)
    return sink.getvalue()


def json_bytes(events: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(e, option=orjson.OPT_APPEND_NEWLINE) for e in events)


def write(path: Path, data: bytes, *, zipped: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


def catalog(path: Path, items: list[dict[str, Any]] | None = None) -> Path:
    items = items or [{"item_id": f"item-{n}", "title": f"Item {n}", "price": 3.0 + n} for n in range(5)]
    return write(path, json_bytes(items))
