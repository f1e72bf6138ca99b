"""What a rehearsal breaks is mended when it is over, however it ends."""

from __future__ import annotations

import signal
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from caravan.cli.recovery.rehearse import end
from contracts.errors import RecoveryError, RestoreRefused
from contracts.settings import Settings
from recovery.drills import rehearsal
from recovery.drills.faults import DOWN, SlowProxy, inject
from recovery.file_lock import hold
from recovery.machine import Machine
from recovery.restore import suspended
from recovery.vault.vault import Vault
from tests.recovery.vaults import settings


class Services:
    """A machine whose services are names."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.started: list[tuple[str, ...]] = []

    def stop(self, *services: str) -> None:
        self.down |= set(services)

    def start(self, *services: str) -> None:
        self.down -= set(services)
        self.started.append(services)


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return settings().model_copy(update={"home": tmp_path})


@pytest.mark.parametrize("fault", DOWN)
def test_services_are_down_and_then_run_again(here: Settings, fault: str) -> None:
    s, services = here, Services()
    with inject(fault, cast(Vault, None), s, cast(Machine, services), s) as seen:
        assert services.down == {name for group in DOWN[fault] for name in group}
        assert seen == s
        assert suspended.path(s).exists()
    assert not services.down
    assert not suspended.path(s).exists()


def test_a_rehearsal_that_was_killed_is_made_good_by_the_next(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    services, standby = Services(), here.of_region("standby")
    suspended.stop(here, cast(Machine, services), DOWN["region-down"])
    assert "edge" in services.down  # and there it was killed
    told: list[str] = []

    def rehearsed(*_: object) -> None:
        assert not services.down
        raise RecoveryError("far enough")

    monkeypatch.setattr(rehearsal, "_rehearsed", rehearsed)
    monkeypatch.setattr(rehearsal, "alert", lambda *_, **__: None)
    with pytest.raises(RecoveryError, match="far enough"):
        rehearsal.rehearse(
            standby, cast(Machine, None), cast(Machine, services), progress=lambda _step, what, _s: told.append(what)
        )
    assert "edge" in told[0]
    assert not suspended.path(here).exists()


def test_a_second_rehearsal_does_not_start_what_the_first_has_stopped(here: Settings) -> None:
    services, standby = Services(), here.of_region("standby")
    with hold(suspended.path(here).with_suffix(".lock"), lambda _who: None):
        suspended.stop(here, cast(Machine, services), DOWN["edge-cut-off"])
        with pytest.raises(RestoreRefused, match="another rehearsal"):
            rehearsal.rehearse(standby, cast(Machine, None), cast(Machine, services))
        assert services.down == {"edge"}


def test_a_rehearsal_that_fails_leaves_nothing_broken(here: Settings) -> None:
    s, services = here, Services()
    with pytest.raises(ZeroDivisionError), inject("region-down", cast(Vault, None), s, cast(Machine, services), s):
        raise ZeroDivisionError
    assert not services.down
    assert "postgres" in services.started[0]  # what the others need comes first
    assert "engine" in services.started[1]


def test_a_rehearsal_that_is_told_to_end_leaves_nothing_broken(here: Settings) -> None:
    services, before = Services(), signal.signal(signal.SIGTERM, end)
    try:
        down = inject("region-down", cast(Vault, None), here, cast(Machine, services), here)
        with pytest.raises(SystemExit), down:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not services.down


@pytest.fixture
def server() -> Iterator[str]:
    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (line := self.rfile.readline()).strip():
                del line
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{cast(Any, server).server_address[1]}"
        server.shutdown()


def test_a_slow_door_answers_late_and_the_same(server: str) -> None:
    with closing(SlowProxy(server, 0.2)) as door:
        since = time.monotonic()
        assert httpx.get(door.address, trust_env=False).text == "ok"
        assert time.monotonic() - since >= 0.2
    with pytest.raises(httpx.TransportError):
        httpx.get(door.address, trust_env=False)
