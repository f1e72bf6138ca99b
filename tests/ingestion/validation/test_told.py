"""What is lost is told and counted: rows without a day, items in another spelling, and what may name a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from contracts.errors import DataError, UnknownItems
from ingestion.landing.land import land
from ingestion.pseudonymize import EMAIL, EMAIL_PATTERN, redact, redact_text
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, NOW, catalog, csv_bytes, json_bytes, lake, parquet, rows, write
from tests.ingestion.validation.test_land_and_validate import DAY, clean, everything, landed

UNREADABLE_ROWS = {
    "no time": lambda line: line.replace(b"2024-03-04T", b"04/03/24 "),
    "an empty time": lambda line: b",".join([line.split(b",")[0], b"", *line.split(b",")[2:]]),
    "a local name": lambda line: line.replace(b"+00:00", b" CST"),
    "cut off": lambda line: line[:12],
    "one value less": lambda line: line.rsplit(b",", 1)[0],
    "not UTF-8": lambda line: line.replace(b"clear", b"cl\xe9ar"),
    "a serial number": lambda line: b",".join([line.split(b",")[0], b"45355.375", *line.split(b",")[2:]]),
    "1970": lambda line: line.replace(b"2024-03-04", b"1970-01-01"),
    "no such day": lambda line: line.replace(b"2024-03-04", b"2024-02-30"),
    "one value more": lambda line: line + b",x",
}


@pytest.mark.parametrize("way", UNREADABLE_ROWS)
def test_rows_without_a_day_count_against_the_days_of_their_file(tmp_path: Path, way: str) -> None:
    plain = [r for r in rows(300) if r["query"] is None][:200]
    head, *lines = csv_bytes(plain).splitlines()
    for bad, refused in ((95, False), (110, True)):
        where = lake(tmp_path / str(bad))
        spoilt = [UNREADABLE_ROWS[way](line) for line in lines[:bad]] + lines[bad:]
        report = landed(where, tmp_path, write(tmp_path / f"{bad}.csv", b"\n".join([head, *spoilt])))
        assert report.files[0].kept == 200 - bad
        if refused:
            with pytest.raises(DataError, match=rf"{bad} of 200 rows of {DAY} are quarantined, mostly \w+ \({bad}\): "):
                validate_day(where, DAY)
        else:
            day = validate_day(where, DAY)
            assert sum(day.undated.values()) == bad
            assert str(bad) in str(day)


def test_each_day_of_a_file_counts_its_part_of_them(tmp_path: Path) -> None:
    where = lake(tmp_path)
    good = [*rows(60), *rows(30, day=1), *rows(10, day=2)]
    bad = [r | {"event_time": "soon"} for r in rows(50, prefix="b")]
    text = json_bytes(good) + json_bytes(bad)
    landed(where, tmp_path, write(tmp_path / "e.jsonl", text))
    found = validate_day(where, "2024-03-06")
    counted = [sum(r.undated.values()) for r in (*found.caught_up, found)]
    assert counted == [30, 15, 5]
    assert not validate_day(where, "2024-03-06").written


def test_rows_that_come_too_early_are_not_lost(tmp_path: Path) -> None:
    where = lake(tmp_path)
    later = [r | {"event_time": r["event_time"].replace(year=2025)} for r in rows(90, prefix="l")]
    landed(where, tmp_path, parquet(rows(30) + later, tmp_path / "e"))
    assert validate_day(where, DAY).kept == 30


def test_sent_again_says_nothing_against_a_day(tmp_path: Path) -> None:
    where = lake(tmp_path)
    events = rows(60)
    files = [write(tmp_path / f"{n}.csv", csv_bytes(events[:n])) for n in (15, 30, 45, 60)]
    landed(where, tmp_path, *files)
    day = validate_day(where, DAY)
    assert (day.kept, day.quarantined) == (60, {"duplicate_event_id": 90})


SPELLINGS = {"00120": "120", "0007": "7", "7": "7.0", "AB-7": "ab-7", "000": "0", "120 ": "120", "12": "012"}


@pytest.mark.parametrize(("in_catalog", "in_events"), SPELLINGS.items())
def test_items_in_another_spelling_stop_a_day(tmp_path: Path, in_catalog: str, in_events: str) -> None:
    where, view = lake(tmp_path), rows(2)[1] | {"kind": "view", "query": None}
    good: list[dict[str, Any]] = [{"item_id": f"good-{n}", "title": "A lamp"} for n in range(40)]
    events = [view | {"event_id": f"e{n}", "item_id": f"good-{n % 40}"} for n in range(90)]
    events += [view | {"event_id": f"x{n}", "item_id": in_events} for n in range(10)]
    path = catalog(tmp_path / "c", [*good, {"item_id": in_catalog, "title": "A lamp"}])
    land(where, [parquet(events, tmp_path / "e")], path, pseudonymizer=KEY, now=NOW)
    with pytest.raises(
        UnknownItems, match="10 of 100 interactions name items .* 10 of them it has in another spelling"
    ):
        validate_day(where, DAY)
    assert validate_day(where, DAY, accept_changes=True).items.respelled == 10
    assert validate_day(where, DAY).items.unknown == 10


def test_items_that_the_catalog_has_not_are_told(tmp_path: Path) -> None:
    where = lake(tmp_path)
    land(where, [parquet(rows(60), tmp_path / "e")], catalog(tmp_path / "c", [
        {"item_id": "item-0", "title": "A lamp"}, {"item_id": "item-1", "title": "A board"}
    ]), pseudonymizer=KEY, now=NOW)  # fmt: skip
    assert "of 40 interactions name items that the catalog has not" in str(validate_day(where, DAY))


ADDRESSES = (
    "jörg@müller-beispiel.example", "анна@пример.испытание", "anna＠example.com", "anna﹫example.com",
    "anna%40example.com",
    "anna%2540example%2Ecom", "x@пример.example", "plain@example.com", "b@xn--e1afmkfd.xn--p1ai", "用户@例子.广告",
    '"john.doe"@example.com', "अजय@डाटा.भारत", "ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "anna@例子。公司",
    "o'brien@example.ie",
    "me@[192.168.0.1]", "me@10.0.0.1", "anna&#64;example.com", "anna(at)example.com", "anna[at]example[dot]com",
    "a+b@sub.sub.example.co.uk", "anna@exa_mple.com", "jo\u0308rg@example.de", "a@b.museum",
)  # fmt: skip
WORDS = (
    "resistor@5.5v",
    "lamp @ 20.5",
    "socks @ home",
    "@handle",
    "50% off (at home) deals",
    "user@localhost",
    "a@b",
    "5 @ 3",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_names_a_person_in_every_script(tmp_path: Path, address: str) -> None:
    for text, shown in ((address, "[email]"), (f"mail to {address} now", "mail to [email] now")):
        assert redact_text(text) == shown
        assert redact(pa.array([text, None, "lamp"])).to_pylist() == [shown, None, "lamp"]
    search = next(r for r in rows(20) if r["kind"] == "search") | {"query": f"to {address}"}
    bad = search | {"event_id": "b", "value": -1.0}
    where = lake(tmp_path)
    landed(where, tmp_path, parquet([search, bad, rows(3)[2]], tmp_path / "e"))
    validate_day(where, DAY)
    assert address not in everything(where)
    assert [r["query"] for r in clean(where) if r["query"]] == ["to [email]"]


@pytest.mark.parametrize("text", WORDS)
def test_words_beside_an_at_sign_stay(text: str) -> None:
    assert redact_text(text) == text


def test_columns_and_single_texts_find_the_same_addresses() -> None:
    texts = [*ADDRESSES, *WORDS, *(a + b for a in ADDRESSES for b in WORDS)]
    found = pc.match_substring_regex(pa.array(texts), EMAIL).to_pylist()
    assert found == [EMAIL_PATTERN.search(text) is not None for text in texts]


def test_an_identifier_in_the_shape_of_a_pseudonym_is_hashed(tmp_path: Path) -> None:
    where, like = lake(tmp_path), "u_c68c9f80434213ed76a9d943fd4ddc30"
    events = [r | {"user_id": like, "session_id": like} for r in rows(40)]
    events[0]["kind"] = "teleport"
    events.append(events[1] | {"value": 1.0})
    landed(where, tmp_path, parquet(events, tmp_path / "a"), write(tmp_path / "b.csv", csv_bytes(events[:30])))
    validate_day(where, DAY)
    assert {r["user_id"] for r in clean(where)} == {KEY.hash(like)}
    assert like not in everything(where)
