"""What changed in the region's buckets since the last snapshot: signed notes, so that a restore can go beyond it.

The copies themselves go first, a note last, so what a note names is in the vault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.errors import Conflict, NotFound, Tampered
from contracts.settings import Settings
from recovery import manifest as manifests
from recovery.manifest import Entry
from recovery.objects import Inventory, index
from recovery.vault import Vault

_KEY = re.compile(r"/(\d{16})\.json$")


def write(vault: Vault, s: Settings, system: str, at: datetime, entries: Sequence[Entry]) -> None:
    """Note that these objects are new or other as of `at`."""
    body = {"system": system, "at": at.isoformat(), "entries": [asdict(entry) for entry in entries]}
    try:
        vault.store.put(_key(system, at), manifests.signed(body, s), if_absent=True)
    except Conflict:
        return  # the same microsecond: another process noted the same


def since(vault: Vault, s: Settings, system: str, after: datetime, until: datetime | None) -> Inventory:
    """Everything noted after `after`, up to `until`; the newest note of an object counts. Raises Tampered."""
    found: Inventory = {}
    for key in _names(vault.store.names(f"journal/{system}/"), after, until):
        found |= index(Entry(**entry) for entry in _body(vault, key, s)["entries"])
    return found


def _body(vault: Vault, key: str, s: Settings) -> dict[str, Any]:
    """The newest version of a note that we signed: its writer can lay another one over it."""
    said: Tampered | None = None
    for data in vault.store.versions(key):
        try:
            return manifests.opened(data, key, s)
        except Tampered as error:
            said = said or error
    raise said or NotFound(f"{key} is not in the vault", remedy="take the snapshot before it")


def _names(names: Iterable[str], after: datetime, until: datetime | None) -> Iterator[str]:
    for name in names:
        match = _KEY.search(name)
        at = datetime.fromtimestamp(int(match[1]) / 1e6, UTC) if match else None
        if at is not None and at > after and (until is None or at <= until):
            yield name


def _key(system: str, at: datetime) -> str:
    return f"journal/{system}/{int(at.timestamp() * 1e6):016d}.json"
