"""Replaces the target region's database by the snapshot's, with the log after it.

Everything is unpacked beside the present data and takes its place by a rename; the former data stay as `data.before`
until the restored server has answered. Starting over is always safe.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

import psycopg2

from artifacts.database import server_holds
from artifacts.manifest import checked, sha256_of
from contracts.errors import NotFound, RecoveryError, Tampered
from contracts.settings import Settings
from recovery.machine import DatabaseCluster, Machine
from recovery.restore.recovery_point import Chosen, log_after
from recovery.shipping import base_backup, wal
from recovery.snapshots import consistency_point
from recovery.vault.vault import Vault

#: Longest log replay, in seconds.
LOG_REPLAY_TIMEOUT_S = 1800.0
_TIMELINE = "recovery_target_timeline"
_SHORT = "recovery ended before configured recovery target was reached"


def restore(
    s: Settings, vault: Vault, machine: Machine, chosen: Chosen, tell: Callable[[str], None], *, epoch: int = 0
) -> None:
    """Put the snapshot's cluster in place and replay the log. The service must be stopped, and is left stopped.

    `epoch` is the one that begins with this restore, 0 for a region that stays closed: the database's new timeline is
    not below it. Raises NotFound or Tampered when a part is bad, RecoveryError when the server does not come up.
    """
    cluster = machine.cluster()
    folder = cluster.data.parent
    _stop(machine, cluster)
    work = folder / "restoring"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    layers = []
    for number, one in enumerate(chosen.snapshot.backups):
        layers.append(work / f"backup-{number:03d}")
        base_backup.unpack(vault, one, layers[-1])
        tell(f"base backup {number + 1} of {len(chosen.snapshot.backups)} ({one.kind}) is unpacked")
    data = layers[0]
    if len(layers) > 1:
        data = work / "combined"
        combine = str(machine.tool("pg_combinebackup"))
        _run([combine, "--manifest-checksums=SHA256", "--output", str(data), *map(str, layers)])
    _check_files(data)
    names = wal.write_segments(_log(vault, chosen, tell), chosen.snapshot.timeline, work / "log")
    tell(f"{len(names)} segments of log are unpacked")
    # two restores to the same past must not send log under the same names: their epochs differ, timelines would not
    for number in range(chosen.snapshot.timeline + 1, epoch):
        (work / "log" / f"{number:08X}.history").touch()
    _write_recovery(data, work / "log", chosen)
    for path in (work, *work.rglob("*")):
        if cluster.owner is not None:
            os.chown(path, *cluster.owner)
    data.chmod(0o700)
    before = folder / "data.before"
    if cluster.data.exists():
        if before.exists():  # a restore before this one failed: what there was before it stays
            shutil.rmtree(cluster.data)
        else:
            cluster.data.rename(before)
    data.rename(cluster.data)
    _replay(s, machine, cluster, chosen, tell)
    for finished in (work, before):
        shutil.rmtree(finished, ignore_errors=True)


def _check_files(data: Path) -> None:
    """Raise Tampered unless the files match the server's own manifest (pg_verifybackup of some builds crashes)."""
    for about in json.loads((data / "backup_manifest").read_bytes())["Files"]:
        path = data / checked(about["Path"])
        if not path.is_file() or path.stat().st_size != about["Size"] or sha256_of(path) != about["Checksum"]:
            raise Tampered(
                f"{about['Path']} of the base backup is missing or differs", remedy="restore an older snapshot"
            )


def _log(vault: Vault, chosen: Chosen, tell: Callable[[str], None]) -> Iterator[tuple[int, bytes]]:
    """Yield (position, log): as the manifest lists it up to the consistency point, and after that as far as it goes.

    After the consistency point the log ends before the first piece of which no version is whole, and that is reported.
    """
    snapshot = chosen.snapshot
    listed = {segment.part.key: segment.part for segment in snapshot.log}
    wanted = [
        wal.Piece(timeline=snapshot.timeline, start=segment.start, end=segment.end, key=segment.part.key)
        for segment in snapshot.log
    ]
    if not chosen.exact:
        wanted += [piece for piece in log_after(vault, snapshot) if piece.start < chosen.log_end]

    def bring(piece: wal.Piece) -> bytes | Tampered | NotFound:
        if piece.key in listed:
            return vault.unsealed(listed[piece.key])
        try:
            return vault.sealer.unseal(vault.unlisted(piece.key), piece.key)
        except (Tampered, NotFound) as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(wanted), 8):
            some = wanted[start : start + 8]
            for piece, data in zip(some, pool.map(bring, some), strict=True):
                if not isinstance(data, bytes):
                    tell(f"the log ends at {piece.start:X}: {data.what}")
                    return
                yield piece.start, data
    if wanted and not chosen.exact and (end := wanted[-1].end) < chosen.log_end:
        why = next((why for key, why in vault.foreign.items() if f"/{end:016X}-" in key), "nothing goes on from there")
        tell(f"the log ends at {end:X}: {why}")


