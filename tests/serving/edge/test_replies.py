"""The edge's own errors: one form, in words, each with its own remedy; and what browsers and crawlers get."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from contracts.errors import SettingsError
from contracts.region_paths import ACCESS_LOG
from contracts.settings import read_settings
from monitoring.canary_policy import CanaryPolicy
from monitoring.outcomes import OutcomeReader, Watched
from serving.callers import TOKEN_HEADER
from serving.edge import arm_assignment, edge, origins
from serving.pipeline.schemas import MAX_BODY
from tests.serving.edge.running_edge import AS_SHOP, Edge, seen

SHOPPER = arm_assignment.SHOPPER_HEADER
OURS = "https://shop.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": f"content-type,{TOKEN_HEADER}"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "error", "remedy"),
    [
        ("GET", "/similar/HW%2F34-NIP", {}, 400, "escaped slash", "GET /similar?item_id=HW%2F34"),
        ("GET", "/similar/a%5Cb", {}, 400, "escaped slash", "GET /similar?item_id="),
        ("GET", "/nowhere", {}, 404, "there is no such route", "GET /similar?item_id="),
        ("GET", "/similar/..", {}, 404, "there is no such route", "POST /recommend"),
        ("GET", "/recommend", {}, 405, "/recommend does not take this method", "use POST /recommend"),
        ("POST", "/similar", {}, 405, "/similar does not take this method", "use GET /similar"),
        ("PUT", "/events", {}, 405, "/events does not take this method", "use POST /events"),
        ("GET", "/search?q=a", {"authorization": "Bearer no"}, 401, "authorization: ", "secrets/shop_key_shop"),
        ("GET", "/search?q=a", {TOKEN_HEADER: "a.b.c"}, 401, "token is not valid: Jwt", "POST /shopper"),
        ("GET", "/search?q=a", {"under_score": "x"}, 400, "under_score: ", "write hyphens"),
        ("GET", "/search?q=a", {"host": "x-shadow"}, 400, "kept for copies", "the name that the address has"),
        ("GET", "/search?q=a", {"x-long": "x" * 40_000}, 431, "larger than 16 KiB", "cookies"),
        ("GET", "/search?q=a", {f"x-{n}": "x" for n in range(80)}, 431, "more than 64 headers", "send fewer"),
        ("GET", "/search?q=a", {"connection": "upgrade", "upgrade": "websocket"}, 403, "not upgraded", "plain request"),
        ("OPTIONS", "/events", {"origin": "https://evil.example", **PREFLIGHT}, 403, "this origin",
         "CARAVAN_ALLOWED_ORIGINS"),
    ],
)  # fmt: skip
def test_each_error_has_its_own_words_and_remedy(
    running: Edge, method: str, path: str, headers: dict[str, str], status: int, error: str, remedy: str
) -> None:
    answer = running.http.request(method, path, headers=headers)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert error in problem["error"]
    assert remedy in problem["remedy"]
    assert "request_id" in problem  # of what Envoy turns away before it has one, there is none
    assert "path_normalization_failed" not in answer.text
    assert "response" not in problem["error"]  # lua_response, direct_response: Envoy's own words


def test_a_body_that_is_too_large_is_told_the_bound(running: Edge) -> None:
    problem = running.http.post("/events", content=b"x" * (MAX_BODY + 1)).json()
    assert problem["error"] == f"the body is larger than {MAX_BODY} bytes"
    assert "500 events" in problem["remedy"]


def test_without_an_engine_it_says_so_and_when_to_come_back(tmp_path: Path) -> None:
    it = Edge(tmp_path)
    try:
        edge.write_clusters(it.folder, dict.fromkeys(it.upstreams(), "http://127.0.0.1:9"))
        it.wait(lambda: it.http.get("/search?q=a").status_code == 503)
        answer = it.http.post("/recommend", json={})
        assert answer.status_code == 503
        assert answer.json()["error"] in ("no engine can answer now", "the engine went away before it answered")
        assert answer.headers["retry-after"] == "1"
    finally:
        it.close()


IDS = [
    "plain-7", "auth0|64f0c0ffee", "acct:42", "anna@example.test", "MTIzNDU2Nw==", "{6F9619FF-8B86}", "member/42",
    "a,b", 'quoted"id', "back\\slash", "50%", "a;b=c", "<x>", "~tilde", "#7", "x" * 128,
]  # fmt: skip


@pytest.mark.parametrize("shopper", IDS)
def test_a_shopper_of_the_shop_keeps_the_id_and_so_the_arm(running: Edge, shopper: str) -> None:
    running.http.cookies.clear()
    answers = [running.http.get("/search?q=a", headers={SHOPPER: shopper, **AS_SHOP}) for _ in range(2)]
    for answer in answers:
        assert "set-cookie" not in answer.headers
        assert seen(answer)[SHOPPER] == shopper
        assert running.line(answer)["shopper"] == shopper


@pytest.mark.parametrize(
    "shopper", ["two words", "tab\there", "x" * 129, "小明".encode(), "Ünï".encode(), "Ünï".encode("latin-1")]
)
def test_what_keeps_no_arm_is_refused_with_what_would(running: Edge, shopper: Any) -> None:
    answer = running.http.get("/search?q=a", headers={SHOPPER: shopper, **AS_SHOP})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{SHOPPER}: ")
    assert "visible ASCII characters" in answer.json()["remedy"]
    assert "set-cookie" not in answer.headers


def test_two_shoppers_in_one_request_are_refused(running: Edge) -> None:
    headers = [(SHOPPER, "anna"), (SHOPPER, "bob"), *AS_SHOP.items()]
    assert running.http.get("/search?q=a", headers=headers).status_code == 400


def test_every_item_can_be_asked_for_through_the_edge(running: Edge) -> None:
    for item in ("HW/34-NIP", "50% OFF#1", "two words", "..", "Ünïcode-1", "🦊", "007", "7", "<b>x</b>", "a+b&c", "//"):
        path = f"/similar?item_id={quote(item, safe='')}&k=3"
        answer = running.http.get(path)
        assert answer.status_code == 200
        assert answer.json()["path"] == path  # nothing is changed on the way
        assert running.line(answer)["path"] == "/similar"


def test_an_uptime_check_and_a_crawler_are_no_shoppers_and_a_shop_without_ids_neither(running: Edge) -> None:
    edge.write_routes(running.folder, edge.TrafficSplit(control=50, rest=0, canary=50, salt="bots"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "canary"})
    watched = Watched(canary="b" * 64, champion="a" * 64, since=0.0, budget_ms=999, deadline_ms=999, catalog=None)
    log = running.logs / ACCESS_LOG
    known = len(log.read_text().splitlines())
    for number in range(120):
        running.http.cookies.clear()
        headers = AS_SHOP if number % 3 == 0 else {"cookie": f"caravan_shopper=crawler-{number}"} if number % 3 else {}
        answer = running.http.get("/search?q=lamp", headers=headers)
    running.http.cookies.clear()
    for shopper in ("anna", "bob", "anna"):
        answer = running.http.get("/search?q=lamp", headers={SHOPPER: shopper, **AS_SHOP})
    running.line(answer)
    lines = [json.loads(text) for text in log.read_text().splitlines()[known:]]
    mine = running.folder / "these.log"
    mine.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = OutcomeReader(watched, mine, running.folder / "none").read_outcomes(CanaryPolicy(), now=4e9)
    assert len(lines) >= 123
    assert found.control_shoppers + found.canary_shoppers == 2
    running.split(0)


@pytest.fixture
def with_origin(running: Edge) -> Iterator[Edge]:
    allowed = running.s.model_copy(update={"allowed_origins": f"{OURS}, http://localhost:3000"})
    edge.write_routes(running.folder, edge.TrafficSplit(), allowed)
    asked = {"origin": OURS, **PREFLIGHT}
    running.wait(lambda: running.http.options("/events", headers=asked).status_code == 200)
    yield running
    running.split(0)


def test_a_page_of_an_allowed_origin_may_ask_and_read(with_origin: Edge) -> None:
    for origin in (OURS, "http://localhost:3000"):
        for path in ("/events", "/recommend", "/search", "/shopper"):
            answer = with_origin.http.options(path, headers={"origin": origin, **PREFLIGHT})
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert TOKEN_HEADER in answer.headers["access-control-allow-headers"]
            assert "authorization" not in answer.headers["access-control-allow-headers"]
        told = with_origin.http.post("/events", json={}, headers={"origin": origin})
        assert told.headers["access-control-allow-origin"] == origin
        refused = with_origin.http.get("/search?q=a", headers={"origin": origin, TOKEN_HEADER: "a.b.c"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://shop.example", "https://shop.example.evil", "https://shop.example:8443", "null"],
)
def test_a_foreign_origin_gets_no_permission(with_origin: Edge, origin: str) -> None:
    preflight = with_origin.http.options("/events", headers={"origin": origin, **PREFLIGHT})
    assert preflight.status_code == 403
    for answer in (preflight, with_origin.http.post("/events", json={}, headers={"origin": origin})):
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]


@pytest.mark.parametrize(
    "text", ["*", "shop.example", "https://shop.example/", "https://*.example", "null", "https://a b"]
)
def test_what_is_no_origin_is_refused_as_a_setting(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="is not an origin"):
        origins.read_origins(read_settings(home=tmp_path, allowed_origins=text))


def test_routes_of_an_older_version_are_made_again_with_their_split(tmp_path: Path) -> None:
    s, split = read_settings(home=tmp_path), edge.TrafficSplit(control=5, rest=90, canary=5, salt="one")
    edge.write_edge(tmp_path, s)
    edge.write_routes(tmp_path, split, s)
    newest = (tmp_path / edge.ROUTES).read_text()
    (tmp_path / edge.ROUTES).write_text(newest.replace("path: /similar\n", "path: /older\n"))
    edge.write_edge(tmp_path, s)
    assert (tmp_path / edge.ROUTES).read_text() == newest
    assert edge.read_split(tmp_path) == split


def test_what_is_no_http_is_answered_at_all(running: Edge) -> None:
    with socket.create_connection((running.s.host, running.s.ports.edge), timeout=5) as raw:
        raw.sendall(b"GET /similar/a HTTP/1.1\r\n\r\n")  # to no host
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert httpx.Response(400, content=answer.partition(b"\r\n\r\n")[2]).json()["remedy"].startswith("send host")
