"""What a shop sees over HTTP: answers, labelled fallbacks, and errors that say what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.http.admission import Limits
from serving.http.openapi import make_document
from serving.http.parts import Parts
from tests.serving.parts import FakeReader, client, load, logged, parts_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def reader() -> FakeReader:
    reader = FakeReader()
    reader.know("anna", ["i-00005", "i-00010", "gone-from-the-catalog"], ["view", "purchase", "view"])
    return reader


@pytest.fixture
def parts(tmp_path: Path, bundle: Path, reader: FakeReader) -> Iterator[Parts]:
    with parts_of(tmp_path, reader=reader) as parts:
        load(parts, bundle)
        yield parts


async def recommend(http: httpx.AsyncClient, user: str, **more: Any) -> dict[str, Any]:
    response = await http.post("/recommend", json={"user_id": user} | more)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_a_known_shopper_gets_their_category(http: httpx.AsyncClient, parts: Parts) -> None:
    answer = await recommend(http, "anna", k=8)
    assert answer["fallback"] is False
    assert "fallback_reason" not in answer
    assert {item["category"] for item in answer["items"]} == {"home/lighting"}
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert "i-00010" not in {item["item_id"] for item in answer["items"]}  # bought
    assert parts.engine.current is not None
    assert answer["release"] == parts.engine.current.digest
    assert answer["timings_ms"]["total"] >= answer["timings_ms"]["model"] > 0


async def test_options_of_the_caller_are_kept(http: httpx.AsyncClient) -> None:
    answer = await recommend(
        http, "anna", k=30, exclude=["i-00015", "unknown"], hide_seen=True, hide_purchased=False, max_per_category=2
    )
    ids = [item["item_id"] for item in answer["items"]]
    assert not {"i-00005", "i-00010", "i-00015"} & set(ids)
    assert len(ids) == 10  # five categories, two of each
    again = await recommend(http, "anna", k=30, hide_purchased=False)
    assert "i-00010" in {item["item_id"] for item in again["items"]}


async def test_an_unknown_shopper_gets_what_is_popular_and_it_says_so(http: httpx.AsyncClient, bundle: Path) -> None:
    answer = await recommend(http, "nobody")
    assert (answer["fallback"], answer["fallback_reason"]) == (True, "unknown-shopper")
    assert {item["source"] for item in answer["items"]} == {"popular"}
    here = await recommend(http, "nobody", context={"category": "kitchen/tea"})
    assert {item["category"] for item in here["items"]} == {"kitchen/tea"}


async def test_this_session_is_enough_for_an_unknown_shopper(http: httpx.AsyncClient) -> None:
    answer = await recommend(http, "nobody", context={"items": ["i-00001", "i-00006"]}, k=5)
    assert answer["fallback"] is False
    assert {item["category"] for item in answer["items"]} == {"home/office"}


async def test_a_history_of_items_that_left_the_catalog(http: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.know("old", ["gone-1", "gone-2"])
    assert (await recommend(http, "old"))["fallback_reason"] == "no-known-item-in-history"


async def test_stale_features_are_labelled(http: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.know("late", ["i-00005"], stale=True)
    assert (await recommend(http, "late"))["stale"] is True


async def test_a_hanging_store_costs_its_deadline_then_nothing(http: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.sleep = 30
    started = time.monotonic()
    answer = await recommend(http, "anna")
    assert (answer["fallback"], answer["fallback_reason"]) == (True, "online-store-timeout")
    assert len(answer["items"]) == 10
    assert time.monotonic() - started < 2.0
    for _ in range(10):
        answer = await recommend(http, "anna")
    assert answer["fallback_reason"] == "online-store-down"  # nobody asks for a while
    assert reader.reads <= 6


async def test_a_dead_store_is_a_labelled_fallback(http: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.error = ConnectionError("refused")
    assert (await recommend(http, "anna"))["fallback_reason"] == "online-store-down"
    reader.error = None
    assert (await recommend(http, "anna"))["fallback"] is False


async def test_a_failing_program_is_a_labelled_fallback(
    http: httpx.AsyncClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parts.engine.current is not None

    def fail(history: object) -> None:
        raise RuntimeError("onnxruntime says no")

    monkeypatch.setattr(parts.engine.current.program, "query", fail)
    answer = await recommend(http, "anna")
    assert (answer["fallback_reason"], len(answer["items"])) == ("model-failed", 10)


async def test_impressions_are_logged_without_the_shoppers_name(
    http: httpx.AsyncClient, parts: Parts, tmp_path: Path
) -> None:
    import orjson

    answer = await recommend(http, "anna", session_id="visit-1", k=4)
    parts.log.append(b"").result(timeout=5)
    rows = [orjson.loads(line) for line in logged(tmp_path)]
    assert [row["item_id"] for row in rows] == [item["item_id"] for item in answer["items"]]
    assert [row["position"] for row in rows] == [0, 1, 2, 3]
    assert {row["kind"] for row in rows} == {"impression"}
    assert {row["request_id"] for row in rows} == {answer["request_id"]}
    assert b"anna" not in b"".join(logged(tmp_path))
    assert b"visit-1" not in b"".join(logged(tmp_path))


async def test_search_without_an_encoder_is_bm25_and_says_so(http: httpx.AsyncClient) -> None:
    response = await http.get("/search", params={"q": "Walnut lamp 0", "k": 3})
    answer = response.json()
    assert answer["items"][0]["title"] == "walnut lamp 0"
    assert (answer["fallback"], answer["fallback_reason"]) == (True, "no-text-encoder")
    nothing = (await http.get("/search", params={"q": "zzzz"})).json()
    assert nothing["items"] == []


class Encoder:
    """Encodes any text as the text vector of one item."""

    dimension = 384

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector
        self.texts: list[str] = []
        self.error: Exception | None = None

    def encode(self, texts: list[str]) -> np.ndarray:
        if self.error is not None:
            raise self.error
        self.texts += texts
        return np.array([self.vector] * len(texts))


async def test_search_fuses_words_and_meaning_and_remembers_queries(http: httpx.AsyncClient, parts: Parts) -> None:
    release = parts.engine.current
    assert release is not None
    assert release.text_vectors is not None
    encoder = Encoder(release.text_vectors[59])
    parts.engine.current = replace(release, encoder=encoder)  # type: ignore[arg-type]
    answers = [(await http.get("/search", params={"q": q, "k": 20})).json() for q in ("lamp", " LAMP ", "lamp")]
    ids = [item["item_id"] for item in answers[0]["items"]]
    assert "i-00059" in ids  # by meaning: its title has no lamp
    assert "i-00000" in ids  # by its words
    assert "i-00003" not in ids  # cannot be had
    assert [answer["fallback"] for answer in answers] == [False] * 3
    assert [answer["items"] for answer in answers] == [answers[0]["items"]] * 3
    assert encoder.texts == ["lamp"]
    encoder.error = RuntimeError("no")
    failed = (await http.get("/search", params={"q": "desk"})).json()
    assert (failed["fallback"], failed["fallback_reason"]) == (True, "query-encoder-failed")
    assert failed["items"]


async def test_similar_items(http: httpx.AsyncClient) -> None:
    answer = (await http.get("/similar/i-00007", params={"k": 5})).json()
    ids = [item["item_id"] for item in answer["items"]]
    assert len(ids) == 5
    assert "i-00007" not in ids
    assert not {"i-00003", "i-00008"} & set(ids)
    assert answer["items"][0]["category"] == "kitchen/tea"


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


async def test_a_request_id_that_is_none_is_replaced(http: httpx.AsyncClient) -> None:
    for bad in ("a b", "x" * 129, "<script>", "${jndi}"):
        response = await http.get("/healthz", headers={"x-request-id": bad})
        assert response.headers["x-request-id"] != bad


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


async def test_the_deadline_answers_for_whatever_hangs(tmp_path: Path, bundle: Path) -> None:

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


async def test_the_api_page_has_an_example_for_every_route(http: httpx.AsyncClient) -> None:
    page = (await http.get("/openapi.json")).json()
    assert set(page["paths"]) == {
        "/recommend", "/search", "/similar/{item_id}", "/events", "/shopper", "/healthz", "/readyz",
    }  # fmt: skip
    for name in ("RecommendRequest", "Answer", "EventsRequest", "EventsAnswer", "Problem", "Readiness"):
        assert page["components"]["schemas"][name]["examples"], name


def test_the_document_needs_no_engine_and_names_the_edge() -> None:
    page = make_document("https://shop.example", "shop")
    assert page["servers"][0]["url"] == "https://shop.example"
    assert "curl -s https://shop.example/recommend" in page["info"]["description"]


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


async def test_metrics_tell_what_happened(http: httpx.AsyncClient, parts: Parts) -> None:
    await recommend(http, "nobody")
    text = (await http.get("/metrics")).text
    assert parts.engine.current is not None
    assert f'caravan_release{{digest="{parts.engine.current.digest}",source="shop"}} 1.0' in text
    assert "caravan_ready 1.0" in text
    assert 'caravan_fallbacks_total{reason="unknown-shopper",route="recommend"} 1.0' in text
    assert 'caravan_stage_seconds_count{route="recommend",stage="total"} 1.0' in text
    assert 'caravan_request_seconds_count{route="recommend",status="200"} 1.0' in text
