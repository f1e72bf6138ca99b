"""Files of snapshots in the bucket that keeps them (recovery/vault/bucket.py), checked in both directions.

Content is checked against a hash or a signature, and when the newest version does not fit, older ones are tried.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from artifacts.object_store import Stored
from contracts.errors import CaravanError, NotFound, Tampered
from contracts.settings import Settings
from recovery.vault.bucket import LockedBucket, Versioned
from recovery.vault.encryption import Sealer
from recovery.vault.manifest import Entry, Part


def object_key(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def kept_here(s: Settings) -> Settings:
    """`s`, asking for the vault in the region's own store: snapshots of the other region, from which it restores."""
    return s.model_copy(update={"snapshot_endpoint": s.snapshot_endpoint or s.s3_url})


class Vault:
    """Files of snapshots, checked in both directions.

    `moved` counts the bytes that went up; `unreadable` are files that were asked for and of which no version was whole.
    Where `checked` is a set, no copy is believed by its size: those in it were read, others are.
    """

    def __init__(self, store: Versioned, sealer: Sealer) -> None:
        self.store = store
        self.sealer = sealer
        self.moved = 0
        self.unreadable: set[str] = set()
        self.checked: set[str] | None = None

    @classmethod
    def of(cls, s: Settings) -> Vault:
        return cls(LockedBucket.writer(s), Sealer.of(s))

    def keep(self, sha256: str, body: bytes | Path) -> bool:
        """Keep the content `sha256` unless it is here, and whole as far as is known; False when it was."""
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
        """Whether a version of a file is what it should be, by its bytes."""
        try:
            with tempfile.TemporaryDirectory(prefix="caravan-vault-") as folder:
                self.download_part(part, Path(folder))
        except (NotFound, Tampered):
            return False
        return True

    def keep_sealed(self, data: bytes, key: str, *, over: bool = False) -> Part:
        """Keep `data` sealed under `key`, which must be free, unless it goes `over` what can not be read there."""
        sealed = self.sealer.seal(data, key)
        part = Part(key=key, size=len(sealed), sha256=hashlib.sha256(sealed).hexdigest())
        self.store.put(key, sealed, if_absent=not over)
        self.unreadable.discard(key)
        self.moved += len(sealed)
        return part

    def read(self, part: Part) -> bytes:
        """The bytes of a part as kept, or as they were before somebody wrote over them. NotFound or Tampered."""
        try:
            data = self.store.get(part.key)
        except (NotFound, Tampered) as error:
            return self._older(part, error)
        return data if _is(data, part) else self._older(part)

    def _older(self, part: Part, error: CaravanError | None = None) -> bytes:
        """As `read` does, when the newest version is not it; what was `error` about that one."""
        for older in self.store.versions(part.key, skip=0 if isinstance(error, NotFound) else 1):
            if _is(older, part):
                return older
        self.unreadable.add(part.key)
        if isinstance(error, NotFound):
            raise NotFound(f"{part.key} is not in the vault", remedy="take the snapshot before it")
        raise error or Tampered(f"{part.key} differs from the manifest", remedy="take the snapshot before it")

    def unsealed(self, part: Part) -> bytes:
        """What was sealed in a part."""
        return self.sealer.unseal(self.read(part), part.key)

    def unlisted(self, key: str) -> bytes:
        """A sealed part that no manifest lists yet, as it is kept: the newest version that unseals under its name.

        Raises NotFound, or Tampered when no version of it is what we sealed.
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

    def download(self, entry: Entry, folder: Path) -> Path:
        """A verified copy of an object in a temporary file in `folder`; memory stays bounded. Raises as `read` does."""
        return self.download_part(part_of(entry), folder)

    def download_part(self, part: Part, folder: Path) -> Path:
        """The same of any file of the vault, as it is kept."""
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
        """Everything below a prefix, by name."""
        return {stored.key: stored for stored in self.store.list(prefix)}


def part_of(entry: Entry) -> Part:
    """The copy of an object as a file of the vault."""
    return Part(key=object_key(entry.sha256), size=entry.size, sha256=entry.sha256)


def _is(data: bytes, part: Part) -> bool:
    return len(data) == part.size and hashlib.sha256(data).hexdigest() == part.sha256
