"""The gate: request ids, odd targets, bounds on bodies, on requests under way, and on time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from serving.http.admission import Limits
from serving.http.app import create_app
from tests.serving.parts import FakeReader, client, load, parts_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("method", "path"), [("OPTIONS", "*"), ("GET", ""), ("POST", ""), ("CONNECT", "host:443")])
async def test_a_target_without_a_slash_is_only_not_found(tmp_path: Path, method: str, path: str) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "root_path": "", "query_string": b"", "scheme": "http",
        "headers": [], "server": ("engine", 80), "client": ("shop", 1), "http_version": "1.1",
    }  # fmt: skip
    with parts_of(tmp_path) as parts:
        await create_app(parts)(scope, receive, send)
    assert sent[0]["status"] == 404
    assert {"error", "remedy", "request_id"} <= orjson.loads(sent[1]["body"]).keys()


async def test_a_request_id_that_is_none_is_replaced(http: httpx.AsyncClient) -> None:
    for bad in ("a b", "x" * 129, "<script>", "${jndi}"):
        response = await http.get("/healthz", headers={"x-request-id": bad})
        assert response.headers["x-request-id"] != bad


async def test_more_than_the_bound_is_shed_at_once(tmp_path: Path, bundle: Path, reader: FakeReader) -> None:
    reader.sleep = 0.03
    with parts_of(tmp_path, reader=reader, limits=Limits(in_flight={"recommend": 4})) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            responses = await asyncio.gather(*[http.post("/recommend", json={"user_id": "anna"}) for _ in range(20)])
        codes = [response.status_code for response in responses]
        assert sorted(codes) == [200] * 4 + [503] * 16
        shed = next(r for r in responses if r.status_code == 503)
        assert shed.headers["retry-after"] == "1"


async def test_a_slow_body_ends(tmp_path: Path, bundle: Path) -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.05)

    with parts_of(tmp_path, limits=Limits(body_seconds=0.2)) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            response = await http.post("/recommend", content=drip())
        assert response.status_code == 408


async def test_the_deadline_answers_for_a_request_that_hangs(tmp_path: Path, bundle: Path) -> None:

    def stuck(handle: int) -> None:
        del handle
        time.sleep(1.0)

    event = {"event_id": "e", "event_time": "2026-01-01T00:00:00Z", "user_id": "u", "kind": "view", "item_id": "i"}
    with parts_of(tmp_path, limits=Limits(deadline=0.2), sync=stuck) as parts:
        load(parts, bundle)
        async with client(parts) as http:
            started = time.monotonic()
            response = await http.post("/events", json={"events": [event]})
            assert (response.status_code, time.monotonic() - started < 0.9) == (503, True)
            assert (await http.get("/healthz")).status_code == 200
