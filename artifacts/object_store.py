"""Reads and writes S3 through boto3: conditional puts, checksums, and listings that fail loudly.

One `ObjectStore` is one bucket. boto3 sends a CRC32 with every upload and checks one on every download; SHA-256
is kept by the manifests above this layer. A request is tried four times, each at most ten seconds to connect
and a minute to answer, then the store counts as unavailable: an error is never an empty bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.files import replacing
from contracts.errors import ArtifactError, Conflict, NotFound, StoreUnavailable
from contracts.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Above this many bytes a file is uploaded in parts.
MULTIPART_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One object as the store sees it; `size` in bytes; `at`: when it was written, where a listing says so (UTC)."""

    key: str
    size: int
    etag: str
    at: datetime | None = field(default=None, compare=False)


class ObjectStore:
    """One bucket of an S3 store."""

    def __init__(self, client: S3Client, bucket: str, *, where: str = "") -> None:
        self._client = client
        self.bucket = bucket
        self._where = where

    @classmethod
    def of(cls, s: Settings, bucket: str | None = None, *, attempts: int = 4) -> ObjectStore:
        """Open the region's own bucket (or another one of the same store)."""
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "s3",
            endpoint_url=s.s3_url,
            aws_access_key_id=s.secret("s3_access_key"),
            aws_secret_access_key=s.secret("s3_secret_key"),
            region_name="us-east-1",
            config=Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": attempts},
                s3={"addressing_style": "path"},
                max_pool_connections=16,
            ),
        )
        return cls(client, bucket or s.bucket, where=s.s3_url)

    @contextmanager
    def _speaking(self, key: str) -> Iterator[None]:
        """Turn what boto3 raises into our errors, naming bucket and key."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            name = f"{self.bucket}/{key}"
            if status == 404 or code in {"NoSuchKey", "404"}:
                raise NotFound(f"no object {name}", remedy="check the name; `caravan status` shows the store") from None
            if status in {409, 412}:
                raise Conflict(f"{name} was written by another process", remedy="read it again, then retry") from None
            if status >= 500:
                raise StoreUnavailable(
                    f"the object store failed on {name} ({code})", remedy="see `caravan logs s3`, then retry"
                ) from error
            raise ArtifactError(f"the object store refused {name} ({code or status})", remedy=str(error)) from error
        except (BotoCoreError, Boto3Error) as error:  # the second when a body breaks off again and again
            raise StoreUnavailable(
                f"the object store at {self._where} does not answer ({type(error).__name__})",
                remedy="`caravan status` shows whether it runs; `caravan up` starts it",
            ) from error

    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""
        with self._speaking(""):
            names = {b.get("Name") for b in self._client.list_buckets().get("Buckets", [])}
        if self.bucket not in names:
            try:
                with self._speaking(""):
                    self._client.create_bucket(Bucket=self.bucket)
            except Conflict:
                return

    def put(self, key: str, body: bytes | Path, *, if_absent: bool = False, if_match: str | None = None) -> Stored:
        """Write one object; `if_absent` and `if_match` (an etag) make it conditional: Conflict if they fail."""
        if isinstance(body, Path) and body.stat().st_size > MULTIPART_BYTES and not if_absent and if_match is None:
            with self._speaking(key):
                self._client.upload_file(str(body), self.bucket, key, Config=_transfer())
            stored = self.head(key)
            if stored is None or stored.size != body.stat().st_size:
                raise StoreUnavailable(f"{self.bucket}/{key} did not arrive whole", remedy="retry the upload")
            return stored
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            condition = {"IfMatch": if_match}
        data = body.read_bytes() if isinstance(body, Path) else body
        with self._speaking(key):
            answer = self._client.put_object(Bucket=self.bucket, Key=key, Body=data, **condition)
        return Stored(key=key, size=len(data), etag=answer["ETag"])

    def read(self, key: str) -> tuple[bytes, str]:
        """Read an object's bytes and its etag. Raises NotFound."""
        with self._speaking(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            return answer["Body"].read(), answer["ETag"]

    def get(self, key: str) -> bytes:
        """Read an object's bytes. Raises NotFound."""
        return self.read(key)[0]

    def download(self, key: str, path: Path) -> None:
        """Stream an object into `path`, which appears only when it is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, self._speaking(key):
            self._client.download_file(self.bucket, key, str(part), Config=_transfer())

    def head(self, key: str) -> Stored | None:
        """Read size and etag; None if there is no such object."""
        try:
            with self._speaking(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=key)
        except NotFound:
            return None
        return Stored(key=key, size=answer["ContentLength"], etag=answer["ETag"])

    def list(self, prefix: str) -> Iterator[Stored]:
        """List every object below `prefix`, in key order; raises rather than end early."""
        with self._speaking(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield Stored(key=entry["Key"], size=entry["Size"], etag=entry["ETag"], at=entry["LastModified"])

    def delete(self, key: str) -> None:
        """Delete one object; deleting what is not there is fine."""
        with self._speaking(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, max_concurrency=4)
