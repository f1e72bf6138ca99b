"""The gate alone: what reaches it before any route does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.http.app import create_app
from tests.serving.parts import parts_of

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
