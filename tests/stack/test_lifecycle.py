"""Up, status, kill -9 of everything, up, down: on real servers, with a home and ports of its own."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from artifacts.object_store import ObjectStore
from caravan import stack
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials
from caravan.stack.services import region
from caravan.stack.supervision import processes, supervisor
from contracts.errors import PortTaken, StackError
from contracts.settings import Settings
from tests.conftest import free_offset

pytestmark = pytest.mark.stack


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A stack of the three stores: what MLflow and the engine add to this test is time."""
    monkeypatch.delenv("CARAVAN_SECRETS_DIR", raising=False)
    every = region.programs
    monkeypatch.setattr(region, "programs", lambda s: [program for program in every(s) if program.is_store])
    home = Path(tempfile.mkdtemp(prefix="caravan-lifecycle-"))
    s = Settings(home=home, port_offset=free_offset())
    try:
        yield s
    finally:
        stack.down(s)
        shutil.rmtree(home)


def ours(s: Settings) -> list[psutil.Process]:
    return processes.of_stack(s.home, supervisor.session(s))


def test_a_stack_survives_the_death_of_all_its_processes(fresh: Settings) -> None:
    s = stack.up(fresh, control=False)
    first = {service.name: service for service in stack.status(s)}
    assert {service.state for service in first.values()} == {"ready"}
    assert all(service.memory > 0 and service.address.count("127.0.0.1") == 1 for service in first.values())
    ObjectStore.of(s).put("kept", b"what was written before")

    # up again starts nothing again
    stack.up(s, control=False)
    assert {service.name: service.pid for service in stack.status(s)} == {name: one.pid for name, one in first.items()}

    listening = {c.laddr.ip for p in ours(s) for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}

    dying = ours(s)
    for process in dying:
        process.kill()
    psutil.wait_procs(dying, timeout=10)
    assert stack.status(s) == []

    s = stack.up(fresh, control=False)
    second = {service.name: service for service in stack.status(s)}
    assert {service.state for service in second.values()} == {"ready"}
    assert not {service.pid for service in second.values()} & {service.pid for service in first.values()}
    assert ObjectStore.of(s).get("kept") == b"what was written before"

    # only the supervisor dies: its orphans are found, ended, and started again
    session = supervisor.session(s)
    assert session is not None
    psutil.Process(session[0]).kill()
    s = stack.up(fresh, control=False)
    assert {service.state for service in stack.status(s)} == {"ready"}

    before = ours(s)
    stack.down(s)
    assert ours(s) == []
    assert [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert not list(Path("/tmp").glob(f"seaweedfs-*-grpc-{s.ports.s3_grpc}.sock"))
    stack.down(s)


def test_a_taken_port_stops_up_before_anything_starts(fresh: Settings) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", fresh.ports.redis))
        holder.listen()
        with pytest.raises(PortTaken, match=rf"{fresh.ports.redis}.*primary-redis"):
            stack.up(fresh, control=False)
    assert ours(fresh) == []


def test_a_service_that_can_not_start_is_named_with_the_end_of_its_log(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = next(program for program in region.programs(credentials.ensure(fresh)) if program.service == "redis")
    broken = Program(
        group="primary",
        service="redis",
        command=("/bin/sh", "-c", "echo the disk is full; exit 3"),
        directory=redis.directory,
        ready=lambda _: False,
    )
    monkeypatch.setattr(region, "programs", lambda s: [broken])
    began = time.monotonic()
    with pytest.raises(StackError, match=r"primary-redis does not start[\s\S]*the disk is full"):
        stack.up(fresh, control=False)
    assert time.monotonic() - began < 60


def test_what_waits_beside_a_service_that_can_not_start_does_not_hide_it(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unready() -> None:
        raise RuntimeError("asked before it was ready")

    def program(service: str, command: str, finish: Callable[[], None]) -> Program:
        return Program(
            group="primary", service=service, command=("/bin/sh", "-c", command), directory=fresh.home,
            ready=lambda _: False, finish=finish,
        )  # fmt: skip

    waiting, broken = program("s3", "exec sleep 100", unready), program("redis", "exit 3", lambda: None)
    monkeypatch.setattr(region, "programs", lambda s: [waiting, broken])
    with pytest.raises(StackError, match="primary-redis does not start"):
        stack.up(fresh, control=False)
