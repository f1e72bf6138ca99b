"""Keeps the lake of one source: tables cut into partitions, each published whole or not at all.

A partition is a published directory (see artifacts.publish) with at least `data.parquet`; its pointer is
`refs/lake/<source>/<table>/<partition>`. Replacing a partition is one compare-and-set of that pointer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.manifest import Manifest
from artifacts.object_store import ObjectStore
from artifacts.publish import Store, fetch, point, publish, read_manifest, refs, resolve
from contracts.errors import NotFound
from contracts.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

DATA = "data.parquet"


class Lake:
    """Tables of one source."""

    def __init__(self, store: Store, source: str, cache: Path) -> None:
        self.store = store
        self.source = source
        self.cache = cache

    @classmethod
    def of(cls, s: Settings, source: str) -> Lake:
        return cls(ObjectStore.of(s), source, s.cache / "objects")

    def _ref(self, table: str, partition: str) -> str:
        return f"lake/{self.source}/{table}/{partition}"

    def publish(self, table: str, partition: str, directory: Path, meta: dict[str, Any] | None = None) -> Manifest:
        """Publish `directory` as the partition; the same content again writes nothing."""
        about = {**(meta or {}), "source": self.source, "table": table, "partition": partition}
        manifest = publish(self.store, directory, kind="partition", meta=about)
        point(self.store, self._ref(table, partition), manifest.digest)
        return manifest

    def partitions(self, table: str) -> list[str]:
        """List the names of the published partitions, sorted."""
        prefix = f"lake/{self.source}/{table}"
        return sorted(name.removeprefix(f"{prefix}/") for name in refs(self.store, prefix))

    def digest(self, table: str, partition: str) -> str | None:
        return resolve(self.store, self._ref(table, partition))

    def manifest(self, table: str, partition: str) -> Manifest:
        """Read the manifest of a partition. Raises NotFound, naming it."""
        return read_manifest(self.store, self._existing(table, partition))

    def fetch(self, table: str, partition: str) -> Path:
        """Fetch a verified local copy of the partition's directory. Raises NotFound or Tampered."""
        return fetch(self.store, self._existing(table, partition), self.cache)

    def files(self, table: str, first: str | None = None, last: str | None = None) -> list[Path]:
        """Fetch `data.parquet` of every partition from `first` to `last`, both included, in order."""
        return [
            self.fetch(table, partition) / DATA
            for partition in self.partitions(table)
            if (first is None or partition >= first) and (last is None or partition <= last)
        ]

    def _existing(self, table: str, partition: str) -> str:
        digest = self.digest(table, partition)
        if digest is None:
            raise NotFound(
                f"{self.source} has no partition {table}/{partition}",
                remedy=f"run the nightly chain for it: `caravan nightly --source {self.source} --day {partition}`",
            )
        return digest


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet with stable bytes: microseconds (Spark reads no finer), zstd, no writer-dependent metadata."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata(None),
        path,
        compression="zstd",
        coerce_timestamps="us",
        row_group_size=256 * 1024,
        store_schema=True,
    )
