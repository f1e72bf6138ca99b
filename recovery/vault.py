"""Where snapshots lie: one bucket of the other region's store, versioned and locked, whose writer can not delete.

The writer's credential may add and read. Object lock (governance, `RETENTION_DAYS`) keeps every version, and the
bucket's policy denies the writer even delete markers. What a writer still can do is to write another version over
an object: so nothing here is believed by its name. Content is checked against a hash or a signature, and when the
newest version does not fit, older ones are tried. Removing takes the administrator of the standby's store.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from artifacts.object_store import ObjectStore, Stored
from artifacts.publish import Store
from contracts.errors import NotFound, Tampered
from contracts.settings import Settings
from recovery.manifest import Entry, Part
from recovery.seal import Sealer

RETENTION_DAYS = 14
#: The name of the writer's identity in the store.
WRITER = "snapshot-writer"


class Versioned(Store, Protocol):
    """The seam to the locked bucket; tests keep it in memory and break it on purpose."""

    def versions(self, key: str) -> Iterator[bytes]: ...
    def names(self, prefix: str) -> Iterator[str]: ...
    def remove(self, key: str) -> None: ...


class LockedBucket(ObjectStore):
    """The bucket of snapshots, of which every version is kept."""

    @classmethod
    def writer(cls, s: Settings) -> LockedBucket:
        """Adds and reads; can not delete."""
        keys = {"s3_access_key": s.snapshot_access_key, "s3_secret_key": s.snapshot_secret_key}
        return cls._of(s.model_copy(update={**keys, "s3_endpoint": s.snapshot_url}))

    @classmethod
    def administrator(cls, s: Settings) -> LockedBucket:
        """With the standby's own credential, which may pass the lock."""
        return cls._of(s.model_copy(update={"s3_endpoint": s.snapshot_url}))

    @classmethod
    def _of(cls, s: Settings) -> LockedBucket:
        plain = ObjectStore.of(s, s.snapshot_bucket)
        return cls(plain._client, plain.bucket, where=s.s3_url)

    def ensure_locked(self) -> None:
        """Create the bucket with its lock and its policy; harmless when they are there."""
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": RETENTION_DAYS}}
        statement = {
            "Sid": "TheWriterDoesNotDelete",
            "Effect": "Deny",
            "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{WRITER}"},
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:PutObjectLegalHold"],
            "Resource": [f"arn:aws:s3:::{self.bucket}/*"],
        }
        client: Any = self._client
        with self._speaking(""):
            if self.bucket not in {b.get("Name") for b in client.list_buckets().get("Buckets", [])}:
                client.create_bucket(Bucket=self.bucket, ObjectLockEnabledForBucket=True)
            client.put_object_lock_configuration(
                Bucket=self.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
            )
            policy = {"Version": "2012-10-17", "Statement": [statement]}
            client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))

    def versions(self, key: str) -> Iterator[bytes]:
        """The contents of every version of an object, newest first, whatever delete markers say."""
        for name, version in self._versions(key):
            if name == key:
                with self._speaking(key):
                    yield self._client.get_object(Bucket=self.bucket, Key=key, VersionId=version)["Body"].read()

    def names(self, prefix: str) -> Iterator[str]:
        """Every name that ever had a version that is still there, in order; delete markers hide none."""
        last = ""
        for name, _ in self._versions(prefix):
            if name != last:
                yield name
            last = name

    def remove(self, key: str) -> None:
        """Remove every version of an object, passing the lock. The store refuses it to the writer."""
        for name, version in list(self._versions(key)):
            if name == key:
                with self._speaking(key):
                    self._client.delete_object(
                        Bucket=self.bucket, Key=key, VersionId=version, BypassGovernanceRetention=True
                    )

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        with self._speaking(prefix):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Versions", []):
                    yield found["Key"], found["VersionId"]


def object_key(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def kept_here(s: Settings) -> Settings:
    """`s`, asking for the vault in the region's own store: snapshots of the other region, from which it restores."""
    return s.model_copy(update={"snapshot_endpoint": s.snapshot_endpoint or s.s3_url})


class Vault:
    """Files of snapshots, checked in both directions.

    `moved` counts the bytes that went up; `unreadable` are files that were asked for and of which no version was whole.
    """

    def __init__(self, store: Versioned, sealer: Sealer) -> None:
        self.store = store
        self.sealer = sealer
        self.moved = 0
        self.unreadable: set[str] = set()

    @classmethod
    def of(cls, s: Settings) -> Vault:
        return cls(LockedBucket.writer(s), Sealer.of(s))

    def keep(self, sha256: str, body: bytes | Path) -> bool:
        """Keep the content `sha256` unless it is here, and whole as far as is known; False when it was."""
        size, key = len(body) if isinstance(body, bytes) else body.stat().st_size, object_key(sha256)
        present = self.store.head(key)
        if present is not None and present.size == size and key not in self.unreadable:
            return False
        self.store.put(key, body)
        self.unreadable.discard(key)
        self.moved += size
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
        except NotFound:
            data = b""
        if _is(data, part):
            return data
        for older in self.store.versions(part.key):
            if _is(older, part):
                return older
        self.unreadable.add(part.key)
        if not data:
            raise NotFound(f"{part.key} is not in the vault", remedy="take the snapshot before it")
        raise Tampered(f"{part.key} differs from the manifest", remedy="take the snapshot before it")

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
        """A verified copy of an object in a temporary file in `folder`; memory stays bounded."""
        handle, name = tempfile.mkstemp(dir=folder, prefix=".object-")
        os.close(handle)
        path = Path(name)
        try:
            self.store.download(object_key(entry.sha256), path)
        except NotFound:
            path.write_bytes(b"")
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == entry.sha256:
                return path
        path.write_bytes(self.read(part_of(entry)))
        return path

    def here(self, prefix: str) -> dict[str, Stored]:
        """Everything below a prefix, by name."""
        return {stored.key: stored for stored in self.store.list(prefix)}


def part_of(entry: Entry) -> Part:
    """The copy of an object as a file of the vault."""
    return Part(key=object_key(entry.sha256), size=entry.size, sha256=entry.sha256)


def _is(data: bytes, part: Part) -> bool:
    return len(data) == part.size and hashlib.sha256(data).hexdigest() == part.sha256
