"""Lists the snapshots of a vault: found by their manifests, trusted by their signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from contracts.errors import Conflict, NoRecoveryPoint, NotFound, Tampered
from contracts.settings import Settings
from recovery.vault import manifest as manifests
from recovery.vault.manifest import Snapshot
from recovery.vault.names import Kind, of_kind
from recovery.vault.vault import Vault


def manifest_key(sequence: int) -> str:
    return f"snapshots/{sequence:08d}.json"


class Catalog:
    """The manifests of a vault."""

    def __init__(self, vault: Vault, s: Settings) -> None:
        self._vault = vault
        self._s = s

    def sequences(self) -> list[int]:
        """Return every sequence number that is taken, newest first, valid or not.

        Raises StoreUnavailable instead of ever returning too few.
        """
        found = of_kind(self._vault.store.names("snapshots/"), Kind.SNAPSHOT, self._vault.foreign)
        return sorted({int(match[1]) for match in found}, reverse=True)

    def next_free(self) -> int:
        """Return the number of the next snapshot: the first free one after the newest valid one.

        Numbers that something invalid has taken are left out, however high they are.
        """
        taken, newest = set(self.sequences()), self.newest()
        number = newest.sequence + 1 if newest else 1
        while number in taken:
            number += 1
        return number

    def read(self, sequence: int) -> Snapshot:
        """Return a manifest whose signature is valid.

        Raises NotFound, or Tampered when no version of it is what we signed.
        """
        key, said = manifest_key(sequence), None
        for data in self._contents(key):
            try:
                snapshot = manifests.from_bytes(data, key, self._s)
                if snapshot.sequence == sequence:
                    return snapshot
            except Tampered as error:
                said = error
        raise said or NotFound(f"there is no snapshot {sequence}", remedy="`caravan snapshot list` shows what there is")

    def newest_first(self) -> Iterator[Snapshot | tuple[int, str]]:
        """Yield every snapshot, newest first; for an invalid one, its number and the reason."""
        for sequence in self.sequences():
            try:
                yield self.read(sequence)
            except (Tampered, NotFound) as error:
                yield sequence, error.what

    def newest(self, system: str = "") -> Snapshot | None:
        """Return the newest valid snapshot, of the database `system` if given; None when there is none."""
        valid = (one for one in self.newest_first() if isinstance(one, Snapshot))
        return next((one for one in valid if system in ("", one.system)), None)

    def named(self, name: str) -> Snapshot:
        """Return a snapshot by its id ('s000012'), its number, or 'newest'."""
        if name == "newest":
            found = self.newest()
            if found is None:
                raise NoRecoveryPoint("there is no valid snapshot", remedy="`caravan snapshot create` takes one")
            return found
        match = re.fullmatch(r"s?0*(\d{1,8})", name)
        if match is None:
            raise NotFound(f"{name} names no snapshot", remedy="`caravan snapshot list` shows what there is")
        return self.read(int(match[1]))

    def before(self, at: datetime) -> Snapshot:
        """Return the newest valid snapshot taken at or before `at`. Raises NoRecoveryPoint when there is none."""
        for one in self.newest_first():
            if isinstance(one, Snapshot) and one.at <= at:
                return one
        raise NoRecoveryPoint(
            f"no snapshot reaches back to {at.isoformat()}", remedy="`caravan snapshot list` shows what there is"
        )

    def add(self, snapshot: Snapshot) -> None:
        """Publish the manifest: the last step of taking a snapshot. Raises Conflict when its number is taken."""
        try:
            key = manifest_key(snapshot.sequence)
            self._vault.store.put(key, manifests.to_bytes(snapshot, self._s), if_absent=True)
        except Conflict:
            raise Conflict(
                f"snapshot {snapshot.sequence} was taken by somebody else meanwhile", remedy="take another one"
            ) from None

    def _contents(self, key: str) -> Iterator[bytes]:
        """Yield the newest version first, and the others only when that one is rejected."""
        with suppress(NotFound, Tampered):
            yield self._vault.store.get(key)
        yield from self._vault.store.versions(key)
