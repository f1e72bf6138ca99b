"""What Envoy answers by itself when requests are too many or too slow, or an engine is silent: in our form."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from serving.edge import edge, listener, replies
from tests.serving.edge.running_edge import Edge, Reply, start_server

pytestmark = pytest.mark.slow  # as slow as the requests that it sends


def told(answer: httpx.Response) -> tuple[str, str]:
    """The error and the remedy of an answer in our form."""
    assert answer.headers["content-type"].startswith("application/json")
    found = answer.json()
    assert set(found) == {"error", "remedy", "request_id"}
    return found["error"], found["remedy"]


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Edge]:
    """An edge whose engine is ready and answers nothing."""
    enough = threading.Event()

    def reply(request: BaseHTTPRequestHandler) -> Reply:
        if request.path != "/readyz":
            enough.wait(30)
        return 200, {"name": "silent"}, {}

    server = start_server(reply)
    it = Edge(tmp_path)
    url = f"http://127.0.0.1:{server.server_port}"
    edge.write_clusters(it.folder, dict.fromkeys(it.upstreams(), url))
    it.wait(lambda: it.http.get("/readyz").json().get("name") == "silent")
    yield it
    enough.set()
    it.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/recommend", "/search?q=a", "/events"])
def test_an_engine_that_is_silent_is_a_504_that_may_be_asked_again(silent: Edge, path: str) -> None:
    answer = silent.http.request("GET" if "?" in path else "POST", path, json=None if "?" in path else {})
    assert answer.status_code == 504
    error, remedy = told(answer)
    assert error == "the engine did not answer in time"
    assert "ask again" in remedy
    assert "counts once" in remedy  # whoever sends events wants to know


HALVES = {
    "half a head": ("POST /events HTTP/1.1\r\nhost: shop\r\ncontent-", 5),
    "half a body": ('POST /events HTTP/1.1\r\nhost: shop\r\ncontent-length: 20\r\n\r\n{"ev', replies.REQUEST_TIMEOUT_S),
}


@pytest.mark.parametrize("half", HALVES)
def test_a_request_that_never_ends_is_a_408_with_its_bounds(running: Edge, half: str) -> None:
    sent, seconds = HALVES[half]
    with socket.create_connection((running.s.host, running.s.ports.edge), timeout=seconds + 10) as connection:
        connection.sendall(sent.encode())
        parts = []
        while part := connection.recv(65536):  # it closes behind its answer
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    types = dict(line.lower().split(": ", 1) for line in head.decode().splitlines()[1:])
    error, remedy = told(httpx.Response(408, headers={"content-type": types["content-type"]}, content=body))
    assert error == "the request came too slowly"
    assert f"within {replies.REQUEST_TIMEOUT_S} seconds" in remedy


def test_too_many_requests_are_a_429_that_says_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "EDGE_BURST", 10)
    monkeypatch.setattr(listener, "EDGE_REQUESTS_PER_S", 10)
    it = Edge(tmp_path)
    try:
        answers = [it.http.get("/search?q=a") for _ in range(60)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        for answer in refused:
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
            error, remedy = told(answer)
            assert error == "too many requests are coming"
            assert "retry-after" in remedy
        it.wait(lambda: it.http.get("/search?q=a").status_code == 200)  # and it is served again
    finally:
        it.close()