def _write_recovery(data: Path, log: Path, chosen: Chosen) -> None:
    lines = {"restore_command": f'cp "{log}/%f" "%p"', _TIMELINE: "current"}
    lines["recovery_target_action"] = "promote"
    if chosen.exact:
        position = chosen.snapshot.cut
        lines["recovery_target_lsn"] = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
        lines["recovery_target_inclusive"] = "off"
    elif chosen.at is not None:
        lines["recovery_target_time"] = _in_utc(chosen.at)
        lines["recovery_target_inclusive"] = "on"
    (data / "postgresql.auto.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in lines.items()))
    (data / "recovery.signal").touch()


def _in_utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}+00"


def _replay(
    s: Settings, machine: Machine, cluster: DatabaseCluster, chosen: Chosen, tell: Callable[[str], None]
) -> None:
    """Start the server by hand, wait until it has replayed and takes writes, check the consistency point, stop it."""
    try:
        _start(machine, cluster)
        _until_replayed(s, cluster, tell)
    except RecoveryError as error:
        # it ends as soon as it finds out, which may be after it has taken its first connections
        aimed = chosen.exact or chosen.at is not None
        if not aimed or _SHORT not in error.what + _said(cluster).read_text(errors="replace"):
            raise
        # nothing was written after that moment: all the log there is leads to it
        configuration = cluster.data / "postgresql.auto.conf"
        lines = configuration.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.startswith(_TIMELINE) or "recovery_target_" not in line]
        configuration.write_text("".join(kept))
        _stop(machine, cluster)
        _start(machine, cluster)
        _until_replayed(s, cluster, tell)
    if chosen.exact:
        check_consistency(s, chosen)
        tell(f"{len(chosen.snapshot.tables)} tables hash as at the cut")
    (cluster.data / "postgresql.auto.conf").write_text("")
    _stop(machine, cluster)


def _until_replayed(s: Settings, cluster: DatabaseCluster, tell: Callable[[str], None]) -> None:
    deadline = time.monotonic() + LOG_REPLAY_TIMEOUT_S
    while True:
        try:
            with closing(wal.connect(s)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()")
                replaying, position = cursor.fetchone()
        except psycopg2.Error as error:
            raise RecoveryError("the restored database went away", remedy=f"see {_said(cluster)}") from error
        if not replaying:
            return
        if time.monotonic() > deadline:
            raise RecoveryError(
                f"the log is not replayed after {LOG_REPLAY_TIMEOUT_S:.0f} s", remedy=f"see {_said(cluster)}"
            )
        tell(f"replaying: at {position}")
        time.sleep(0.2)


def check_consistency(s: Settings, chosen: Chosen) -> None:
    """Raise Tampered unless our tables hash as they did at the consistency point."""
    with closing(wal.connect(s, database="caravan")) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        found = consistency_point.hash_tables(cursor, [table.name for table in chosen.snapshot.tables])
    wrong = consistency_point.differences(chosen.snapshot.tables, found)
    if wrong:
        raise Tampered(f"{chosen.snapshot.id}: {wrong[0]}", remedy="restore the snapshot before it")


def _start(machine: Machine, cluster: DatabaseCluster) -> None:
    options = {
        "listen_addresses": cluster.host, "port": cluster.port, "unix_socket_directories": "", "max_connections": 100,
        "hot_standby": "on", "wal_level": "replica",
    }  # fmt: skip
    said = _said(cluster)
    said.unlink(missing_ok=True)
    given = " ".join(f"-c {name}='{value}'" for name, value in options.items())
    try:
        _run([
            *cluster.prefix, str(machine.tool("pg_ctl")), "start", "--wait", "--silent",
            f"--timeout={LOG_REPLAY_TIMEOUT_S:.0f}",
            f"--pgdata={cluster.data}", f"--log={said}", f"--options={given}",
        ])  # fmt: skip
    except RecoveryError as error:
        text = said.read_text(errors="replace")[-1500:] if said.is_file() else error.what
        raise RecoveryError(f"the restored database does not start: {text.strip()}", remedy=f"see {said}") from None


def _stop(machine: Machine, cluster: DatabaseCluster) -> None:
    lock = cluster.data / "postmaster.pid"
    if not lock.exists():
        return
    if server_holds(lock):  # else its number may be another process's by now, which must not be signalled
        _run([
            *cluster.prefix, str(machine.tool("pg_ctl")), "stop", "--mode=fast", "--timeout=300",
            f"--pgdata={cluster.data}",
        ])  # fmt: skip
    lock.unlink(missing_ok=True)


def _said(cluster: DatabaseCluster) -> Path:
    return cluster.data.parent / "restore.log"


def _run(command: list[str]) -> None:
    # into a file, not a pipe: a server that stays would keep a pipe open for ever
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, check=False, cwd="/")
        said.seek(0)
        if done.returncode:
            program = next(Path(word).name for word in command if Path(word).name.startswith("pg_"))
            raise RecoveryError(
                f"{program} failed: {said.read().decode(errors='replace').strip()[-500:]}",
                remedy="take the snapshot before it, or look at the files beside the data folder",
            )
