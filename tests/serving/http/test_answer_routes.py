"""Answers over HTTP: recommendations, search and similar items, and labelled fallbacks."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.callers import CALLER_HEADER, USER_HEADER
from serving.http.parts import Parts
from tests.serving.parts import FakeReader, logged

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize(
    "user", ["undefined", "null", "NaN", "[object Object]", "0", "guest", "Anonymous", "ゲスト", "-"]
)
async def test_nobody_has_no_history(http: httpx.AsyncClient, reader: FakeReader, user: str) -> None:
    reader.know(user, ["i-00005", "i-00010"])  # what thousands of guests looked at
    answer = await recommend(http, user)
    assert (answer["fallback_reason"], reader.reads) == ("unknown-shopper", 0)
    assert {item["source"] for item in answer["items"]} == {"popular"}
    here = await recommend(http, user, context={"items": ["i-00005"]})
    assert "fallback_reason" not in here  # what is on the page is a start for anyone


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


@pytest.mark.parametrize("known", [0, 1, 5])
@pytest.mark.parametrize("bought", [1, 3, 57])
async def test_what_was_bought_before_the_history_began_is_hidden(
    http: httpx.AsyncClient, reader: FakeReader, known: int, bought: int
) -> None:
    hidden = [f"i-{n:05}" for n in range(bought)]
    reader.know("buyer", [f"i-{n:05}" for n in range(60 - known, 60)], purchased=hidden)
    shown = {item["item_id"] for item in (await recommend(http, "buyer", k=100))["items"]}
    assert not shown & set(hidden)
    everything = await recommend(http, "buyer", k=100, hide_purchased=False)
    assert shown | set(hidden) >= {item["item_id"] for item in everything["items"]}
    assert everything.get("fallback_reason") == (None if known else "no-known-item-in-history")


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
    assert answer["fallback_reason"] == "online-store-down"  # no request asks it for a while
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
    parts.impressions.log.append(b"").result(timeout=5)
    rows = [orjson.loads(line) for line in logged(tmp_path)]
    assert [row["item_id"] for row in rows] == [item["item_id"] for item in answer["items"]]
    assert [row["position"] for row in rows] == [0, 1, 2, 3]
    assert {row["kind"] for row in rows} == {"impression"}
    assert {row["request_id"] for row in rows} == {answer["request_id"]}
    assert b"anna" not in b"".join(logged(tmp_path))
    assert b"visit-1" not in b"".join(logged(tmp_path))


@pytest.mark.parametrize(
    ("path", "asked", "query"),
    [
        ("/search", {"q": "walnut lamp for anna@example.com"}, "walnut lamp for [email]"),
        ("/search", {"q": "walnut\u0007lamp"}, None),
        ("/similar", {"item_id": "i-00005"}, None),
        ("/similar/i-00005", {}, None),
    ],
)
async def test_what_a_search_or_a_products_page_showed_is_logged_too(
    http: httpx.AsyncClient, parts: Parts, tmp_path: Path, path: str, asked: dict[str, str], query: str | None
) -> None:
    import orjson

    answer = (await http.get(path, params=asked | {"user_id": "anna", "k": "3"})).json()
    await http.get(path, params=asked)  # shown to nobody in particular
    await http.get(path, params=asked | {"user_id": "guest"})
    await http.get(path, params=asked | {"user_id": "anna"}, headers={CALLER_HEADER: "nobody"})
    parts.impressions.log.append(b"").result(timeout=5)
    rows = [orjson.loads(line) for line in logged(tmp_path)]
    assert [row["item_id"] for row in rows] == [item["item_id"] for item in answer["items"]]
    assert {(row["kind"], row["request_id"], row["query"]) for row in rows} == {
        ("impression", answer["request_id"], query)
    }
    assert b"anna" not in b"".join(logged(tmp_path))


async def test_a_shoppers_token_asks_for_nobody_else(http: httpx.AsyncClient) -> None:
    headers = {CALLER_HEADER: "shopper", USER_HEADER: "anna"}
    for path in ("/search?q=lamp&user_id=ben", "/similar?item_id=i-00005&user_id=ben"):
        assert (await http.get(path, headers=headers)).status_code == 403
    assert (await http.get("/search?q=lamp", headers=headers)).status_code == 200


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

    def broken(self, text: str) -> float:
        return 0.5

    def encode(self, texts: list[str]) -> np.ndarray:
        if self.error is not None:
            raise self.error
        self.texts += texts
        return np.array([self.vector] * len(texts))


async def test_a_search_that_nothing_fits_has_no_items(http: httpx.AsyncClient, parts: Parts) -> None:
    release = parts.engine.current
    assert release is not None
    assert release.text_vectors is not None
    far = np.zeros(384, dtype=np.float32)  # close to no text, as the vector of a random string
    parts.engine.current = replace(release, encoder=Encoder(far))  # type: ignore[arg-type]
    for nonsense in ("zxqvkjwpf", "8f3a9c1e77", "550e8400-e29b-41d4-a716-446655440000", "qwrtp lkjhg"):
        answer = (await http.get("/search", params={"q": nonsense})).json()
        assert (answer["items"], answer["fallback"]) == ([], False), nonsense
    assert (await http.get("/search", params={"q": "zxqvkjwpf lamp"})).json()["items"]
    parts.engine.current = replace(release, encoder=Encoder(release.text_vectors[59]))  # type: ignore[arg-type]
    for wordless in ("\U0001f381", "---", "\u3000!"):
        assert (await http.get("/search", params={"q": wordless})).json()["items"] == []
    assert (await http.get("/search", params={"q": "bzzgrmpf"})).json()["items"]  # its meaning is close


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
    "item_id",
    [
        "HW/34-NIP", "50% OFF#1", "two words", "..", ".", "Ünïcode-1", "🦊", "007", "7", "1" * 20, "<b>x</b>",
        "a+b&c=d", "a?b", "//", "%2F", '"quoted"', "x" * 128, "日本語/サイズ", "a\u00a0b", "-", "C:\\parts\\1",
    ],
)  # fmt: skip
async def test_every_identifier_of_the_contract_can_be_asked_for(
    http: httpx.AsyncClient, parts: Parts, item_id: str
) -> None:
    release = parts.engine.current
    assert release is not None
    # two more names for two items: what a path loses or changes would find neither, or the other one
    named = {**release.items.index, item_id: 7, {"007": "7", "7": "007"}.get(item_id, "another"): 9}
    parts.engine.current = replace(release, items=replace(release.items, index=named))
    for known, row in ((item_id, "i-00007"), ({"007": "7", "7": "007"}.get(item_id, "another"), "i-00009")):
        answer = await http.get("/similar", params={"item_id": known, "k": 5})
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"] == (await http.get(f"/similar/{row}", params={"k": 5})).json()["items"]


async def test_metrics_tell_what_happened(http: httpx.AsyncClient, parts: Parts) -> None:
    await recommend(http, "nobody")
    text = (await http.get("/metrics")).text
    assert parts.engine.current is not None
    assert f'caravan_release{{digest="{parts.engine.current.digest}",source="shop"}} 1.0' in text
    assert "caravan_ready 1.0" in text
    assert 'caravan_fallbacks_total{reason="unknown-shopper",route="recommend"} 1.0' in text
    assert 'caravan_stage_seconds_count{route="recommend",stage="total"} 1.0' in text
    assert 'caravan_request_seconds_count{route="recommend",status="200"} 1.0' in text
