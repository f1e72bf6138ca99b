"""Callers: one who is not known learns nothing personal and changes nothing, a token speaks for its own shopper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from serving.callers import CALLER_HEADER, NOBODY, TOKEN_COOKIE, TOKEN_LIFETIME_S, USER_HEADER, Caller, Tokens
from serving.http.parts import Parts
from tests.serving.parts import FakeReader, load, logged, parts_of

pytestmark = pytest.mark.anyio
KEY = "k" * 43


@pytest.fixture
def parts(tmp_path: Path, bundle: Path) -> Iterator[Parts]:
    reader = FakeReader()
    reader.know("anna", ["i-00005", "i-00010"], ["view", "purchase"])
    reader.know("小明@例子", ["i-00005"], ["view"])
    with parts_of(tmp_path, reader=reader, token_key=KEY) as parts:
        load(parts, bundle)
        yield parts


def as_nobody() -> dict[str, str]:
    return {CALLER_HEADER: "nobody"}


def as_shopper(user: str) -> dict[str, str]:
    return {CALLER_HEADER: "shopper", USER_HEADER: quote(user, safe="")}


def event(user: str, number: int = 0) -> dict[str, Any]:
    return {
        "event_id": f"{user}-{number}", "event_time": "2026-01-05T12:00:00Z", "user_id": user, "kind": "view",
        "item_id": "i-00001",
    }  # fmt: skip


async def test_nobody_gets_the_same_whoever_is_named_and_whatever_is_hidden(http: httpx.AsyncClient) -> None:
    """Otherwise the difference of two answers would show what anna bought."""
    answers = []
    for user in ("anna", "never-seen"):
        for hide in ({}, {"hide_purchased": False}, {"hide_seen": True}):
            answer = await http.post("/recommend", json={"user_id": user, "k": 20, **hide}, headers=as_nobody())
            assert answer.status_code == 200
            answers.append([item["item_id"] for item in answer.json()["items"]])
            assert "release" not in answer.json()
    assert all(items == answers[0] for items in answers)
    own = await http.post("/recommend", json={"user_id": "anna", "k": 20}, headers=as_shopper("anna"))
    assert [item["item_id"] for item in own.json()["items"]] != answers[0]


async def test_nobody_leaves_no_trace(http: httpx.AsyncClient, parts: Parts, tmp_path: Path) -> None:
    await http.post("/recommend", json={"user_id": "anna", "k": 5}, headers=as_nobody())
    refused = await http.post("/events", json={"events": [event("anna")]}, headers=as_nobody())
    assert refused.status_code == 401
    assert "secrets/shop_key_" in refused.json()["remedy"]
    assert "POST /shopper" in refused.json()["remedy"]
    await http.post("/events", json={"events": [event("anna")]})
    assert [json.loads(line)["kind"] for line in logged(tmp_path)] == ["view"], "nothing of nobody's"


async def test_a_token_speaks_for_its_own_shopper_alone(http: httpx.AsyncClient) -> None:
    for user in ("anna", "小明@例子"):
        mine = await http.post("/recommend", json={"user_id": user}, headers=as_shopper(user))
        assert mine.status_code == 200
        other = await http.post("/recommend", json={"user_id": "somebody else"}, headers=as_shopper(user))
        assert other.status_code == 403
        assert "token of that shopper" in other.json()["remedy"]
        sent = {"events": [event(user, 1), event("somebody else", 1)]}
        verdicts = (await http.post("/events", json=sent, headers=as_shopper(user))).json()["verdicts"]
        assert [one["status"] for one in verdicts] == ["accepted", "rejected"]
        assert verdicts[1]["reason"] == "user_id: not the shopper of the token"


async def test_tokens_by_name_are_for_the_shop_and_guests_are_new(http: httpx.AsyncClient) -> None:
    named = await http.post("/shopper", json={"user_id": "anna"})
    assert named.json()["user_id"] == "anna"
    assert TOKEN_COOKIE in named.headers["set-cookie"]
    assert "HttpOnly" in named.headers["set-cookie"]
    assert (await http.post("/shopper", json={"user_id": "anna"}, headers=as_nobody())).status_code == 401
    assert (await http.post("/shopper", json={"user_id": "bob"}, headers=as_shopper("anna"))).status_code == 401
    guests = [(await http.post("/shopper", json={}, headers=as_nobody())).json()["user_id"] for _ in range(2)]
    assert guests[0] != guests[1]
    assert all(guest.startswith("guest-") for guest in guests)


async def test_a_beacon_carries_its_token_in_the_body(http: httpx.AsyncClient) -> None:
    token = (await http.post("/shopper", json={"user_id": "anna"})).json()["token"]
    beacon = {"events": [event("anna", 7)], "token": token}
    assert (await http.post("/events", json=beacon, headers=as_nobody())).json()["accepted"] == 1
    broken = {**beacon, "token": token[:-4] + "AAAA"}
    assert (await http.post("/events", json=broken, headers=as_nobody())).status_code == 401


async def test_readiness_names_no_release_to_others(http: httpx.AsyncClient) -> None:
    assert set((await http.get("/readyz", headers=as_nobody())).json()) == {"ready", "stage"}
    assert (await http.get("/readyz")).json()["release"]


def test_a_token_ends_and_only_our_key_signs() -> None:
    tokens, other = Tokens(KEY), Tokens("o" * 43)
    fresh = tokens.mint("anna", str.upper)
    old = tokens.mint("anna", str.upper, now=1.0)
    foreign = other.mint("anna", str.upper)
    assert fresh is not None
    assert old is not None
    assert foreign is not None
    assert tokens.read_caller(fresh.token) == Caller("shopper", "anna")
    assert [tokens.read_caller(one) for one in (old.token, foreign.token, "", "a.b.c")] == [NOBODY] * 4
    assert old.expires == 1 + TOKEN_LIFETIME_S
    assert Tokens(None).mint("anna", str) is None
    assert Tokens(None).read_caller(fresh.token) == NOBODY
