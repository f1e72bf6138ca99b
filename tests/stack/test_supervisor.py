"""What the supervisor is asked for, when it is silent, refuses, or does not know a region yet."""

from __future__ import annotations

import socket
import subprocess
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caravan.stack import lifecycle
from caravan.stack.host.environment import MARKER
from caravan.stack.host.program import Program
from caravan.stack.supervision import processes, starting, supervisor
from contracts.errors import StackError
from contracts.settings import Settings


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    return Settings(home=home, region="standby")


@pytest.fixture
def silent(s: Settings) -> Iterator[None]:
    """A daemon that takes calls and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(supervisor.socket_path(s)))
        listener.listen()
        yield


def test_a_supervisor_that_hangs_is_not_waited_for_for_ever(
    s: Settings, silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "CALL_TIMEOUT_S", 0.1)
    assert not supervisor.runs(s)
    with pytest.raises(StackError, match="does not answer"):
        supervisor.order(s, "stopProcess", "standby:standby-redis", wait=True)


def test_what_is_so_already_is_fine_and_another_refusal_is_ours(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: int) -> None:
        def call(*_: Any) -> None:
            raise xmlrpc.client.Fault(code, "WHY")

        monkeypatch.setattr(supervisor, "call", call)

    refuse(70)
    supervisor.order(s, "stopProcess", "standby:standby-redis", wait=True)
    refuse(60)
    supervisor.order(s, "startProcess", "standby:standby-redis", wait=False)
    refuse(10)
    with pytest.raises(StackError, match="WHY"):
        supervisor.order(s, "startProcess", "standby:standby-redis", wait=False)


class Daemon:
    """A running supervisor that knows some programs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *known: str) -> None:
        self.did: list[str] = []
        self.known = {name: {"pid": 1, "statename": "RUNNING"} for name in known}
        monkeypatch.setattr(supervisor, "runs", lambda _s: True)
        monkeypatch.setattr(supervisor, "processes", lambda _s: self.known)
        monkeypatch.setattr(supervisor, "write_group", lambda _s, group, _programs: self.did.append(f"wrote {group}"))
        monkeypatch.setattr(supervisor, "reload", lambda _s: self.did.append("read it"))
        redis = Program(group="standby", service="redis", command=("true",), directory=Path("/"), ready=lambda _: True)
        monkeypatch.setattr(lifecycle, "_programs", lambda _s, _group: [redis])
        monkeypatch.setattr(starting, "start", lambda _s, wanted, _p: self.did.extend(one.name for one in wanted))


def test_a_region_that_the_supervisor_does_not_know_is_told_to_it(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(monkeypatch)
    lifecycle.start_services(s, ["redis"])
    assert daemon.did == ["wrote standby", "read it", "standby-redis"]


def test_one_that_it_knows_is_left_as_it_is(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(monkeypatch, "standby-redis")
    lifecycle.start_services(s, ["redis"])
    assert daemon.did == ["standby-redis"]


def test_only_processes_of_the_region_are_ended_when_the_supervisor_died(s: Settings) -> None:
    started = {}
    try:
        for region in ("primary", "standby"):
            folder = s.home / "regions" / region / "redis"
            folder.mkdir(parents=True)
            command = ["sh", "-c", "sleep 60; true"]
            started[region] = subprocess.Popen(command, cwd=folder, env={MARKER: str(s.home), "PATH": "/usr/bin:/bin"})
        found = processes.within(s.paths.home, processes.of_stack(s.home, None))
        assert started["standby"].pid in {p.pid for p in found}
        assert started["primary"].pid not in {p.pid for p in found}
        processes.end_processes(found)
        assert started["standby"].poll() is not None
        assert started["primary"].poll() is None
    finally:
        for process in started.values():
            processes.end_processes(processes.of_stack(s.home, None))
            process.wait(5)
