"""Bytes per second into a snapshot and out of it; beside it `aws s3 sync` with `pg_dump` and `pg_restore`.

    python -m tests.bench.bench_recovery [MEGABYTES]

Both regions run. Ours reads the primary's stores, encrypts, writes into the standby's store under object lock, and
restores the standby from there, every byte verified. The peer does less: it copies the objects by way of a folder
(`aws s3 sync` knows one endpoint at a time) and dumps the databases, in the clear, without a cut that fits the two
together; then it brings them back the same way. `aws` runs in an environment of its own, because it pins its libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from artifacts.object_store import ObjectStore
from artifacts.publish import point, publish
from caravan.stack.host import binaries
from caravan.stack.keys import credentials
from caravan.stack.machine import EmbeddedMachine
from caravan.stack.services.region import DATABASES
from contracts.settings import Settings
from recovery.restore.options import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore import restore
from recovery.shipping.objects import buckets
from recovery.snapshots.create import Taken, create
from tests.scenarios.lost_region import Shop
from tests.scenarios.two_regions import two_regions

AWS = "awscli==1.46.3"
FILES, PARTITION = 4, 64  # files of a partition; its size in megabytes


def fill(s: Settings, megabytes: int) -> None:
    """Partitions of noise, which nothing can compress, in the region's lake."""
    store, draw = ObjectStore.of(s), np.random.default_rng(3)
    for number in range(megabytes // PARTITION):
        with tempfile.TemporaryDirectory() as folder:
            for name in range(FILES):
                (Path(folder) / f"f{name}").write_bytes(draw.bytes(PARTITION * 1_000_000 // FILES))
            digest = publish(store, Path(folder), kind="partition", meta={"number": number}).digest
        point(store, f"lake/bench/events/{number:05d}", digest)


def timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


@dataclass
class Peer:
    """`aws s3 sync` and `pg_dump`, from one region to the other one and back into its stores."""

    s: Settings
    other: Settings
    folder: Path

    def back_up(self) -> None:
        for bucket in buckets(self.s):
            self.sync(self.s, f"s3://{bucket}", str(self.folder / bucket))
            self.sync(self.other, str(self.folder / bucket), f"s3://peer-{bucket}")
        for name in DATABASES:
            self.postgres(self.s, "pg_dump", "-Fc", "-f", str(self.folder / f"{name}.dump"), name)

    def restore(self) -> None:
        for bucket in buckets(self.s):
            again = self.folder / "again" / bucket
            self.sync(self.other, f"s3://peer-{bucket}", str(again))
            self.sync(self.other, str(again), f"s3://peer-restored-{bucket}")
        for name in DATABASES:
            self.postgres(self.other, "createdb", f"peer_{name}")
            self.postgres(
                self.other, "pg_restore", "--no-owner", "-d", f"peer_{name}", str(self.folder / f"{name}.dump")
            )

    def sync(self, s: Settings, source: str, target: str) -> None:
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": s.secret("s3_access_key"), "AWS_SECRET_ACCESS_KEY": s.secret("s3_secret_key"),
            "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run(
            [uv, "tool", "run", "--quiet", "--from", AWS, "aws", "s3", "sync", "--only-show-errors",
             "--endpoint-url", s.s3_url, source, target],
            env=environment, check=True,
        )  # fmt: skip

    def postgres(self, s: Settings, tool: str, *arguments: str) -> None:
        where = ["-h", s.host, "-p", str(s.ports.postgres), "-U", "postgres"]
        password = credentials.read_secret(s, "postgres_superuser_password")
        subprocess.run(
            [str(binaries.postgres(tool)), *where, *arguments], env=os.environ | {"PGPASSWORD": password}, check=True
        )

    def prepare(self) -> None:
        """Its buckets, and its program, which is fetched the first time."""
        for bucket in buckets(self.s):
            for name in (f"peer-{bucket}", f"peer-restored-{bucket}"):
                ObjectStore.of(self.other, name).ensure_bucket()
        (self.folder / "empty").mkdir()
        self.sync(self.other, str(self.folder / "empty"), f"s3://peer-{next(iter(buckets(self.s)))}")


def main(megabytes: int) -> None:
    with two_regions() as s, tempfile.TemporaryDirectory(dir=s.home) as folder:
        standby = s.of_region("standby")
        Shop(s).prepare()
        EmbeddedMachine(s).stop("feed")  # it would send the objects ahead of the snapshot
        fill(s, megabytes)
        peer = Peer(s, standby, Path(folder))
        peer.prepare()
        taken: list[Taken] = []

        def feed_and_create() -> None:
            EmbeddedMachine(s).start("feed")  # from here on both send objects
            taken.append(create(s, EmbeddedMachine(s)))

        first = timed(feed_and_create)
        dumped = timed(peer.back_up)
        second = timed(lambda: taken.append(create(s, EmbeddedMachine(s))))
        again = timed(peer.back_up)
        steps = restore(
            standby, EmbeddedMachine(standby), Point.parse("newest"),
            RestoreOptions(mode=RestoreMode.REHEARSAL, reason="a benchmark", although_alive=True),
        ).steps  # fmt: skip
        ours = sum(steps[name]["seconds"] for name in ("database", "artifacts"))
        loaded = timed(peer.restore)
        size = taken[0].snapshot.objects.size / 1e6
        print(
            f"{size:,.0f} MB in {taken[0].snapshot.objects.count} objects; ours: {taken[0].moved / 1e6:,.0f} MB moved\n"
        )
        print("| what | ours | peer | ratio |\n|---|---:|---:|---:|")
        for what, mine, theirs in (
            ("first snapshot", first, dumped), ("next one, nothing changed", second, again), ("restore", ours, loaded)
        ):  # fmt: skip
            print(f"| {what} | {size / mine:.0f} MB/s ({mine:.1f} s) | {size / theirs:.0f} MB/s ({theirs:.1f} s) | "
                  f"{theirs / mine:.2f}x |")  # fmt: skip
        moved = taken[1].moved / 1e6
        print(f"\nThe next snapshot moved {moved:.3f} MB, {moved / size:.4%} of what there is.")
        print(f"All steps of the restore: {sum(step['seconds'] for step in steps.values()):.0f} s.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_048)
