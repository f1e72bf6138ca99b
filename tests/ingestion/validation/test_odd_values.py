"""Values that nobody foresaw cost their row or their file, never the rows and files beside them."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from contracts.errors import UnreadableFile
from contracts.events import TIMESTAMP
from ingestion.formats.columns import convert
from ingestion.landing.land import land
from ingestion.landing.table_reader import read_file
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from ingestion.rules.split import split_rows
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, NOW, catalog, csv_bytes, lake, parquet, rows, table, write
from tests.ingestion.validation.test_land_and_validate import clean, everything, landed

HEADER = b"event_id,event_time,user_id,kind,item_id,note\n"


def lines(*texts: str) -> bytes:
    return HEADER + "".join(f"{text}\n" for text in texts).encode()


def test_a_quote_in_a_column_of_no_interest_swallows_no_row(tmp_path: Path) -> None:
    good = ['e{},2024-03-04T09:00:0{}Z,u{},view,i{},{}'.format(*[n] * 4, note)
            for n, note in enumerate(['"5 inch', "x", '10"', "x"])]  # fmt: skip
    raw = read_file(write(tmp_path / "a.csv", lines(*good)), EVENT_SCHEMA)
    kept = split_rows(raw, EVENT_SCHEMA, now=NOW).kept
    assert raw.read == 4
    assert [r.reason for r in raw.refused] == ["unparseable_line"] * (4 - kept.num_rows)
    assert {"e1", "e3"} <= set(kept.column("event_id").to_pylist())


def test_a_quote_that_ends_in_the_middle_of_a_value_swallows_no_product(tmp_path: Path) -> None:
    text = b'item_id,title,description\na,A,"5 inch\nb,B,x\nc,C,10" disk\nd,D,y\n'
    raw = read_file(write(tmp_path / "c.csv", text), CATALOG_SCHEMA)
    kept = split_rows(raw, CATALOG_SCHEMA).kept.column("item_id").to_pylist()
    assert raw.read == 4
    assert {"b", "d"} <= set(kept)
    assert len(kept) + len(raw.refused) == 4


def test_long_numbers_are_identifiers_as_they_stand(tmp_path: Path) -> None:
    text = b"".join(
        b'{"event_id":%d,"event_time":"2024-03-04T09:00:00Z","user_id":7.0,"kind":"view","item_id":1}\n' % number
        for number in (10**22 + 1, 10**22 + 2, 2**64 - 1)
    )
    raw = read_file(write(tmp_path / "a.jsonl", text), EVENT_SCHEMA)
    kept = split_rows(raw, EVENT_SCHEMA, now=NOW).kept
    assert kept.column("event_id").to_pylist() == [str(10**22 + 1), str(10**22 + 2), str(2**64 - 1)]
    assert kept.column("user_id").to_pylist() == ["7"] * 3


def test_a_number_that_a_float_cannot_hold_names_no_item(tmp_path: Path) -> None:
    numbers = ["1.00000000000000000001e22", "9007199254740993.0", "0.5", "true", "1e400", "1" * 200, "1" * 5000]
    good = ["9007199254740993", "7.0", "-0.0", "1" * 100]
    text = "".join(f'{{"item_id": {number}, "title": "a", "price": 7.0}}\n' for number in [*numbers, *good])
    text += '{"item_id": 1e30, "title": "a", "attributes": ' + "[" * 1000 + "]" * 1000 + "}\n"
    raw = read_file(write(tmp_path / "c.jsonl", text.encode()), CATALOG_SCHEMA)
    split = split_rows(raw, CATALOG_SCHEMA)
    assert split.kept.column("item_id").to_pylist() == ["9007199254740993", "7", "0", "1" * 100]
    assert split.kept.column("price").to_pylist() == [7.0] * 4
    found = split.reasons.drop_null().to_pylist()
    assert set(found) == {"bad_item_id"}
    assert len(found) + raw.read - raw.table.num_rows == len(numbers) + 1  # some lines are not read at all
    assert "nested_value" in {r.reason for r in raw.refused}


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_out_of_all_bounds_does_not_come_round_to_a_good_one(unit: str) -> None:
    times = pa.array([-(2**63), 2**63 - 1, 0, None], pa.int64()).cast(pa.timestamp(unit))
    converted = convert(times, TIMESTAMP)
    assert converted.column.to_pylist() == [None, None, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), None]
    assert converted.invalid.tolist() == [True, True, False, False]


SOME_TIMES = {
    "9999-12-31": "9999-12-31T00:00:00+00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
    "9999-12-31T23:00:00-02:00": None,
    "0001-01-01T02:00:00+0200": "0001-01-01T00:00:00+00:00",
    "0001-01-01T01:00:00+02:00": None,
    "1677-09-21T00:12:43.145225+09": "1677-09-20T15:12:43.145225+00:00",
    "1500-02-29": None,
    "2300-01-01 09:00": "2300-01-01T09:00:00+00:00",
    "2300-01-01T09:00+02:60": None,
    "2024-03-04 09": "2024-03-04T09:00:00+00:00",
}


@pytest.mark.parametrize("beside", [[], ["garbage"], ["2024-03-04"], ["2024-03-04", "2024-03-04T09:00Z"]], ids=str)
def test_a_time_is_read_in_the_same_way_whatever_stands_beside_it(beside: list[str]) -> None:
    for text, meant in SOME_TIMES.items():
        found = convert(pa.array([*beside, text, None]), TIMESTAMP)
        moment = found.column[len(beside)].as_py()
        assert (text, moment and moment.isoformat()) == (text, meant)
        assert found.invalid.tolist()[-2:] == [meant is None, False]


NINE = 1_709_542_800  # 2024-03-04T09:00:00Z
#: A time in each of two rows, and an odd one in the row between them.
ODD_TIMES = {
    "microseconds called milliseconds": pa.array([NINE * 1000, NINE * 10**6, NINE * 1000], pa.timestamp("ms")),
    "beyond the year 9999": pa.array([NINE * 10**6, 3 * 10**17, NINE * 10**6], pa.timestamp("us")),
    "before the first year": pa.array([NINE * 10**6, -(10**17), NINE * 10**6], pa.timestamp("us", "UTC")),
    "an unheard of zone": pa.array([NINE] * 3, pa.timestamp("s", "Foo/Bar")),
    "the last day there is": pa.array([NINE // 86_400, 2**31 - 1, NINE // 86_400], pa.int32()).cast(pa.date32()),
    "year 0": pa.array(["2024-03-04T09:00:00Z", "0000-01-01T00:00:00Z", "2024-03-04T09:00:00Z"]),
    "a view of text": pa.array(["2024-03-04T09:00:00Z"] * 3, pa.string_view()),
}


@pytest.mark.parametrize("times", ODD_TIMES.values(), ids=ODD_TIMES.keys())
def test_odd_times_are_quarantined_alone_and_the_next_file_goes_in(tmp_path: Path, times: pa.Array) -> None:
    odd = table(rows(3)).set_column(1, "event_time", times)
    odd = odd.set_column(4, "kind", pa.array(["add_to_cart", "teleport", "add_to_cart"]))
    odd = odd.set_column(5, "item_id", pa.array(["item"] * 3))
    where = lake(tmp_path)
    report = landed(where, tmp_path, parquet(odd, tmp_path / "a"), parquet(rows(5, day=1), tmp_path / "b"))
    assert [(f.read, f.kept) for f in report.files[:2]] == [(3, 2), (5, 5)]
    assert set(report.quarantined) <= {"bad_event_time", "unknown_kind"}


def test_a_file_of_nothing_but_odd_times_is_refused(tmp_path: Path) -> None:
    text = b"event_id,event_time,user_id,kind,item_id\ne1,0000-01-01T00:00:00Z,u1,foo,i1\n"
    (report,) = land(lake(tmp_path), [write(tmp_path / "a.csv", text)], pseudonymizer=KEY, now=NOW).files
    assert "none of the 1 rows of a.csv can be used (1 x bad_event_time)" in report.reason


def test_half_floats_and_deep_attributes_cost_no_file(tmp_path: Path) -> None:
    halves = pa.table({"item_id": pa.array(np.array([1, 2], np.float16)), "title": ["a", "b"]})
    raw = read_file(parquet(halves, tmp_path / "c"), CATALOG_SCHEMA)
    assert split_rows(raw, CATALOG_SCHEMA).kept.column("item_id").to_pylist() == ["1", "2"]
    deep = b'{"item_id": "1", "title": "a", "attributes": ' + b"[" * 300 + b"]" * 300 + b"}\n"
    raw = read_file(write(tmp_path / "d", deep + orjson.dumps({"item_id": "2", "title": "b"})), CATALOG_SCHEMA)
    assert [r.reason for r in raw.refused] == ["nested_value"]
    assert split_rows(raw, CATALOG_SCHEMA).kept.column("item_id").to_pylist() == ["2"]


@pytest.mark.parametrize("kind", [pa.decimal128(10), pa.decimal128(10, 2), pa.decimal128(38, 30), pa.decimal256(60, 9)])
def test_whole_decimals_are_identifiers(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = [Decimal(7), Decimal(0), Decimal(-12), Decimal(100), Decimal("0.5") if kind.scale else None]
    items = pa.table({"item_id": pa.array(numbers, kind), "title": list("abcde")})
    split = split_rows(read_file(parquet(items, tmp_path / "c"), CATALOG_SCHEMA), CATALOG_SCHEMA)
    assert split.kept.column("item_id").to_pylist() == ["7", "0", "-12", "100"]
    assert split.reasons[4].as_py() == ("bad_item_id" if kind.scale else "missing_item_id")


def test_a_name_that_is_not_utf_8_costs_no_file(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    names = [odd / os.fsdecode(b"good\xe9.csv"), odd / os.fsdecode(b"bad\xe9.csv"), odd / os.fsdecode(b"absent\xe9")]
    write(names[0], csv_bytes(rows(5)))
    write(names[1], b"a,b\n1,2\n")
    where = lake(tmp_path)
    report = landed(where, tmp_path, *names, parquet(rows(5, day=1), tmp_path / "b"))
    assert [file.status for file in report.files] == ["landed", "refused", "refused", "landed", "landed"]
    assert [file.name for file in report.files[:2]] == ["good\ufffd.csv", "bad\ufffd.csv"]
    assert "bad\ufffd.csv lacks" in everything(where)
    with pytest.raises(UnreadableFile) as caught:
        read_file(names[2], EVENT_SCHEMA)
    assert "caf\ufffd/absent\ufffd cannot be opened" in caught.value.what


@pytest.mark.parametrize("kind", [OverflowError, AttributeError, MemoryError])
def test_what_nobody_foresaw_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    from ingestion.landing import land as landing_files

    split, calls, says = landing_files.split_rows, [], "a value of clear-user-3 is out of range"

    def fails_once(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise kind(says)
        return split(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(landing_files, "split_rows", fails_once)
    where = lake(tmp_path)
    report = landed(where, tmp_path, parquet(rows(5), tmp_path / "a"), parquet(rows(5, day=1), tmp_path / "b"))
    assert [file.status for file in report.files[:2]] == ["refused", "landed"]
    assert f"a holds something that cannot be read ({kind.__name__})" in report.files[0].reason
    assert "in fails_once" in caplog.text
    assert "clear-user" not in everything(where) + caplog.text


def test_a_file_without_a_header_line_names_nobody(tmp_path: Path) -> None:
    where = lake(tmp_path)
    path = write(tmp_path / "h.csv", b"e1,2024-03-04T09:00:00Z,anna@example.com,view,i1\n")
    twice = write(tmp_path / "t.csv", b"anna@example.com,anna@example.com\n1,2\n")
    report = landed(where, tmp_path, path, twice)
    assert [file.status for file in report.files[:2]] == ["refused", "refused"]
    assert "(it has none of these and 5 others; is the header line missing?)" in report.files[0].reason
    for text in (everything(where), *(file.reason for file in report.files)):
        assert "anna" not in text


def test_columns_of_no_interest_are_named_to_the_person_and_not_in_the_lake(tmp_path: Path) -> None:
    where = lake(tmp_path)
    text = b'{"item_id": "1", "title": "A"}\n{"item_id": "2", "title": "B", "anna@example.com": 1}\n'
    (report,) = land(where, [], write(tmp_path / "c", text), pseudonymizer=KEY, now=NOW).files
    events = table(rows(3)).append_column("anna", pa.array([1, 2, 3]))
    (other,) = land(where, [parquet(events, tmp_path / "e")], pseudonymizer=KEY, now=NOW).files
    assert (report.dropped, other.dropped) == (("anna@example.com",), ("anna",))
    assert "anna" not in everything(where)


def test_files_of_one_call_replace_what_was_before_and_not_one_another(tmp_path: Path) -> None:
    where, day = lake(tmp_path), "2024-03-04"
    old = parquet(rows(4, prefix="old"), tmp_path / "old")
    landed(where, tmp_path, old)
    new = [parquet(rows(5, prefix=name), tmp_path / name) for name in ("x", "y")]
    landed(where, tmp_path, *new, replace=True)
    validate_day(where, day)
    assert {r["event_id"][0] for r in clean(where)} == {"x", "y"}
    assert len(clean(where)) == 10
    # what was replaced is not known any more: it lands again
    again = land(where, [old], catalog(tmp_path / "c"), pseudonymizer=KEY, now=NOW)
    assert again.files[0].status == "landed"
    validate_day(where, day)
    assert {r["event_id"][0] for r in clean(where)} == {"x", "y", "o"}


def test_times_in_quarantine_stay_readable(tmp_path: Path) -> None:
    events = [e | {"kind": "teleport"} if n == 1 else e for n, e in enumerate(rows(3))]
    where = lake(tmp_path)
    plain = pa.Table.from_pylist(events).set_column(
        1, "event_time", pa.array([dt.datetime(2024, 3, 4, 9, n) for n in range(3)])
    )
    landed(where, tmp_path, parquet(plain, tmp_path / "a"))
    assert "2024-03-04 09:01" in everything(where)
