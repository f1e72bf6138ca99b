"""A vault in memory, and a small region beside it."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from artifacts.object_store import Stored
from artifacts.publish import point, publish
from artifacts.signature import new_signing_key
from contracts.settings import Settings
from recovery.shipping import objects
from recovery.snapshots import references
from recovery.vault.catalog import Catalog
from recovery.vault.encryption import Sealer
from recovery.vault.manifest import Backup, Objects, Segment, Snapshot, root_of
from recovery.vault.vault import Vault
from tests.fakes import MemoryStore

AT = datetime(2026, 3, 1, tzinfo=UTC)


class MemoryVault(MemoryStore):
    """Keeps every version that was written; `deleted` names are hidden by a delete marker."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[bytes]] = {}
        self.removed: list[str] = []
        self.listing_fails = False
        self.clock = AT
        self.times: dict[str, list[datetime]] = {}

    def put(self, key: str, body: bytes | Path, *, if_absent: bool = False, if_match: str | None = None) -> Stored:
        stored = super().put(key, body, if_absent=if_absent, if_match=if_match)
        self.history.setdefault(key, []).append(self.objects[key])
        self.times.setdefault(key, []).append(self.clock)
        return stored

    def list(self, prefix: str) -> Iterator[Stored]:
        if self.listing_fails and prefix.startswith(("wal/", "journal/")):
            raise ConnectionError("the listing broke off")
        yield from super().list(prefix)

    def versions(self, key: str, *, skip: int = 0) -> Iterator[bytes]:
        yield from list(reversed(self.history.get(key, [])))[skip:]

    def names(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.history if key.startswith(prefix))

    def written(self, prefix: str) -> dict[str, datetime]:
        return {key: min(times) for key, times in self.times.items() if key.startswith(prefix) and key in self.history}

    def latest(self, key: str) -> datetime:
        return self.times[key][-1]

    def remove(self, key: str) -> None:
        self.removed.append(key)
        self.times.pop(key, None)
        self.history.pop(key, None)
        self.delete(key)

    def rot(self, key: str, position: int) -> None:
        """Flip one bit at rest, in every version."""
        data = bytearray(self.objects[key])
        data[position % len(data)] ^= 1
        self.objects[key] = bytes(data)
        self.history[key] = [bytes(data)]


def settings() -> Settings:
    return Settings(
        signing_key=SecretStr(new_signing_key()), snapshot_key=SecretStr(base64.b64encode(os.urandom(32)).decode())
    )


class SmallRegion:
    """Buckets in memory, a vault in memory, and snapshots of them with a made-up database."""

    def __init__(self, folder: Path) -> None:
        self.s = settings()
        self.folder = folder
        self.store = MemoryStore()
        self.memory = MemoryVault()
        self.vault = Vault(self.memory, Sealer.of(self.s))
        self.catalog = Catalog(self.vault, self.s)

    def publish(self, ref: str, **files: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text)
            digest = publish(self.store, Path(folder), kind="release").digest
        point(self.store, ref, digest)
        return digest

    def look(self, known: objects.Inventory | None = None) -> objects.Inventory:
        return objects.list_buckets({"caravan": self.store}, self.vault, known or {}, self.folder)

    def snapshot(self, database: bytes = b"rows", events: tuple[Segment, ...] = (), number: int = 0) -> Snapshot:
        """Take one as recovery.snapshots.create does, except the database."""
        number = number or self.catalog.next_free()
        inventory = self.look()
        name = f"database/7/20260301T00000{number}-00000000"
        end = 4096 * (number + 1)
        backup = Backup(
            kind="full", start=4096 * number, end=end,
            manifest=self.vault.keep_sealed(b"{}", f"{name}/backup_manifest"),
            parts=(self.vault.keep_sealed(database * 50, f"{name}/base-000000"),),
        )  # fmt: skip
        shipped = f"wal/7/00000001/{4096 * number:016X}-{end:016X}"
        self.vault.keep_piece(b"x" * 4096, shipped)
        log = self.vault.piece(shipped)
        references.demand(references.missing(self.vault, inventory, "caravan", releases=(), signed=()))
        listed = Objects(count=len(inventory), size=1, inventory=objects.keep_inventory(self.vault, inventory))
        one = Snapshot(
            sequence=number, parent=None, at=AT + timedelta(minutes=number), region="primary", epoch=0, commit="",
            system="7", timeline=1, cut=end, backups=(backup,),
            log=(Segment(of="wal", start=4096 * number, end=end, part=log),), events=events, tables=(), objects=listed,
            serving={}, settings={"bucket": "caravan"}, keys={}, versions={}, root="",
        )  # fmt: skip
        body = {
            **{f: getattr(one, f) for f in one.__dataclass_fields__},
            "root": root_of(one.parts(), inventory.values()),
        }
        one = Snapshot(**body)
        self.catalog.add(one)
        return one


def as_json(data: bytes) -> dict[str, object]:
    return dict(json.loads(data))
