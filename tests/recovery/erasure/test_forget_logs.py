"""Logs without one shopper: every other line keeps its bytes and its place, while others write and read."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from ingestion.landing.event_log import collect
from monitoring.log_tail import Tail
from recovery.erasure import logs
from recovery.erasure.rows import ErasureSubject
from recovery.restore.online_store import _events
from recovery.shipping import event_log
from serving.events.event_log import EventLog
from tests.ingestion import builders
from tests.recovery.vaults import SmallRegion
from tests.waiting import until

ANNA, BERT = builders.KEY.hash("anna"), builders.KEY.hash("bert")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHOM = {ANNA: AT + timedelta(days=1)}


def event(user: str, number: int, *, request: str | None = None, at: datetime = AT) -> bytes:
    row: dict[str, Any] = {
        "event_id": f"e{number}", "event_time": at.isoformat(), "user_id": user, "session_id": None, "kind": "view",
        "item_id": "i1", "query": None, "position": None, "value": None, "source": "shop",
    }  # fmt: skip
    return json.dumps(row | ({"request_id": request} if request else {})).encode() + b"\n"


def answer(shopper: str, request: str, at: datetime = AT) -> bytes:
    return json.dumps({"t": at.timestamp(), "id": request, "kind": "recommend", "shopper": shopper}).encode() + b"\n"


def access(shopper: str, request: str, at: datetime = AT) -> bytes:
    return json.dumps({"time": at.isoformat(), "request_id": request, "shopper": shopper}).encode() + b"\n"


def write(home: Path, name: str, *lines: bytes) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def erase(home: Path, whom: ErasureSubject) -> dict[str, int]:
    found = logs.find_lines(home, whom)
    logs.blank(home, found)
    assert not any(logs.find_lines(home, whom).lines.values())
    return dict(found.lines)


LINES = st.lists(st.tuples(st.sampled_from([ANNA, BERT]), st.integers(0, 86_400)), max_size=30)


@hypothesis(max_examples=50)
@given(lines=LINES, torn=st.sampled_from([b"", b'{"half": "', event(ANNA, 99)[:60]]))
def test_every_other_line_keeps_its_bytes_and_its_place(lines: list[tuple[str, int]], torn: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        whom = ErasureSubject({ANNA: AT + timedelta(seconds=40_000)})
        made = [event(user, n, at=AT + timedelta(seconds=s)) for n, (user, s) in enumerate(lines)]
        path = write(home, "event-log/2026-03-01/champion-000000.jsonl", *made, torn)
        before = path.read_bytes()
        erase(home, whom)
        after = path.read_bytes()
        assert len(after) == len(before)
        place = 0
        for (user, second), line in zip(lines, made, strict=True):
            now = after[place : place + len(line)]
            goes = user == ANNA and second <= 40_000
            assert now == (b" " * (len(line) - 1) + b"\n" if goes else line)
            place += len(line)
        assert after[place:] == torn, "it may still be being written"


def test_a_line_torn_by_a_crash_goes_once_nobody_writes_it_any_more(tmp_path: Path) -> None:
    path = write(tmp_path, "event-log/2026-03-01/champion-000000.jsonl", event(BERT, 1), event(ANNA, 2)[:130])
    os.utime(path, (time.time() - 120, time.time() - 120))
    assert ANNA.encode() in path.read_bytes()
    assert erase(tmp_path, ErasureSubject(WHOM))["event log"] == 1
    assert ANNA.encode() not in path.read_bytes()
    assert path.read_bytes().startswith(event(BERT, 1))


def test_impressions_go_and_so_do_the_edges_lines_of_their_requests(tmp_path: Path) -> None:
    shown = write(tmp_path, "impression-log/2026-03-01/champion-shown-0.jsonl",
                  event(ANNA, 1, request="r1"), event(BERT, 2, request="r2"))  # fmt: skip
    edge = write(tmp_path, "logs/edge-access.log", access("cookie", "r1"), access("other", "r2"))
    assert erase(tmp_path, ErasureSubject(WHOM)) == {
        "impression log": 1, "edge log": 1, "answer log": 0, "event log": 0
    }  # fmt: skip
    assert shown.read_bytes().split() == event(BERT, 2, request="r2").split()
    assert edge.read_bytes().split() == access("other", "r2").split()


def test_an_engine_that_writes_meanwhile_loses_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "event-log", "champion")
    written: list[bytes] = []
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            line = event(ANNA if number % 3 == 0 else BERT, number, at=datetime.now(UTC))
            log.append(line).result()
            written.append(line)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    whom = ErasureSubject({ANNA: datetime.now(UTC) + timedelta(days=1)})
    for number in range(21):
        logs.blank(tmp_path, logs.find_lines(tmp_path, whom))
        until(lambda so_far=number: len(written) > so_far, 30)
    stop.set()
    thread.join()
    log.close()
    erase(tmp_path, whom)
    (path,) = (tmp_path / "event-log").glob("*/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(written) > 20
    for found, line in zip(lines, written, strict=True):
        assert found == (line if BERT.encode() in line else b" " * (len(line) - 1) + b"\n")


def test_the_feed_sends_what_is_left_and_no_line_twice(tmp_path: Path) -> None:
    region, home = SmallRegion(tmp_path / "region"), tmp_path / "home"
    path = write(home, "event-log/2026-03-01/champion-000000.jsonl", event(BERT, 1), event(ANNA, 2))
    reached = event_log.ship(region.vault, "7", home)
    with path.open("ab") as file:
        file.write(event(ANNA, 3) + event(BERT, 4))
    erase(home, ErasureSubject(WHOM))
    event_log.ship(region.vault, "7", home, reached)
    restored = tmp_path / "restored"
    event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), restored)
    again = (restored / "event-log/2026-03-01/champion-000000.jsonl").read_bytes()
    assert event(ANNA, 2) in again, "the vault keeps what it has; so a restore applies the list"
    assert event(ANNA, 3) not in again
    erase(restored, ErasureSubject(WHOM))
    assert (restored / "event-log/2026-03-01/champion-000000.jsonl").read_bytes() == path.read_bytes()


def test_every_reader_passes_over_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "event-log/2026-03-01/champion-000000.jsonl", event(ANNA, 1), event(BERT, 2))
    erase(tmp_path, ErasureSubject(WHOM))
    pushed = list(_events(tmp_path / "event-log", {}, until=None))
    assert [row["user_id"] for _, rows in pushed for row in rows] == [BERT]
    tail = Tail(path, lambda line: float(line["event_time"] is not None), 0.0)
    assert [line["user_id"] for line in tail.read()] == [BERT]
    assert tail.broken == 0
    lake = builders.lake(tmp_path)
    (report,) = collect(lake, tmp_path / "event-log", now=AT + timedelta(days=1))
    assert (report.read, report.kept) == (1, 1)


def test_the_edge_s_logs_go_by_request_by_cookie_and_by_the_clear_identifier(tmp_path: Path) -> None:
    write(
        tmp_path, "event-log/2026-03-01/champion-000000.jsonl",
        event(ANNA, 1, request="r1"), event(BERT, 2, request="r2"), event(ANNA, 3, request="r3"),
    )  # fmt: skip
    kept = [answer("family", "r2"), answer("bert", "r9"), answer("family", "r8")]
    answers = write(
        tmp_path, "answer-log/2026-03-01/champion-000000.jsonl",
        answer("annas-cookie", "r1"), answer("annas-cookie", "search"), kept[0], answer("family", "r3"), kept[1],
        answer("anna", "r7"), kept[2],
    )  # fmt: skip
    kept_there = [access("family", "r2"), access("bert", "r9")]
    edge = write(
        tmp_path, "logs/edge-access.log",
        access("annas-cookie", "events"), kept_there[0], access("family", "r3"), access("anna", "r7"), kept_there[1],
    )  # fmt: skip
    erase(tmp_path, ErasureSubject(WHOM, clear={"anna": ANNA}))
    assert [line for line in answers.read_bytes().splitlines(keepends=True) if line.strip()] == kept
    assert [line for line in edge.read_bytes().splitlines(keepends=True) if line.strip()] == kept_there


def test_begun_and_killed_it_is_ended_by_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [event(ANNA, 1), event(BERT, 2), event(ANNA, 3)]
    path = write(tmp_path, "event-log/2026-03-01/champion-000000.jsonl", *lines)
    half, real = [1], os.pwrite

    def dies(file: int, data: bytes, offset: int) -> int:
        if half.pop():
            half.append(0)
            real(file, data[: len(data) // 2], offset)
        raise OSError("the power went")

    found = logs.find_lines(tmp_path, ErasureSubject(WHOM))
    monkeypatch.setattr(os, "pwrite", dies)
    with pytest.raises(OSError, match="power"):
        logs.blank(tmp_path, found)
    monkeypatch.setattr(os, "pwrite", real)
    assert b"{" not in path.read_bytes()[:20]
    assert not logs.find_lines(tmp_path, ErasureSubject(WHOM)).lines["event log"]
    assert path.read_bytes().split(b"\n")[1] + b"\n" == lines[1]
    assert path.read_bytes().split() == lines[1].split()
    assert not list(tmp_path.glob(".erasing*"))
