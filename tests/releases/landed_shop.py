"""A shop whose catalogs land in a lake in memory, and whose nights are validated as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifacts.lake import Lake
from artifacts.overlay import Overlay
from artifacts.signature import new_signing_key
from contracts.settings import Settings
from ingestion.landing.land import land
from ingestion.validation.validate import validate_day
from releases.overlay import make
from tests.fakes import MemoryStore
from tests.ingestion.builders import KEY, NOW, catalog, parquet, rows

DAYS = ("2024-03-04", "2024-03-05", "2024-03-06")
SIGNING = new_signing_key()
ITEMS = 40
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Shop:
    """A shop whose first night has run."""

    def __init__(self, folder: Path, *, name: str = "shop", store: MemoryStore | None = None) -> None:
        self.folder = folder
        self.s = Settings(signing_key=SIGNING, home=folder / "home")
        self.store = store or MemoryStore()
        self.lake = Lake(self.store, name, folder / "cache")
        self.nights = 0

    def land(self, sold_out: set[int] | None = None, *, items: range | list[int] = range(ITEMS), **more: Any) -> None:
        """Land a catalog; `more` gives fields to each item, None takes one away."""
        made = []
        for n in items:
            item = {"item_id": f"item-{n}", "title": f"Item {n}", "available": n not in (sold_out or set()), **more}
            made.append({name: value for name, value in item.items() if value is not None})
        land(self.lake, [], catalog(self.folder / "catalog.jsonl", made), pseudonymizer=KEY, now=NOW)

    def night(self, **options: Any) -> None:
        """Land events of the next day, and validate it, which pins the newest catalog."""
        events = parquet(rows(12, day=self.nights), self.folder / f"events-{self.nights}")
        land(self.lake, [events], pseudonymizer=KEY, now=NOW)
        validate_day(self.lake, DAYS[self.nights], least_known=0.5, **options)
        self.nights += 1

    def make(self, **options: Any) -> Overlay:
        return make(self.lake, self.s, now=AT, **options).overlay
