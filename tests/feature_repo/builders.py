"""Small lakes of events and catalogs for the tests of the feature store."""

from __future__ import annotations

import hashlib
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.lake import DATA, Lake, write_table
from contracts.events import CATALOG, EVENTS, KINDS
from contracts.settings import Settings
from feature_repo import online
from feature_repo.schemas import TEXT_DIMENSIONS
from tests.fakes import MemoryStore

Row = dict[str, Any]
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).date().isoformat()


def event(number: int, us: int, user: str, kind: str, item: str | None, name: str = "") -> dict[str, Any]:
    """Make an event `us` microseconds into day `number`."""
    at = FIRST + timedelta(days=number, microseconds=us)
    made = name or hashlib.sha256(f"{at}{user}{kind}{item}".encode()).hexdigest()[:16]
    return {"event_id": made, "event_time": at, "user_id": user, "kind": kind, "item_id": item}


def random_events(
    seed: int, days: int, per_day: int, users: int = 7, items: int = 12
) -> dict[str, list[dict[str, Any]]]:
    draw = random.Random(seed)
    return {
        day(d): [
            event(
                d,
                draw.randrange(86_400_000_000),
                f"u{draw.randrange(users)}",
                draw.choice(KINDS),
                draw.choice([None, *(f"i{i}" for i in range(items))]),
                f"{d}-{n}",
            )
            for n in range(per_day)
        ]
        for d in range(days)
    }


def products(
    count: int, categories: tuple[str | None, ...] = ("toys/cars", "toys", "books", None)
) -> list[dict[str, Any]]:
    return [
        {
            "item_id": f"i{n}",
            "title": f"Product {n}",
            "brand": "Acme" if n % 2 else None,
            "category": categories[n % len(categories)],
            "available": True,
        }
        for n in range(count)
    ]


def new_lake(folder: Path, source: str = "shop") -> Lake:
    return Lake(MemoryStore(), source, folder / "objects")


def publish(lake: Lake, table: str, partition: str, rows: list[dict[str, Any]]) -> None:
    schema = EVENTS if table == "events" else CATALOG
    with tempfile.TemporaryDirectory() as folder:
        write_table(pa.Table.from_pylist(rows, schema=schema), Path(folder) / DATA)
        lake.publish(table, partition, Path(folder))


def filled(lake: Lake, events: dict[str, list[dict[str, Any]]], catalog: list[dict[str, Any]]) -> Lake:
    for partition, rows in events.items():
        publish(lake, "events", partition, rows)
    publish(lake, "catalog", min(events), catalog)
    return lake


def encode(texts: list[str]) -> np.ndarray:
    """Stand in for the sentence encoder: a unit vector that depends on the text alone."""
    vectors = [
        np.random.default_rng(list(hashlib.sha256(t.encode()).digest())).normal(size=TEXT_DIMENSIONS) for t in texts
    ]
    matrix = np.stack(vectors)
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


class CountingEncoder:
    """Remembers which texts it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return encode(texts)


def drop_registry(s: Settings, source: str) -> None:
    """Remove a source from the feature registry."""
    import psycopg2

    connection = psycopg2.connect(s.database_url("feast").replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS feast_{online.project_name(source)} CASCADE")
    connection.close()
