"""Records what changed in the region's buckets since the last snapshot, so that a restore can go beyond it.

The records are signed notes. Copies of objects are uploaded first and the note last, so what a note names is in the
vault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.errors import Conflict, NotFound, Tampered
from contracts.settings import Settings
from recovery.shipping.objects import Inventory, index
from recovery.vault import manifest as manifests
from recovery.vault import presence
from recovery.vault.manifest import Entry
from recovery.vault.vault import Vault

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = re.compile(r"/(\d{16})\.json$")


def write_journal(vault: Vault, s: Settings, system: str, at: datetime, entries: Sequence[Entry]) -> None:
    """Record that these objects are new or different as of `at`."""
    body = {"system": system, "at": at.isoformat(), "entries": [asdict(entry) for entry in entries]}
    try:
        vault.store.put(_key(system, at), manifests.sign(body, s), if_absent=True)
    except Conflict:
        return  # the same microsecond: another process noted the same


def since(vault: Vault, s: Settings, system: str, after: datetime, until: datetime | None) -> Inventory:
    """Return everything recorded after `after`, up to `until`; the newest note of an object counts.

    Raises Tampered.
    """
    found: Inventory = {}
    for key in _names(vault.store.names(f"journal/{system}/"), after, until):
        found |= index(Entry(**entry) for entry in _body(vault, key, s)["entries"])
    return found


def trusted_until(
    vault: Vault, s: Settings, system: str, after: datetime, until: datetime | None
) -> tuple[datetime | None, str]:
    """Return until when every note after `after` is intact and what it names exists.

    The second value says what is wrong with the next note. When all are fine, they are `until` and an empty string.
    """
    named: dict[str, list[Entry]] = {}
    end, why = until, ""
    for key in sorted(_names(vault.store.names(f"journal/{system}/"), after, until)):
        try:
            named[key] = [Entry(**entry) for entry in _body(vault, key, s)["entries"]]
        except (Tampered, NotFound) as error:
            end, why = _before(key), error.what
            break
    if presence.lacking(vault, [entry for entries in named.values() for entry in entries]):
        for key, entries in named.items():
            if wrong := presence.lacking(vault, entries):
                return _before(key), wrong
    return end, why


def _body(vault: Vault, key: str, s: Settings) -> dict[str, Any]:
    """Return the newest version of a note that we signed: the vault's writer can write another one over it."""
    said: Tampered | None = None
    for data in vault.store.versions(key):
        try:
            return manifests.open_signed(data, key, s)
        except Tampered as error:
            said = said or error
    raise said or NotFound(f"{key} is not in the vault", remedy="take the snapshot before it")


def _names(names: Iterable[str], after: datetime, until: datetime | None) -> Iterator[str]:
    for name in names:
        if _KEY.search(name) and (at := _at(name)) > after and (until is None or at <= until):
            yield name


def _before(name: str) -> datetime:
    return _at(name) - timedelta(microseconds=1)


def _at(name: str) -> datetime:
    """Return when a note was written."""
    return _EPOCH + timedelta(microseconds=int(name[-21:-5]))


def _key(system: str, at: datetime) -> str:
    return f"journal/{system}/{int(at.timestamp() * 1e6):016d}.json"
