"""Takes base backups of the database, full or incremental on the one before, and streams them into the vault.

`pg_basebackup` writes one tar stream; it is split into parts, encrypted and uploaded as it arrives, so neither disk nor
memory holds a copy. The WAL that a backup needs to become consistent is not in it: recovery.shipping.wal ships that.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from contracts.errors import RecoveryError, Tampered
from contracts.settings import Settings
from recovery.machine import Machine
from recovery.shipping.wal import lsn
from recovery.vault.encryption import PART
from recovery.vault.manifest import Backup, Part
from recovery.vault.vault import Vault

#: Most backups in one chain, the full one included; each incremental one makes a restore slower.
LONGEST_CHAIN = 12
_UPLOADS = 4
_MANIFEST = "backup_manifest"


def take(
    s: Settings,
    vault: Vault,
    machine: Machine,
    prefix: str,
    on: Backup | None,
    *,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> Backup:
    """Take one base backup into parts below `prefix`: incremental on `on`, or full when that is None.

    `progress` is called with the bytes read so far. Raises RecoveryError when pg_basebackup fails.
    """
    host, _, port = (s.database_host or f"{s.host}:{s.ports.postgres}").partition(":")
    with tempfile.TemporaryDirectory(prefix="caravan-backup-") as folder:
        command = [
            str(machine.tool("pg_basebackup")), "--pgdata=-", "--format=tar", "--wal-method=none",
            "--checkpoint=fast", "--manifest-checksums=SHA256", "--no-password", "--username=caravan",
            f"--host={host}", f"--port={port or 5432}",
        ]  # fmt: skip
        if on is not None:
            base = Path(folder) / _MANIFEST
            base.write_bytes(vault.unsealed(on.manifest))
            command.append(f"--incremental={base}")
        # what a region's base backup says of itself goes to a file: a full pipe would stop it
        with (Path(folder) / "said").open("w+b") as said:
            environment = {**os.environ, "PGPASSWORD": s.secret("postgres_password")}
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=environment) as process:
                assert process.stdout is not None  # noqa: S101 - asked for above
                parts = _Parts(vault, prefix, process.stdout, progress)
                try:
                    manifest = parts.send()
                except BaseException:
                    process.kill()
                    raise
            said.seek(0)
            if process.returncode:
                raise RecoveryError(
                    f"pg_basebackup failed: {said.read().decode(errors='replace').strip()[-400:]}",
                    remedy="take it in full: `caravan snapshot create --full`",
                )
    spans = json.loads(manifest)["WAL-Ranges"]
    return Backup(
        kind="full" if on is None else "incremental",
        start=min(lsn(span["Start-LSN"]) for span in spans),
        end=max(lsn(span["End-LSN"]) for span in spans),
        manifest=vault.keep_sealed(manifest, f"{prefix}/{_MANIFEST}"),
        parts=tuple(parts.kept),
    )


class _Parts(io.RawIOBase):
    """Reads a tar stream member by member while everything that is read is uploaded as parts."""

    def __init__(self, vault: Vault, prefix: str, source: IO[bytes], progress: Callable[[int], None]) -> None:
        self._vault = vault
        self._prefix = prefix
        self._source = source
        self._progress = progress
        self._waiting = bytearray()
        self._total = 0
        self._sending: list[Future[Part]] = []
        self._pool = ThreadPoolExecutor(_UPLOADS)
        self.kept: list[Part] = []

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._waiting += data
        self._total += len(data)
        while len(self._waiting) >= PART:
            self._send(bytes(self._waiting[:PART]))
            del self._waiting[:PART]
        return data

    def send(self) -> bytes:
        """Upload everything; return the backup's own manifest, which is the last member."""
        manifest = b""
        with self._pool:
            try:
                with tarfile.open(fileobj=self, mode="r|") as tar:
                    for member in tar:
                        if member.name == _MANIFEST and (file := tar.extractfile(member)) is not None:
                            manifest = file.read()
            except tarfile.TarError as error:
                if self._total:
                    raise RecoveryError(
                        "the base backup ended too early", remedy="see `caravan logs postgres`"
                    ) from error
            while self.read(1 << 20):
                pass
            if self._waiting:
                self._send(bytes(self._waiting))
            self._take(0)
        return manifest or b'{"WAL-Ranges": []}'

    def _send(self, data: bytes) -> None:
        number = len(self.kept) + len(self._sending)
        self._sending.append(self._pool.submit(self._vault.keep_sealed, data, f"{self._prefix}/base-{number:06d}"))
        self._take(_UPLOADS)
        self._progress(self._total)

    def _take(self, leave: int) -> None:
        """Wait until at most `leave` uploads are in flight, so that memory stays bounded."""
        while len(self._sending) > leave:
            self.kept.append(self._sending.pop(0).result())


class _Stream(io.RawIOBase):
    """Decrypted parts, one after the other, as one readable stream."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._parts, b"")
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def unpack(vault: Vault, backup: Backup, folder: Path, *, progress: Callable[[int], None] = lambda _b: None) -> None:
    """Unpack one backup into `folder`, which must not exist; `progress` is called with the bytes so far.

    Raises NotFound or Tampered, naming the part.
    """

    def bring() -> Iterator[bytes]:
        total = 0
        with ThreadPoolExecutor(_UPLOADS) as pool:
            ahead: list[Future[bytes]] = []
            for part in backup.parts:
                ahead.append(pool.submit(vault.unsealed, part))
                if len(ahead) > _UPLOADS:
                    yield (data := ahead.pop(0).result())
                    progress(total := total + len(data))
            for future in ahead:
                yield (data := future.result())
                progress(total := total + len(data))

    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Stream(bring()), PART), mode="r|") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise Tampered(f"a base backup cannot be unpacked: {error}", remedy="take the snapshot before it") from error
