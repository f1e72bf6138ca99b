"""One value, one meaning: the forms that programs write, those that could mean two things, and whole columns alike."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import UnreadableFile
from contracts.events import EVENTS, TIMESTAMP
from ingestion.formats.columns import convert
from ingestion.formats.values import (
    MISSING,
    UNREADABLE,
    read_moment,
    read_number,
    read_text,
    read_whole,
    read_yes_or_no,
)
from ingestion.landing.table_reader import read_file
from ingestion.rules.one_event import judge_event
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from ingestion.rules.split import split_rows
from tests.ingestion.builders import NOW, csv_bytes, parquet, rows, write

TEN = "2026-11-25T10:00:00+00:00"
TIMES = {
    "2026-11-25T10:00:00Z": TEN,
    "2026-11-25t10:00:00z": TEN,
    "2026-11-25T10:00:00,5Z": "2026-11-25T10:00:00.500000+00:00",
    "2026-11-25T10:00:00.Z": TEN,
    "2026-11-25T10:00:00.123456789Z": "2026-11-25T10:00:00.123456+00:00",
    "20261125T100000Z": TEN,
    "20261125T1000+0000": TEN,
    "2026-W48-3T10:00:00Z": TEN,
    "2026W483T100000Z": TEN,
    "2026-329T10:00:00Z": TEN,
    "2026329T100000Z": TEN,
    "2026-11-24T24:00:00Z": "2026-11-25T00:00:00+00:00",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00+00:00",
    "2026-11-25T12:00:00+02": TEN,
    "2026-11-25T12:00:00+0200": TEN,
    "2026-11-25T12:00:00+02:00": TEN,
    "2026-11-25T06:30:00\u221203:30": TEN,
    "2026-11-25T11:00:00+01:00[Europe/Berlin]": TEN,
    "2026-11-25 10:00:00 UTC": TEN,
    "2026-11-25 10:00:00.000000 UTC": TEN,
    "2026-11-25 10:00:00.000 +0000": TEN,
    "2026-11-25 10:00:00.000 Z": TEN,
    "2026-11-25 10:00:00+00": TEN,
    "2026-11-25 10:00:00": TEN,
    "2026-11-25 10:00:00 AM": TEN,
    "2026/11/25 10:00": TEN,
    "25.11.2026 10:00": TEN,
    "25-Nov-2026 10:00:00": TEN,
    "Nov 25, 2026, 10:00:00 AM": TEN,
    "Wed Nov 25 2026 11:00:00 GMT+0100 (Central European Standard Time)": TEN,
    "Wed, 25 Nov 2026 10:00:00 GMT": TEN,
    "Wed Nov 25 10:00:00 2026": TEN,
    "Wed Nov 25 10:00:00 UTC 2026": TEN,
    "25/Nov/2026:10:00:00 +0000": TEN,
    "  2026-11-25T10:00:00Z ": TEN,
    "2026-11-25": "2026-11-25T00:00:00+00:00",
    "20261125": "2026-11-25T00:00:00+00:00",
    "20261125100000": TEN,
    "1795600800": TEN,
    "1795600800000": TEN,
    "1795600800000000": TEN,
    "1795600800000000000": TEN,
    "1795600800.25": "2026-11-25T10:00:00.250000+00:00",
}
UNSURE_TIMES = (
    "11/05/2026 10:00", "25/11/2026", "25.11.26", "25-NOV-26 10.00.00 AM", "46351.4166667", "0", "123", "-1795600800",
    "1.7956E+09", "2026-11-25 10:00:00 CST", "2026-11-25T10:00:00[Europe/Berlin]", "2026-11", "2026-W48", "2026-02-30",
    "2026-366", "2026-W54-1", "2026-11-25T25:00:00Z", "2026-11-25T24:00:01Z", "2026-11-25T10:00:60Z",
    "2026-11-25T10:60:00Z", "2026-11-25T10:00:00+24:00", "2026-11-25T10:00:00+02:60", "2026-11-25T10:00:00Z\x00",
    "Tue, 25 Nov 2026 10:00:00 GMT", "13:00 PM", "2026-11-25 13:00 PM", "tomorrow", "\u0662\u0660\u0662\u0666-11-25",
    "+002026-11-25T10:00:00Z", "x" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), TIMES.items())
def test_a_time_is_taken_in_every_form_that_means_one_instant(text: str, meant: str) -> None:
    assert read_moment(text) == dt.datetime.fromisoformat(meant)
    assert convert(pa.array([text, "?!"]), TIMESTAMP).column[0].as_py() == dt.datetime.fromisoformat(meant)


@pytest.mark.parametrize("text", UNSURE_TIMES, ids=lambda t: t[:30].encode("unicode_escape").decode())
def test_a_time_that_could_mean_two_instants_is_refused(text: str) -> None:
    assert read_moment(text) is UNREADABLE
    assert convert(pa.array([text]), TIMESTAMP).invalid.tolist() == [True]


@pytest.mark.parametrize(
    "given",
    [1_795_600_800, 1_795_600_800_000, 1_795_600_800_000_000, 1_795_600_800_000_000_000, 1_795_600_800.0],
    ids=str,
)
def test_a_number_since_1970_is_read_in_its_unit(given: float) -> None:
    assert read_moment(given) == dt.datetime.fromisoformat(TEN)
    assert convert(pa.array([given]), TIMESTAMP).column[0].as_py() == dt.datetime.fromisoformat(TEN)


@pytest.mark.parametrize("word", [*MISSING, "", " ", "\t", "\u3000"], ids=repr)
def test_a_word_for_nothing_is_nothing_in_every_type(word: str) -> None:
    for read in (read_moment, read_number, read_whole, read_yes_or_no):
        assert read(word) is None
    assert read_text(word, "identifier") is None
    assert read_text(word, "words") is None
    for target in (TIMESTAMP, pa.float64(), pa.int32(), pa.bool_(), pa.string()):
        found = convert(pa.array([word]), target)
        assert (found.column.null_count, found.invalid.tolist()) == (1, [False])


def test_a_search_for_nan_is_one_and_a_missing_query_is_none() -> None:
    assert [read_text(word, "query") for word in ("nan", "none", "null", "NA")] == ["nan", "none", "null", "NA"]
    assert [read_text(word, "query") for word in ("<NA>", "#N/A", "\\N", " ")] == [None] * 4


YES_OR_NO = {
    "TRUE": True, "True": True, "true": True, "T": True, "1": True, "1.0": True, "yes": True, "Y": True, "on": True,
    "WAHR": True, "VRAI": True, " true ": True, "FALSE": False, "F": False, "0": False, "0.0": False, "No": False,
    "off": False, "FALSCH": False, "NA": None, "": None, "maybe": UNREADABLE, "2": UNREADABLE, "-1": UNREADABLE,
}  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), YES_OR_NO.items())
def test_true_and_false_as_programs_write_them(text: str, meant: Any) -> None:
    assert read_yes_or_no(text) is meant
    found = convert(pa.array([text]), pa.bool_())
    assert (found.column[0].as_py(), found.invalid[0]) == ((None, True) if meant is UNREADABLE else (meant, False))


NUMBERS = {
    "9.5": 9.5, ".5": 0.5, "5.": 5.0, "+3": 3.0, " 7 ": 7.0, "1e3": 1000.0, "-0": 0.0, "NaN": None, "1.#QNAN": None,
    "9,50": UNREADABLE, "1,000": UNREADABLE, "1 000": UNREADABLE, "EUR 5": UNREADABLE, "inf": UNREADABLE,
    "1e999": UNREADABLE, "0x10": UNREADABLE, "true": UNREADABLE, "1_000": UNREADABLE, "\u0665": UNREADABLE,
}  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), NUMBERS.items())
def test_numbers_as_programs_write_them(text: str, meant: Any) -> None:
    assert read_number(text) == meant
    found = convert(pa.array([text, "1.5"]), pa.float64())
    assert (found.column[0].as_py(), found.invalid[0]) == ((None, True) if meant is UNREADABLE else (meant, False))


IDENTIFIERS: dict[Any, Any] = {
    "007": "007", "7.0": "7.0", "12e4": "12e4", " x ": " x ", "u_" + "0" * 32: "u_" + "0" * 32, 7: "7", 8.0: "8",
    2**64: str(2**64), "1e+05": UNREADABLE, "1.23457E+12": UNREADABLE, "1,2E+12": UNREADABLE, 7.5: UNREADABLE,
    2.0**53: UNREADABLE, True: UNREADABLE, float("inf"): UNREADABLE, "\ud800": UNREADABLE,
}  # fmt: skip


@pytest.mark.parametrize(("given", "meant"), IDENTIFIERS.items(), ids=repr)
def test_an_identifier_never_comes_through_a_float(given: Any, meant: Any) -> None:
    assert read_text(given, "identifier") == meant


FLOATED = {
    "pandas": (["1.0", "2.0", "", "100.0"], ["1", "2", None, "100"]),
    "pandas with NaN": (["1.0", "nan", "3.0", "4.00"], ["1", None, "3", "4"]),
    "R shortened one": (["99999.0", "1e+05", "100001.0", "3.0"], ["99999", UNREADABLE, "100001", "3"]),
    "versions": (["1.0", "1.1", "2.0", "2.1"], ["1.0", "1.1", "2.0", "2.1"]),
    "names among them": (["7.0", "A-7", "8.0", "9.0"], ["7.0", "A-7", "8.0", "9.0"]),
    "leading zeros": (["007.0", "008.0", "1.0", "2.0"], ["007.0", "008.0", "1.0", "2.0"]),
    "more than a float holds": (["1.0", "9007199254740993.0", "2.0", "3.0"], ["1", UNREADABLE, "2", "3"]),
    "whole numbers": (["1", "2", "3", "00120"], ["1", "2", "3", "00120"]),
    "decimals": (["1.5", "2.0", "3.0", "4.0"], ["1.5", "2.0", "3.0", "4.0"]),
    "negative": (["-1.0", "2.0", "3.0", "0.0"], ["-1", "2", "3", "0"]),
}


@pytest.mark.parametrize("name", FLOATED)
def test_a_csv_column_of_floats_names_whole_numbers(tmp_path: Path, name: str) -> None:
    given, meant = FLOATED[name]
    text = "title,item_id\n" + "".join(f"a,{value}\n" for value in given)
    split = split_rows(read_file(write(tmp_path / "c.csv", text.encode()), CATALOG_SCHEMA), CATALOG_SCHEMA)
    expected = [m for m in meant if m is not None and m is not UNREADABLE]
    assert split.kept.column("item_id").to_pylist() == expected
    reasons = {None: "missing_item_id", UNREADABLE: "bad_item_id"}
    assert split.reasons.drop_null().to_pylist() == [reasons[m] for m in meant if m in (None, UNREADABLE)]


def test_the_same_numbers_name_the_same_items_in_every_format(tmp_path: Path) -> None:
    ids = [1, 2, 10**15 + 1]
    frames = {
        "floats.parquet": pa.table({"item_id": pa.array(ids, pa.float64()), "title": ["a", "b", "c"]}),
        "ints.parquet": pa.table({"item_id": pa.array(ids, pa.int64()), "title": ["a", "b", "c"]}),
        "texts.parquet": pa.table({"item_id": pa.array(map(str, ids)), "title": ["a", "b", "c"]}),
    }
    files = [parquet(table, tmp_path / name) for name, table in frames.items()]
    files.append(write(tmp_path / "a.csv", b"item_id,title\n1.0,a\n2.0,b\n100000000000001.0,c\n"))
    files.append(write(tmp_path / "b.csv", b"item_id,title\n1,a\n2,b\n1000000000000001,c\n"))
    files.append(write(tmp_path / "a.jsonl", b"".join(b'{"item_id": %d.0, "title": "a"}\n' % n for n in ids)))
    for path in files:
        split = split_rows(read_file(path, CATALOG_SCHEMA), CATALOG_SCHEMA)
        last = "100000000000001" if path.name == "a.csv" else str(ids[2])
        assert split.kept.column("item_id").to_pylist() == ["1", "2", last], path.name


def test_nan_in_json_lines_is_no_value(tmp_path: Path) -> None:
    good = '"event_time": "2024-03-04T09:00:00Z", "user_id": "u", "kind": "view", "item_id": "i"'
    bad = ('"value": NaN, "x": ', '"value": NaN, "query": "\\ud800"', '"value": nan')
    lines = [f'{{"event_id": "a{n}", {good}, "value": {v}}}' for n, v in enumerate(("NaN", "1.5", "Infinity", "null"))]
    lines += [f'{{"event_id": "b{n}", {good}, {rest}}}' for n, rest in enumerate(bad)]
    raw = read_file(write(tmp_path / "e.jsonl", "\n".join(lines).encode()), EVENT_SCHEMA)
    split = split_rows(raw, EVENT_SCHEMA, now=NOW)
    assert split.kept.column("value").to_pylist() == [None, 1.5, None]
    assert split.reasons.drop_null().to_pylist() == ["bad_value"]
    assert [r.reason for r in raw.refused] == ["unparseable_line"] * len(bad)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_header_in_the_middle_of_a_file_is_told(tmp_path: Path, mark: bytes, zipped: bool) -> None:
    one, two = csv_bytes(rows(10)), mark + csv_bytes(rows(10, prefix="f"))
    raw = read_file(write(tmp_path / "e.csv", one + two, zipped=zipped), EVENT_SCHEMA)
    assert (raw.read, [(r.reason, r.number) for r in raw.refused]) == (21, [("repeated_header", 11)])
    assert split_rows(raw, EVENT_SCHEMA, now=NOW).kept.num_rows == 20


def test_another_header_in_the_middle_makes_it_two_files(tmp_path: Path) -> None:
    text = b"item_id,title\n1,a\n2,b\ntitle,item_id\nc,3\n"
    with pytest.raises(UnreadableFile, match=r"second header line \(record 3\)"):
        read_file(write(tmp_path / "c.csv", text), CATALOG_SCHEMA)


def test_an_item_that_is_called_title_is_no_header(tmp_path: Path) -> None:
    text = b"item_id,title\n1,title\nitem_id,a lamp\n"
    assert read_file(write(tmp_path / "c.csv", text), CATALOG_SCHEMA).read == 2


def test_whole_columns_are_read_like_one_value() -> None:
    texts = [*TIMES, *UNSURE_TIMES[:-1], *MISSING, *NUMBERS, *YES_OR_NO, "x", None]
    order = np.random.default_rng(7).permutation(len(texts) * 50) % len(texts)
    column = pa.array([texts[n] for n in order])
    for target, read in (
        (TIMESTAMP, read_moment), (pa.float64(), read_number), (pa.int32(), read_whole), (pa.bool_(), read_yes_or_no),
    ):  # fmt: skip
        single = [read(text) for text in texts]
        found = convert(column, target)
        assert found.column.to_pylist() == [None if single[n] is UNREADABLE else single[n] for n in order]
        assert found.invalid.tolist() == [single[n] is UNREADABLE for n in order]


def test_blanks_are_the_same_for_columns_and_for_one_value() -> None:
    every = [chr(code) for code in range(1, 0x3100) if not 0xD800 <= code < 0xE000]
    blank = convert(pa.array(every), pa.string()).column
    assert [text for text, value in zip(every, blank.to_pylist(), strict=True) if value is None] == [
        text for text in every if read_text(text, "words") is None
    ]


#: What some program may send as a number, a time or a text, and Python trips over.
MONSTERS = [
    10**19, 10**400, -(10**400), 10**5000, Decimal("1e999999"), Decimal("-1e999999"), Decimal("NaN"), Decimal("sNaN"),
    Decimal("Infinity"), math.inf, -math.inf, 1e308, 5e-324, "9" * 5000, "-" + "9" * 400, "1e999999",
    "1" * 400 + ".5", "\ud800", "\u0663" * 300, dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=14))),
    dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-14))), [], {}, b"x", object(), "2026-W99-1",
    "2026-366", "0000-01-01", "9999-12-31T24:00:00Z",
]  # fmt: skip


@pytest.mark.parametrize("read", [read_moment, read_number, read_whole, read_yes_or_no])
@pytest.mark.parametrize("value", MONSTERS, ids=lambda value: type(value).__name__)
def test_no_value_is_so_large_that_a_reader_gives_up(read: Callable[[object], object], value: object) -> None:
    read(value)  # an exception would be a 500 at one door and a stopped night at another


@pytest.mark.parametrize("value", MONSTERS, ids=lambda value: type(value).__name__)
def test_no_event_is_so_odd_that_the_judge_gives_up(value: object) -> None:
    for name in EVENTS.names:
        judge_event({name: value}, NOW)
