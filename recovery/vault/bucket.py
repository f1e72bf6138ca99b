"""Stores snapshots in one bucket of the other region's store: versioned, locked, and its writer cannot delete.

The writer's credential may add and read. Object lock (governance mode, `RETENTION_DAYS`) keeps every version, and the
bucket's policy denies the writer even delete markers. The writer can still write another version over an object, and
disks rot, so no object is trusted because of its name (recovery/vault/vault.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr

from artifacts.object_store import ObjectStore
from artifacts.publish import Store
from contracts.errors import CaravanError, StoreUnavailable, Tampered
from contracts.settings import Settings

RETENTION_DAYS = 14
#: The name of the writer's identity in the store.
WRITER = "snapshot-writer"
#: Attempts per request, and seconds between our attempts: the store itself takes 15 s to give up on an object.
_ATTEMPTS, _PAUSES = 2, (2.0,)
#: HTTP status that SeaweedFS answers when its stored bytes do not match their checksum.
_DAMAGED = 500
#: Key that is written and read back to tell a damaged object from a failing store.
_PROBE = "health/probe"


#: What stands for a version whose bytes the disk damaged; compared by identity, since anybody can write bytes like it.
DAMAGED = bytes(bytearray(b"damaged at rest"))

T = TypeVar("T")


class Versioned(Store, Protocol):
    """The interface of the locked bucket; tests keep one in memory and break it on purpose."""

    def versions(self, key: str, *, skip: int = 0) -> Iterator[bytes]: ...
    def names(self, prefix: str) -> Iterator[str]: ...
    def written(self, prefix: str) -> dict[str, datetime]: ...
    def latest(self, key: str) -> datetime: ...
    def remove(self, key: str) -> None: ...


class TellingStore(ObjectStore):
    """A bucket that tells a damaged object from a failing store, although the store gives both the same answer."""

    def read(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and its etag. Raises NotFound, or Tampered when its stored bytes are damaged."""
        return self._asked(key, lambda: ObjectStore.read(self, key))

    def download(self, key: str, path: Path) -> None:
        """Stream an object into `path`. Raises as `read` does."""
        self._asked(key, lambda: ObjectStore.download(self, key, path))

    def _asked(self, key: str, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, retrying when the store fails.

        Raises Tampered only when every attempt fails while another object can be read each time.
        """
        for pause in (*_PAUSES, None):
            try:
                return ask()
            except StoreUnavailable as error:
                if _is_outage(error) or not self._reads_back():
                    raise
                if pause is None:
                    raise Tampered(
                        f"{key} cannot be read, though the store answers: its bytes are damaged",
                        remedy="take the snapshot before it; `caravan snapshot create --full` sends it again",
                    ) from error
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _reads_back(self) -> bool:
        try:
            self.put(_PROBE, b"caravan")
            return ObjectStore.read(self, _PROBE)[0] == b"caravan"
        except CaravanError:
            return False


class LockedBucket(TellingStore):
    """The bucket of snapshots, which keeps every version of every object."""

    @classmethod
    def writer(cls, s: Settings) -> LockedBucket:
        """Open the bucket with the writer's credential, which adds and reads but cannot delete."""
        keys = {"s3_access_key": s.snapshot_access_key, "s3_secret_key": s.snapshot_secret_key}
        return cls._of(s.model_copy(update={**keys, "s3_endpoint": s.snapshot_url}))

    @classmethod
    def administrator(cls, s: Settings, access_key: str, secret_key: str, *, at: str = "") -> LockedBucket:
        """Open the bucket with the credential of the administrator of the store `at`.

        That credential may bypass the object lock; no service has it.
        """
        keys = {"s3_access_key": SecretStr(access_key), "s3_secret_key": SecretStr(secret_key)}
        return cls._of(s.model_copy(update={**keys, "s3_endpoint": at or s.snapshot_url}))

    @classmethod
    def _of(cls, s: Settings) -> LockedBucket:
        plain = ObjectStore.of(s, s.snapshot_bucket, attempts=_ATTEMPTS)
        return cls(plain._client, plain.bucket, where=s.s3_url)

    def ensure_locked(self) -> None:
        """Create the bucket with its object lock and its policy; safe to repeat."""
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

    def versions(self, key: str, *, skip: int = 0) -> Iterator[bytes]:
        """Yield the content of every version of an object, newest first, except the newest `skip`.

        Delete markers hide none. A damaged version yields `DAMAGED`.
        """
        found = [version for name, version in self._versions(key) if name == key]
        for version in found[skip:]:
            yield self._version(key, version)

    def _version(self, key: str, version: str) -> bytes:
        def ask() -> bytes:
            with self._speaking(key):
                found: bytes = self._client.get_object(Bucket=self.bucket, Key=key, VersionId=version)["Body"].read()
                return found

        try:
            return self._asked(key, ask)
        except Tampered:
            return DAMAGED

    def names(self, prefix: str) -> Iterator[str]:
        """Yield in order every name of which a version still exists; delete markers hide none."""
        last = ""
        for name, _ in self._versions(prefix):
            if name != last:
                yield name
            last = name

    def written(self, prefix: str) -> dict[str, datetime]:
        """Return when the store took the oldest version of each name, by the store's own clock (UTC).

        A name that was written over keeps its time.
        """
        found: dict[str, datetime] = {}
        for entry in self._listed(prefix):
            at = entry["LastModified"].astimezone(UTC)
            found[entry["Key"]] = min(at, found.get(entry["Key"], at))
        return found

    def latest(self, key: str) -> datetime:
        """Return when the store took the newest version of an object, by the store's own clock. Raises NotFound."""
        with self._speaking(key):
            return self._client.head_object(Bucket=self.bucket, Key=key)["LastModified"].astimezone(UTC)

    def remove(self, key: str) -> None:
        """Remove every version of an object, bypassing the object lock. The store refuses this to the writer."""
        for name, version in list(self._versions(key)):
            if name == key:
                with self._speaking(key):
                    self._client.delete_object(
                        Bucket=self.bucket, Key=key, VersionId=version, BypassGovernanceRetention=True
                    )

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        for found in self._listed(prefix):
            yield found["Key"], found["VersionId"]

    def _listed(self, prefix: str) -> Iterator[Any]:
        with self._speaking(prefix):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                yield from page.get("Versions", [])


def _is_outage(error: StoreUnavailable) -> bool:
    """Return whether the store is at fault, not the object: no answer, none in time, or one that asks for a retry."""
    from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
    from botocore.exceptions import ConnectionError as NoConnection

    cause = getattr(error.__cause__, "last_exception", error.__cause__)
    if isinstance(cause, ClientError):
        return int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) != _DAMAGED
    return isinstance(cause, (NoConnection, ConnectionClosedError, ReadTimeoutError, ConnectionError, TimeoutError))
