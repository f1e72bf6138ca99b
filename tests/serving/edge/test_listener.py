"""The edge's listener: only our routes, bounded requests, one line of the access log each."""

from __future__ import annotations

import re
import socket
import time

import httpx

from contracts.region_paths import ACCESS_LOG
from serving.edge import arm_assignment
from serving.pipeline.schemas import MAX_BODY
from tests.serving.edge.running_edge import RELEASE, Edge


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
    found = running.line(answer)
    assert (found["cluster"], found["code"], found["path"]) == ("champion", 200, "/search")
    assert isinstance(found["duration_ms"], int)
    assert "very-private" not in (running.logs / ACCESS_LOG).read_text()


def test_the_engines_time_is_told_from_the_clients(running: Edge) -> None:
    """A body in two halves, 0.7 s apart, from a client that also claims an arm: the engine's own time stays small."""
    body = b'{"user_id": "a"}'
    head = f"POST /recommend HTTP/1.1\r\nhost: shop\r\ncontent-length: {len(body)}\r\nx-request-id: halves\r\n\r\n"
    with socket.create_connection((running.s.host, running.s.ports.edge), timeout=10) as connection:
        connection.sendall(head.encode() + body[:5])
        time.sleep(0.7)
        connection.sendall(body[5:])
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 200")
    wanted = re.findall("x-request-id: (\\S+)", answer)[0]
    found = running.line(httpx.Response(200, headers={"x-request-id": wanted}))
    assert found["duration_ms"] >= 700  # type: ignore[operator]
    assert found["sent_ms"] >= 700  # type: ignore[operator]
    assert found["waited_ms"] < 300  # type: ignore[operator]


def test_the_release_that_answered_is_in_the_log_and_not_in_the_answer(running: Edge) -> None:
    answer = running.http.get("/search?q=a")
    assert arm_assignment.RELEASE_HEADER not in answer.headers
    assert running.line(answer)["release"] == RELEASE
