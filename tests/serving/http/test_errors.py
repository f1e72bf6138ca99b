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
    assert told == "POST /recommend takes k (1 to 100)"
    told = await remedy("POST", "/recommend", {"user_id": "a", "nonsense": 1})
    assert told.startswith("POST /recommend takes user_id (required, 1 to 128 characters)")
    assert "k (1 to 100)" in told
    assert "q (required, 1 to 256 characters)" in await remedy("GET", "/search?q=%20")
    there = "POST /recommend, GET /search, GET /similar, GET /similar/{item_id}, POST /events, POST /shopper"
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


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "error", "remedy"),
    [
        ("POST", "/recommend", {"user_id": "a", "k": 101}, "k", "k: ", "takes k (1 to 100)"),
        ("POST", "/recommend", {"user_id": "a", "k": "many"}, "k", "k: ", "takes k (1 to 100)"),
        ("POST", "/recommend", {"user_id": "a" * 129}, "user_id", "user_id: ", "1 to 128 characters"),
        ("POST", "/recommend", {"k": 5}, "user_id", "user_id: Field required", "user_id (required"),
        ("POST", "/recommend", {"userId": "a"}, "userId", "did you mean user_id?", "user_id (required"),
        ("POST", "/recommend", {"user_id": "a", "limit": 5}, "limit", "limit: no such field", "k (1 to 100)"),
        ("POST", "/recommend", {"user_id": "a", "excluded": []}, "excluded", "did you mean exclude?", "exclude"),
        ("POST", "/recommend", {"user_id": "a", "context": {"items": [7]}}, "context.items.0", "context.items.0: ",
         "takes context"),
        ("POST", "/recommend", ["a"], None, "the body is not a JSON object", "takes user_id"),
        ("POST", "/events", {"event": []}, "event", "event: no such field; did you mean events?", "1 to 500 entries"),
        ("GET", "/search?q=%20", None, "q", "q: it is empty", "takes q (required, 1 to 256 characters)"),
        ("GET", "/search?query=lamp", None, "q", "q: Field required", "takes q"),
        ("GET", "/search?q=a&k=0", None, "k", "k: ", "takes k (1 to 100)"),
        ("GET", "/similar", None, "item_id", "item_id: Field required", "takes item_id (required, 1 to 128"),
        ("GET", "/similar?item_id=", None, "item_id", "item_id: ", "takes item_id"),
        ("GET", "/similar?item_id=nope", None, "item_id", "item_id: no such item", "of the catalog"),
        ("GET", "/similar/HW/34-NIP", None, None, "Not Found", "GET /similar?item_id="),
        ("GET", "/similar/", None, None, "Not Found", "GET /similar?item_id="),
    ],
)  # fmt: skip
async def test_an_error_has_the_field_the_reason_and_one_remedy(
    http: httpx.AsyncClient, method: str, path: str, body: Any, field: str | None, error: str, remedy: str
) -> None:
    problem = (await http.request(method, path, json=body)).json()
    assert problem.get("field") == field
    assert error in problem["error"]
    assert remedy in problem["remedy"]
