"""Keeps what a restore has chosen from being pruned: a signed note in the vault, one per region that is restored.

The restore writes its hold and then looks whether the snapshot is still there; pruning removes a manifest, and then
looks at the holds once more before it removes what the manifest names. So of two that meet, one sees the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from contracts.errors import Tampered
from contracts.settings import Settings
from recovery.vault import manifest as manifests
from recovery.vault.names import Kind, of_kind
from recovery.vault.vault import Vault


def place(vault: Vault, s: Settings, sequence: int, *, at: datetime, lasts: timedelta) -> None:
    """Hold a snapshot for the restore of the region `s.region`; it replaces the region's hold before."""
    body = {"region": s.region, "sequence": sequence, "at": at.isoformat(), "until": (at + lasts).isoformat()}
    vault.store.put(_key(s), manifests.sign(body, s))


def give_back(vault: Vault, s: Settings, *, at: datetime) -> None:
    """End the hold of the region `s.region`, if it has one."""
    if vault.store.head(_key(s)) is not None:
        place(vault, s, 0, at=at, lasts=timedelta(0))


def held(vault: Vault, s: Settings, *, now: datetime) -> set[int]:
    """Return the sequence numbers that restores hold; what we did not sign holds nothing."""
    found = set()
    for match in of_kind(vault.store.names("holds/"), Kind.HOLD, vault.foreign):
        ours = list(_signed(vault, match[0], s))
        if not ours:
            vault.foreign[match[0]] = "a hold that we did not sign"
            continue
        _, until, sequence = max(ours)  # an older version, written over a newer one, ends nothing
        if until > now:
            found.add(sequence)
    return found


def _signed(vault: Vault, key: str, s: Settings) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield when each version of a hold that we signed was made, its end, and the snapshot."""
    for data in vault.store.versions(key):
        with suppress(Tampered, KeyError, ValueError, TypeError):
            body = manifests.open_signed(data, key, s)
            yield datetime.fromisoformat(body["at"]), datetime.fromisoformat(body["until"]), int(body["sequence"])


def _key(s: Settings) -> str:
    return f"holds/{s.region}.json"
