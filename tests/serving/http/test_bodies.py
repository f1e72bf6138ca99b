"""Bodies as clients send them: a beacon's text, compressed ones, and those that are refused by their header's name."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.callers import CALLER_HEADER
from serving.http.bodies import MAX_PARTS, BodyRefused, inflate
from serving.http.parts import Parts
from serving.pipeline.schemas import MAX_BODY
from tests.serving.parts import client, load, parts_of

pytestmark = pytest.mark.anyio

ASKED = orjson.dumps({"user_id": "anna", "k": 5})
JSON = {"content-type": "application/json"}
KEY = "token" + "k" * 40


def deflate(data: bytes) -> bytes:
    return zlib.compress(data)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "application/json; charset=utf-8", 'application/json;charset="UTF-8"', "APPLICATION/JSON",
        "text/plain;charset=UTF-8", "text/plain", "text/json", "application/vnd.shop+json", "application/octet-stream",
        None,
    ],
)  # fmt: skip
async def test_json_is_read_under_the_names_that_clients_give_it(http: httpx.AsyncClient, kind: str | None) -> None:
    answer = await http.post("/recommend", content=ASKED, headers={"content-type": kind} if kind else {})
    assert (answer.status_code, len(answer.json()["items"])) == (200, 5)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded is not read"),
        ("multipart/form-data; boundary=x", "multipart/form-data is not read"),
        ("application/xml", "application/xml is not read"),
        ("text/html", "text/html is not read"),
        ("application/json; charset=utf-16", "charset utf-16"),
        ("text/plain; charset=iso-8859-1", "charset iso-8859-1"),
    ],
)
async def test_another_kind_is_a_415_that_names_it(http: httpx.AsyncClient, kind: str, named: str) -> None:
    answer = await http.post("/recommend", content=ASKED, headers={"content-type": kind})
    assert answer.status_code == 415
    assert answer.json()["error"].startswith("content-type: ")
    assert named in answer.json()["error"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", deflate),
        ("gzip, identity", gzip.compress),
        ("identity", bytes),
        ("", bytes),
        ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),  # as pigz and appended files
    ],
)
async def test_a_compressed_body_is_the_body(http: httpx.AsyncClient, coding: str, compress: Any) -> None:
    headers = {**JSON, "content-encoding": coding}
    answer = await http.post("/recommend", content=compress(ASKED), headers=headers)
    plain = await http.post("/recommend", content=ASKED, headers=JSON)
    assert (answer.status_code, answer.json()["items"]) == (200, plain.json()["items"])


async def test_a_compressed_body_may_come_in_pieces(http: httpx.AsyncClient) -> None:
    data = gzip.compress(ASKED)

    async def pieces() -> AsyncIterator[bytes]:
        for byte in data:
            yield bytes([byte])

    answer = await http.post("/recommend", content=pieces(), headers={**JSON, "content-encoding": "gzip"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("coding", "body", "status", "words"),
    [
        ("br", ASKED, 415, "content-encoding: br is not read"),
        ("zstd", ASKED, 415, "content-encoding: zstd is not read"),
        ("compress", ASKED, 415, "content-encoding: compress"),
        ("gzip, gzip", gzip.compress(gzip.compress(ASKED)), 415, "content-encoding: gzip, gzip"),
        ("nonsense", ASKED, 415, "content-encoding: nonsense"),
        ("gzip", ASKED, 400, "is not what its content-encoding says"),
        ("gzip", gzip.compress(ASKED)[:-9], 400, "ends in the middle"),
        ("gzip", gzip.compress(ASKED)[:-4] + b"oops", 400, "is not what its content-encoding says"),
        ("gzip", gzip.compress(b"{"), 400, "the body is not JSON"),
        ("gzip", gzip.compress(b" " * (MAX_BODY + 1)), 413, "the decompressed body is larger than"),
        ("gzip", gzip.compress(b"\0" * 200 * MAX_BODY), 413, "the decompressed body is larger than"),
        ("gzip", gzip.compress(b"a") * (MAX_PARTS + 1), 400, "in more than"),
        ("deflate", zlib.compress(b" " * 10 * MAX_BODY), 413, "the decompressed body is larger than"),
    ],
)
async def test_what_cannot_be_decompressed_is_refused(
    http: httpx.AsyncClient, coding: str, body: bytes, status: int, words: str
) -> None:
    answer = await http.post("/events", content=body, headers={**JSON, "content-encoding": coding})
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert answer.json()["remedy"]
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate"


@given(parts=st.lists(st.binary(max_size=300), max_size=5), limit=st.integers(0, 2000))
def test_no_more_than_the_limit_comes_out(parts: list[bytes], limit: int) -> None:
    data, whole = b"".join(map(gzip.compress, parts)), b"".join(parts)
    if len(whole) <= limit:
        assert inflate(data, limit) == whole
    else:
        with pytest.raises(BodyRefused) as refused:
            inflate(data, limit)
        assert refused.value.status == 413


@given(data=st.binary(max_size=2000))
def test_bytes_of_any_kind_are_decompressed_or_refused(data: bytes) -> None:
    with contextlib.suppress(BodyRefused):  # and nothing else is ever raised
        assert len(inflate(data, 1000)) <= 1000


def beacon(**fields: Any) -> bytes:
    event = {"event_id": "beacon-1", "event_time": "2026-11-26T10:00:00Z", "user_id": "anna", "kind": "view"}
    return orjson.dumps({"events": [event | {"item_id": "i-00005"}], **fields})


@pytest.fixture
def with_tokens(tmp_path: Path, bundle: Path) -> Any:
    with parts_of(tmp_path, token_key=KEY) as parts:
        load(parts, bundle)
        yield parts


async def test_a_beacon_is_taken_with_a_token_in_its_body_and_else_told_so(with_tokens: Parts) -> None:
    nobody = {"content-type": "text/plain;charset=UTF-8", CALLER_HEADER: "nobody"}
    anna = with_tokens.tokens.mint("anna", str)
    assert anna is not None
    async with client(with_tokens) as http:
        without = await http.post("/events", content=beacon(), headers=nobody)
        assert without.status_code == 401
        assert "field token of a beacon's body" in without.json()["remedy"]
        taken = await http.post("/events", content=beacon(token=anna.token), headers=nobody)
        assert (taken.status_code, taken.json()["accepted"]) == (200, 1)
        packed = await http.post(
            "/events", content=gzip.compress(beacon(token=anna.token)), headers={**nobody, "content-encoding": "gzip"}
        )
        assert (packed.status_code, packed.json()["duplicates"]) == (200, 1)
        for wrong in (anna.token[:-4] + "AAAA", "x", ""):
            refused = await http.post("/events", content=beacon(token=wrong), headers=nobody)
            assert (refused.status_code, refused.json()["field"]) == (401, "token")
            assert "POST /shopper" in refused.json()["remedy"]
