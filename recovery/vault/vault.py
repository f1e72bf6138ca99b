"""Reads and writes the files of snapshots in their bucket (recovery/vault/bucket.py), checking both directions.

Content is checked against a hash or a signature, and when the newest version does not match, older ones are tried.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from artifacts.object_store import Stored
from contracts.errors import CaravanError, Conflict, NotFound, Tampered
from contracts.settings import Settings
from recovery.vault.bucket import LockedBucket, Versioned
from recovery.vault.encryption import Sealer
from recovery.vault.manifest import Entry, Part
from recovery.vault.names import Foreign


def object_key(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def with_own_vault(s: Settings) -> Settings:
    """Return `s` with the vault in the region's own store.

    That store holds the snapshots of the other region, from which this one restores.
    """
    return s.model_copy(update={"snapshot_endpoint": s.snapshot_endpoint or s.s3_url})


class Vault:
    """The files of snapshots, checked when written and when read.

    `moved` counts the bytes uploaded. `unreadable` holds the keys that were requested and of which no version was
    intact, `foreign` the names that were passed over because we did not write what they name. When `checked` is a set,
    a matching size is not enough to reuse a copy: keys in the set have been read, others will be.
    """

    def __init__(self, store: Versioned, sealer: Sealer) -> None:
        self.store = store
        self.sealer = sealer
        self.moved = 0
        self.unreadable: set[str] = set()
        self.checked: set[str] | None = None
        self.foreign = Foreign()
        self._pieces: dict[str, Part] = {}

    @classmethod
    def of(cls, s: Settings) -> Vault:
        return cls(LockedBucket.writer(s), Sealer.of(s))

    def keep(self, sha256: str, body: bytes | Path) -> bool:
        """Upload the content `sha256` unless the vault holds it, intact as far as is known.

        Returns False when the vault held it already.
        """
        size, key = len(body) if isinstance(body, bytes) else body.stat().st_size, object_key(sha256)
        present = self.store.head(key)
        here = present is not None and present.size == size and key not in self.unreadable
        trusted = self.checked is None or key in self.checked
        if here and (trusted or self._whole(Part(key=key, size=size, sha256=sha256))):
            return False
        self.store.put(key, body)
        self.unreadable.discard(key)
        self.moved += size
        if self.checked is not None:
            self.checked.add(key)
        return True

    def _whole(self, part: Part) -> bool:
        """Return whether some version of a file is what it should be, judged by its bytes."""
        try:
            with tempfile.TemporaryDirectory(prefix="caravan-vault-") as folder:
                self.download_part(part, Path(folder))
        except (NotFound, Tampered):
            return False
        return True

    def keep_sealed(self, data: bytes, key: str, *, over: bool = False) -> Part:
        """Upload `data`, encrypted, under `key`.

        The key must be free, except with `over`, which writes over what cannot be read there.
        """
        sealed = self.sealer.seal(data, key)
        part = Part(key=key, size=len(sealed), sha256=hashlib.sha256(sealed).hexdigest())
        self.store.put(key, sealed, if_absent=not over)
        self.unreadable.discard(key)
        self.moved += len(sealed)
        return part

    def keep_piece(self, data: bytes, key: str) -> None:
        """Upload a piece of a log under the name that says which, unless it is there.

        What somebody else put under that name is written over.
        """
        try:
            self.keep_sealed(data, key)
        except Conflict:
            if not self.is_ours(key):
                self.keep_sealed(data, key, over=True)
                self.foreign.pop(key, None)

    def read(self, part: Part) -> bytes:
        """Return the bytes of a part as stored, or as they were before somebody wrote over them.

        Raises NotFound or Tampered.
        """
        try:
            data = self.store.get(part.key)
        except (NotFound, Tampered) as error:
            return self._older(part, error)
        return data if _is(data, part) else self._older(part)

    def _older(self, part: Part, error: CaravanError | None = None) -> bytes:
        """Return what `read` does, from an older version, when the newest is not the right one.

        `error` is what reading the newest raised.
        """
        for older in self.store.versions(part.key, skip=0 if isinstance(error, NotFound) else 1):
            if _is(older, part):
                return older
        self.unreadable.add(part.key)
        if isinstance(error, NotFound):
            raise NotFound(f"{part.key} is not in the vault", remedy="take the snapshot before it")
        raise error or Tampered(f"{part.key} differs from the manifest", remedy="take the snapshot before it")

    def unsealed(self, part: Part) -> bytes:
        """Return the decrypted content of a part."""
        return self.sealer.unseal(self.read(part), part.key)

    def unlisted(self, key: str) -> bytes:
        """Return an encrypted part that no manifest lists yet, as stored.

        It is the newest version that decrypts under its name. Raises NotFound, or Tampered when no version of it is
        what we encrypted.
        """
        said: Tampered | None = None
        for data in self.store.versions(key):
            try:
                self.sealer.unseal(data, key)
            except Tampered as error:
                said = said or error
            else:
                return data
        self.unreadable.add(key)
        raise said or NotFound(f"{key} is not in the vault", remedy="take the snapshot before it")

    def piece(self, key: str) -> Part:
        """Return the part that `unlisted` reads, and remember it. Raises as `unlisted` does."""
        if key not in self._pieces:
            data = self.unlisted(key)
            self._pieces[key] = Part(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        return self._pieces[key]

    def is_ours(self, key: str) -> bool:
        """Check whether a version of an encrypted part is what we wrote under this name; a name alone says nothing."""
        try:
            self.piece(key)
        except (NotFound, Tampered) as error:
            self.foreign[key] = error.what
            return False
        return True

    def download(self, entry: Entry, folder: Path) -> Path:
        """Download a verified copy of an object into a temporary file in `folder`; memory stays bounded.

        Raises as `read` does.
        """
        return self.download_part(part_of(entry), folder)

    def download_part(self, part: Part, folder: Path) -> Path:
        """Download any file of the vault in the same way, as stored."""
        handle, name = tempfile.mkstemp(dir=folder, prefix=".object-")
        os.close(handle)
        path = Path(name)
        try:
            self.store.download(part.key, path)
        except (NotFound, Tampered) as error:
            path.write_bytes(self._older(part, error))
            return path
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == part.sha256:
                return path
        path.write_bytes(self._older(part))
        return path

    def here(self, prefix: str) -> dict[str, Stored]:
        """Return everything below a prefix, by name."""
        return {stored.key: stored for stored in self.store.list(prefix)}


def part_of(entry: Entry) -> Part:
    """Return the copy of an object as a file of the vault."""
    return Part(key=object_key(entry.sha256), size=entry.size, sha256=entry.sha256)


def _is(data: bytes, part: Part) -> bool:
    return len(data) == part.size and hashlib.sha256(data).hexdigest() == part.sha256
