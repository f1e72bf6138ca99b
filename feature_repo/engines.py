"""Runs the expressions of feature tables on one of two engines: DuckDB in this process, or a local Spark.

Both get the same Ibis expressions. Results come back as Arrow batches in the order the expression asks
for, so that the writer can write the same bytes whichever engine computed them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from contracts.errors import FeatureError

EngineName = Literal["duckdb", "spark"]

#: DuckDB spills to disk beyond this; Spark's driver gets as much heap.
MEMORY = "1GB"
BATCH_ROWS = 64 * 1024


class FeatureEngine(Protocol):
    """What building feature tables needs from an engine; the seam between the two."""

    def read(self, name: str, files: Sequence[Path]) -> Any:
        """Return an Ibis table over Parquet `files` of one schema."""

    def batches(self, expression: Any) -> Iterator[pa.RecordBatch]:
        """Compute the rows of `expression`, in its order."""

    def close(self) -> None:
        """Free what the engine holds."""


class DuckDB:
    """DuckDB in this process: streams, and spills to `scratch` when memory is short."""

    def __init__(self, scratch: Path) -> None:
        import ibis

        self._ibis = ibis.duckdb.connect(
            threads=min(os.cpu_count() or 1, 8), memory_limit=MEMORY, temp_directory=str(scratch)
        )

    def read(self, name: str, files: Sequence[Path]) -> Any:
        with without_deprecations():
            return self._ibis.read_parquet([str(f) for f in files], table_name=name)

    def batches(self, expression: Any) -> Iterator[pa.RecordBatch]:
        # not Ibis' to_pyarrow_batches: it calls a method that DuckDB 2 has removed
        relation = self._ibis.con.sql(self._ibis.compile(expression))
        yield from relation.to_arrow_reader(BATCH_ROWS)

    def close(self) -> None:
        self._ibis.disconnect()


class Spark:
    """Spark in local mode on loopback, in UTC. Needs Java 17."""

    def __init__(self, scratch: Path) -> None:
        import ibis
        from pyspark.sql import SparkSession

        options: dict[str, bool | float | int | str | None] = {
            "spark.sql.session.timeZone": "UTC",
            "spark.ui.enabled": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": MEMORY.removesuffix("B").lower(),
            "spark.local.dir": str(scratch),
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.sql.shuffle.partitions": os.cpu_count() or 1,
            "spark.sql.execution.arrow.pyspark.enabled": "true",
            "spark.log.level": "ERROR",
        }
        builder = SparkSession.builder.master(f"local[{os.cpu_count() or 1}]").appName("caravan-features")
        try:
            self._session = builder.config(map=options).getOrCreate()
        except Exception as error:
            raise FeatureError(
                f"Spark did not start: {error}",
                remedy="install Java 17 and set JAVA_HOME, or use CARAVAN_FEATURE_ENGINE=duckdb",
            ) from error
        self._ibis = ibis.pyspark.connect(self._session)

    def read(self, name: str, files: Sequence[Path]) -> Any:
        self._session.read.parquet(*[str(f) for f in files]).createOrReplaceTempView(name)
        return self._ibis.table(name)

    def batches(self, expression: Any) -> Iterator[pa.RecordBatch]:
        yield from self._ibis.to_pyarrow(expression).to_batches(BATCH_ROWS)

    def close(self) -> None:
        self._session.stop()


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Ignore the warning about a DuckDB method that DuckDB will remove and Ibis still calls."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
        yield


@contextmanager
def engine(name: EngineName, scratch: Path) -> Iterator[FeatureEngine]:
    """Open the engine `name` and close it at the end; `scratch` is a folder for what does not fit in memory."""
    opened: FeatureEngine = Spark(scratch) if name == "spark" else DuckDB(scratch)
    try:
        yield opened
    finally:
        opened.close()
