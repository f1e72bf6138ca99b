"""The global edge: shoppers go to the region that says it is the active one, and to none when none is."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from contracts.errors import SettingsError
from contracts.settings import Settings, read_settings
from serving.edge import client_address, edge, global_edge
from tests.serving.edge.running_edge import Reply, envoy, start_server
from tests.waiting import until


class Region:
    """A region's edge that may be active, and answers its name to all questions."""

    def __init__(self, name: str) -> None:
        self.name, self.active = name, False
        self.origins: list[str] = []
        self.server = start_server(self.reply)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, request: BaseHTTPRequestHandler) -> Reply:
        self.origins += request.headers.get_all(client_address.ORIGIN_HEADER) or []
        return 200 if request.path != "/active" or self.active else 503, {"name": self.name}, {}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Running:
    def __init__(self, folder: Path) -> None:
        self.primary, self.standby = Region("primary"), Region("standby")
        self.s = read_settings(
            home=folder, primary_edge_url=self.primary.url, standby_edge_url=self.standby.url,
            port_offset=random.randint(100, 8000), token_key=SecretStr("t" * 43),
        )  # fmt: skip
        command = edge.make_command(global_edge.write_global_edge(folder, self.s))
        command[0] = envoy()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def asked(self) -> str | int | None:
        """Return the region that answers; the status when it is an error."""
        try:
            answer = httpx.post(f"{self.s.global_edge_address}/recommend", json={}, timeout=5)
        except httpx.TransportError:
            return None
        return str(answer.json()["name"]) if answer.is_success else answer.status_code

    def wait(self, ready: Callable[[], bool], seconds: float = 15) -> None:
        def so() -> bool:
            assert self.process.poll() is None
            return ready()

        until(so, seconds, every=0.1, otherwise=self.asked)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    it = Running(tmp_path_factory.mktemp("global-edge"))
    yield it
    it.process.terminate()
    it.process.wait(timeout=10)
    it.primary.close()
    it.standby.close()


def test_without_an_active_region_shoppers_get_an_error_at_once(running: Running) -> None:
    running.wait(lambda: running.asked() == 503)


def test_shoppers_follow_the_active_region(running: Running) -> None:
    running.standby.active = True
    running.wait(lambda: running.asked() == "standby")
    running.primary.active = True  # in a planned switch both answer for a while: the first in order gets them
    running.wait(lambda: running.asked() == "primary")
    running.primary.active = False
    running.wait(lambda: running.asked() == "standby")


def test_the_global_edge_says_which_address_it_saw_and_not_what_a_client_says(running: Running) -> None:
    running.standby.active = True
    running.wait(lambda: running.asked() == "standby")
    running.standby.origins.clear()
    claims = {client_address.ORIGIN_HEADER: "x 203.0.113.7", "x-forwarded-for": "203.0.113.7"}
    httpx.post(f"{running.s.global_edge_address}/recommend", json={}, headers=claims, timeout=5)
    assert running.standby.origins == [f"{client_address.edge_word(running.s)} 127.0.0.1"]


def test_an_address_without_a_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no host or port"):
        global_edge.write_global_edge(tmp_path, Settings(home=tmp_path, standby_edge_url="http://standby"))
