"""Runs PostgreSQL 18 on loopback, with scram passwords and no unix socket.

PostgreSQL refuses to run as root. When the stack is root's, the server and `initdb` run as the owner of the data
folder (at first start: the system's `postgres` or `nobody`). That user may not be able to walk down to a folder
inside the home of root; then the server alone keeps the capability to pass folders (CAP_DAC_READ_SEARCH).
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.database import server_holds
from caravan.stack.host import binaries, probe
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from contracts.errors import StackError

_PASSING_FOLDERS = {"dac_read_search": 2, "dac_override": 1}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One PostgreSQL: its folder (holding `data`), its address, and the superuser's password."""

    folder: Path
    host: str
    port: int
    superuser_password: str
    #: Whether snapshots are taken of it: then it keeps what incremental backups and streaming its log need.
    is_saved: bool = False

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def program(self, group: str, environment: dict[str, str], finish: Callable[[], None]) -> Program:
        """Describe the server under supervisor; SIGINT is its fast shutdown."""
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "48MB",
            "wal_level": "replica",
            "max_wal_size": "256MB",
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] ",
        }
        if self.is_saved:
            # a standby that stays away may not fill this disk: beyond that, the next snapshot begins again
            settings |= {"summarize_wal": "on", "max_slot_wal_keep_size": "2GB"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            group=group,
            service="postgres",
            command=(*run_as(self), str(binaries.postgres("postgres")), "-D", str(self.data), *arguments),
            directory=self.folder,
            environment=environment,
            ports={"PostgreSQL": self.port},
            address=f"{self.host}:{self.port}",
            prepare=lambda: prepare(self),
            ready=lambda _: probe.postgres(self.host, self.port, "postgres", self.superuser_password),
            finish=finish,
            stop_signal="INT",
            stop_as_group=False,
            is_store=True,
        )


def prepare(cluster: Cluster) -> None:
    """Make the cluster's files unless they exist, and clear the lock of a server that is no more."""
    user = server_user(cluster.data)
    cluster.folder.mkdir(parents=True, exist_ok=True)
    if user:
        os.chown(cluster.folder, user.pw_uid, user.pw_gid)
    cluster.folder.chmod(0o700)
    if (cluster.data / "PG_VERSION").is_file():
        # a recycled pid that belongs to some other program would make PostgreSQL believe that it runs already
        lock = cluster.data / "postmaster.pid"
        if not server_holds(lock):
            lock.unlink(missing_ok=True)
        return
    fresh = cluster.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    password_file = cluster.folder / "password"
    write_private(password_file, cluster.superuser_password, owner=(user.pw_uid, user.pw_gid) if user else None)
    command = [
        *run_as(cluster), str(binaries.postgres("initdb")), "-D", str(fresh), "-U", "postgres", "--encoding=UTF8",
        "--no-locale", "--auth=scram-sha-256", f"--pwfile={password_file}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=120)
    password_file.unlink()
    if done.returncode:
        raise StackError(f"initdb failed: {done.stderr.strip()[-500:]}", remedy=f"look at {cluster.folder}")
    os.rename(fresh, cluster.data)


def server_user(data: Path) -> pwd.struct_passwd | None:
    """Return the user PostgreSQL runs as: None means ours, because we are not root."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as",
        remedy="run `caravan up` as a normal user, or add one: useradd --system postgres",
    )


def run_as(cluster: Cluster) -> list[str]:
    """Return the command prefix that runs a program as the server's user, without privileges it does not need."""
    user = server_user(cluster.data)
    if user is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError(
            "PostgreSQL does not run as root, and `setpriv` (util-linux) is not installed to run it as another user",
            remedy="install util-linux, or run `caravan up` as a normal user",
        )
    capability = "-all"
    walled = _first_closed_folder((binaries.postgres("postgres"), cluster.data), user)
    if walled is not None:
        held = _bounding_set()
        able = [name for name, bit in _PASSING_FOLDERS.items() if held >> bit & 1]
        if not able:
            raise StackError(
                f"PostgreSQL runs as the user {user.pw_name} (it refuses root), who cannot enter {walled}",
                remedy=f"chmod o+x {walled}, or set CARAVAN_HOME and install where {user.pw_name} can go, "
                "or run `caravan up` as a normal user",
            )
        capability = f"-all,+{able[0]}"
    return [
        setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", f"--inh-caps={capability}",
        f"--ambient-caps={capability}", f"--bounding-set={capability}", "--no-new-privs",
    ]  # fmt: skip


def _first_closed_folder(paths: Sequence[Path], user: pwd.struct_passwd) -> Path | None:
    """Return the first folder on the way to one of `paths` that `user` cannot enter."""
    for path in paths:
        for folder in reversed(path.parents):
            try:
                about = folder.stat()
            except FileNotFoundError:
                break
            if about.st_uid == user.pw_uid:
                entered = about.st_mode & stat.S_IXUSR
            elif about.st_gid == user.pw_gid:
                entered = about.st_mode & stat.S_IXGRP
            else:
                entered = about.st_mode & stat.S_IXOTH
            if not entered:
                return folder
    return None


def _bounding_set() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def ensure_databases(cluster: Cluster, role: str, password: str, databases: Sequence[str]) -> None:
    """Create `role` and the databases it owns, unless they exist; the role's password is set either way.

    Of a cluster that is saved, the role may also stream the log and take base backups: it owns all there is in it.
    """
    import psycopg2
    from psycopg2 import sql

    connection = psycopg2.connect(
        host=cluster.host, port=cluster.port, user="postgres", password=cluster.superuser_password, dbname="postgres"
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_roles where rolname = %s", (role,))
            verb = "alter" if cursor.fetchone() else "create"
            right = "replication" if cluster.is_saved else "noreplication"
            cursor.execute(
                sql.SQL(verb + " role {} login createdb " + right + " password {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )
            cursor.execute("select datname from pg_database")
            existing = {name for (name,) in cursor.fetchall()}
            for database in databases:
                if database not in existing:
                    cursor.execute(
                        sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(role))
                    )
    finally:
        connection.close()
