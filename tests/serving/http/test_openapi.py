"""The OpenAPI document: an example for every route, made without an engine."""

from __future__ import annotations

import httpx
import pytest

from serving.http.openapi import make_document

pytestmark = pytest.mark.anyio


async def test_the_api_page_has_an_example_for_every_route(http: httpx.AsyncClient) -> None:
    page = (await http.get("/openapi.json")).json()
    assert set(page["paths"]) == {
        "/recommend", "/search", "/similar", "/similar/{item_id}", "/events", "/shopper", "/healthz", "/readyz",
    }  # fmt: skip
    for name in ("RecommendRequest", "Answer", "EventsRequest", "EventsAnswer", "Problem", "Readiness"):
        assert page["components"]["schemas"][name]["examples"], name


def test_the_document_needs_no_engine_and_names_the_edge() -> None:
    page = make_document("https://shop.example", "shop")
    assert page["servers"][0]["url"] == "https://shop.example"
    assert "curl -s https://shop.example/recommend" in page["info"]["description"]
