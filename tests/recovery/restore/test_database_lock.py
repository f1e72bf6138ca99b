"""Before a database is replaced its server is stopped: that one, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import RecoveryError
from recovery.machine import DatabaseCluster
from recovery.restore import database


@pytest.fixture
def cluster(tmp_path: Path) -> DatabaseCluster:
    (tmp_path / "data").mkdir()
    return DatabaseCluster(data=tmp_path / "data", host="127.0.0.1", port=1, prefix=(), owner=None)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the number of a server that is no more."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def machine(tmp_path: Path, exit_code: int) -> Any:
    """Whose `pg_ctl` writes down that it was called."""
    tool = tmp_path / "pg_ctl"
    tool.write_text(f"#!/bin/sh\necho called >> {tmp_path}/called\nexit {exit_code}\n")
    tool.chmod(0o755)
    return SimpleNamespace(tool=lambda _name: tool)


def test_a_lock_that_a_dead_server_left_goes_and_nobody_is_signalled(
    cluster: DatabaseCluster, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    (cluster.data / "postmaster.pid").write_text(f"{stranger.pid}\n{cluster.data}\n")
    database._stop(machine(tmp_path, 0), cluster)
    assert not (cluster.data / "postmaster.pid").exists()
    assert not (tmp_path / "called").exists()
    assert stranger.poll() is None


def test_a_server_that_can_not_be_stopped_keeps_its_lock(
    cluster: DatabaseCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "server_holds", lambda _lock: True)
    (cluster.data / "postmaster.pid").write_text("1\n")
    with pytest.raises(RecoveryError, match="pg_ctl failed"):
        database._stop(machine(tmp_path, 1), cluster)
    assert (cluster.data / "postmaster.pid").exists()
    assert (tmp_path / "called").exists()
