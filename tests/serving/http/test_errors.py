"""Errors over HTTP: one shape, the right status, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.parts import client, parts_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/similar/nope", None, 404),
        ("GET", "/search", None, 422),
        ("GET", "/search?q=", None, 422),
        ("GET", "/search?q=%20%20", None, 422),
        ("GET", "/search?q=" + "x" * 257, None, 422),
        ("GET", "/search?q=a&k=0", None, 422),
        ("GET", "/search?q=a&k=many", None, 422),
        ("GET", "/recommend", None, 405),
        ("GET", "/nowhere", None, 404),
        ("POST", "/recommend", b"{", 400),
        ("POST", "/recommend", b"[]", 422),
        ("POST", "/recommend", b"", 422),
        ("POST", "/recommend", b'{"user_id": "a", "k": 101}', 422),
        ("POST", "/recommend", b'{"user_id": ""}', 422),
        ("POST", "/recommend", b'{"user_id": "a\\u0000"}', 422),
        ("POST", "/recommend", b'{"user_id": "\\ud800"}', 422),
        ("POST", "/recommend", b'{"user_id": "a", "extra": 1}', 422),
        ("POST", "/recommend", b"[" * 100_000, 400),
        ("POST", "/recommend", b'{"user_id": "' + b"a" * 1_048_576 + b'"}', 413),
        ("POST", "/events", b'{"events": []}', 422),
        ("POST", "/events", b'{"events": [1, "x", null]}', 422),
    ],
)
async def test_errors_are_4xx_and_say_what_to_do(
    http: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int
) -> None:
    headers = {"content-type": "application/json", "x-request-id": "asked-1"}
    response = await http.request(method, path, content=body, headers=headers)
    assert response.status_code == status, response.text
    problem = response.json()
    assert problem["error"]
    assert problem["remedy"]
    assert problem["request_id"] == response.headers["x-request-id"] == "asked-1"
    assert "Traceback" not in response.text


async def test_an_error_says_what_the_route_takes(http: httpx.AsyncClient) -> None:
    async def remedy(method: str, path: str, body: Any = None) -> str:
        return str((await http.request(method, path, json=body)).json()["remedy"])

    told = await remedy("POST", "/recommend", {"user_id": "a", "k": 101})
    assert told.startswith("POST /recommend takes user_id (required, 1 to 128 characters)")
    assert "k (1 to 100)" in told
    assert "q (required, 1 to 256 characters)" in await remedy("GET", "/search?q=%20")
    there = "POST /recommend, GET /search, GET /similar/{item_id}, POST /events, POST /shopper"
    assert there in await remedy("GET", "/nowhere")
    assert (await remedy("GET", "/recommend")).startswith("use POST")
    assert "item_id" in await remedy("GET", "/similar/nope")


async def test_not_ready_without_a_release(tmp_path: Path) -> None:
    with parts_of(tmp_path) as parts:
        async with client(parts) as http:
            assert (await http.get("/healthz")).status_code == 200
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["ready"]) == (503, False)
            assert ready.json()["reason"]
            for response in (
                await http.post("/recommend", json={"user_id": "a"}),
                await http.get("/search", params={"q": "lamp"}),
                await http.get("/similar/i-00001"),
            ):
                assert response.status_code == 503
                assert "no release" in response.json()["error"]
