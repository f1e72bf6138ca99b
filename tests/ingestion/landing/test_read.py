"""Files in any of the formats give the same rows; a broken line costs that line; a useless file says why."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from contracts.errors import UnreadableFile
from contracts.events import EVENTS
from ingestion.landing.table_reader import read_catalog, read_events, read_file
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from ingestion.rules.split import split_rows
from tests.ingestion.builders import NOW, catalog, csv_bytes, json_bytes, parquet, rows, table, write


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_every_format_gives_the_same_rows_whatever_the_file_is_called(tmp_path: Path, kind: str, zipped: bool) -> None:
    events = rows(50)
    data = {
        "parquet": lambda: parquet(events, tmp_path / "p").read_bytes(),
        "csv": lambda: csv_bytes(events),
        "jsonl": lambda: json_bytes(events),
    }[kind]()
    path = write(tmp_path / "export.dat", data, zipped=zipped)
    assert read_events(path).equals(table(events).cast(EVENTS))


def test_numbers_as_identifiers_and_other_zones_are_understood(tmp_path: Path) -> None:
    lines = b"event_id;event_time;user_id;kind;item_id\r\n"
    lines += b"1;2024-03-04T10:00:00+02:00;7;view;9\r\n2;2024-03-04 09:00:00;7;view;9\r\n"
    found = read_events(write(tmp_path / "a.csv", b"\xef\xbb\xbf" + lines)).to_pylist()
    assert [r["event_time"].isoformat() for r in found] == ["2024-03-04T08:00:00+00:00", "2024-03-04T09:00:00+00:00"]
    typed = parquet(
        pa.table({"item_id": [1.0, 2.0, None], "title": ["a", "b", "c"], "price": pa.array([1, 2, 3], pa.int8())}),
        tmp_path / "c.parquet",
    )
    raw = read_file(typed, CATALOG_SCHEMA)
    assert split_rows(raw, CATALOG_SCHEMA).kept.column("item_id").to_pylist() == ["1", "2"]


BAD_LINES = [
    (b"x,y", "wrong_column_count"),
    (b'a,2024-03-04T09:00:00Z,u,"view,i,,,,', "unparseable_line"),
    (b"\xff\xfe,2024-03-04T09:00:00Z,u,,view,i,,,", "not_utf8"),
    (b"a\x00b,2024-03-04T09:00:00Z,u,,view,i,,,", "bad_event_id"),
    (b"a,yesterday,u,,view,i,,,", "bad_event_time"),
    (b"a,2024-02-31T09:00:00Z,u,,view,i,,,", "bad_event_time"),
    (b"a,2999-01-01T09:00:00Z,u,,view,i,,,", "event_time_in_future"),
    (b"a,1970-01-01T00:00:00Z,u,,view,i,,,", "event_time_too_old"),
    (b"a,,u,,view,i,,,", "missing_event_time"),
    (b",2024-03-04T09:00:00Z,u,,view,i,,,", "missing_event_id"),
    (b"a,2024-03-04T09:00:00Z,,,view,i,,,", "missing_user_id"),
    (b"a," + b"2024-03-04T09:00:00Z," + b"u" * 200 + b",,view,i,,,", "bad_user_id"),
    (b"a,2024-03-04T09:00:00Z,u,,teleport,i,,,", "unknown_kind"),
    (b"a,2024-03-04T09:00:00Z,u,,view,,,,", "missing_item_id"),
    (b"a,2024-03-04T09:00:00Z,u,,search,,,,", "missing_query"),
    (b"a,2024-03-04T09:00:00Z,u,,search,," + b"q" * 300 + b",,", "bad_query"),
    (b"a,2024-03-04T09:00:00Z,u,,view,i,,-1,", "bad_position"),
    (b"a,2024-03-04T09:00:00Z,u,,view,i,,1.5,", "bad_position"),
    (b"a,2024-03-04T09:00:00Z,u,,view,i,,,inf", "bad_value"),
    (b"a,2024-03-04T09:00:00Z,u,,view,i,,,1e400", "bad_value"),
    (b"a,2024-03-04T09:00:00Z,u,,view,i,,,-3", "bad_value"),
    (b"e-0-00000,2024-03-04T10:00:00Z,u,,view,i,,,", "duplicate_event_id"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=[f"{r}-{n}" for n, (_, r) in enumerate(BAD_LINES)])
def test_a_bad_line_is_quarantined_alone(tmp_path: Path, line: bytes, reason: str) -> None:
    good = csv_bytes(rows(10)).splitlines(keepends=True)
    raw = read_file(write(tmp_path / "a.csv", b"".join([*good[:4], line + b"\n", *good[4:]])), EVENT_SCHEMA)
    split = split_rows(raw, EVENT_SCHEMA, now=NOW)
    found = [*split.reasons.drop_null().to_pylist(), *(r.reason for r in raw.refused)]
    assert found == [reason]
    assert split.kept.num_rows == 10
    assert raw.read == 11


def test_a_bad_json_line_is_quarantined_alone(tmp_path: Path) -> None:
    bad = [b"{", b"[1]", b'{"event_id": {"a": 1}}', b'{"event_id": NaN}', b"[" * 100_000, b'"\\ud800"', b"\xff"]
    good = json_bytes(rows(10))
    raw = read_file(write(tmp_path / "a", good + b"\n".join(bad) + b"\n"), EVENT_SCHEMA)
    split = split_rows(raw, EVENT_SCHEMA, now=NOW)
    assert split.kept.num_rows == 10
    assert raw.read == 10 + len(bad)


FIRST_LINES = [b"broken", b"[1,2,3]", b'[{"event_id": "cut', b"{", b'"event_id": 1}', b"\x00\xff", b"[" * 2000]


@pytest.mark.parametrize("first", FIRST_LINES, ids=range(len(FIRST_LINES)))
def test_a_damaged_first_line_of_json_costs_itself_only(tmp_path: Path, first: bytes) -> None:
    raw = read_file(write(tmp_path / "a", b"\n" + first + b"\n\n" + json_bytes(rows(10))), EVENT_SCHEMA)
    assert (raw.format, raw.read) == ("jsonl", 11)
    assert [r.number for r in raw.refused] == [1]
    assert split_rows(raw, EVENT_SCHEMA, now=NOW).kept.num_rows == 10


def test_csv_stays_csv_when_its_first_row_is_an_object(tmp_path: Path) -> None:
    header, *good = csv_bytes(rows(10)).splitlines(keepends=True)
    raw = read_file(write(tmp_path / "a", b"".join([header, b'{"event_id": "1"}\n', *good])), EVENT_SCHEMA)
    assert (raw.format, [r.reason for r in raw.refused]) == ("csv", ["wrong_column_count"])
    assert split_rows(raw, EVENT_SCHEMA, now=NOW).kept.num_rows == 10


def test_an_event_in_several_files_is_read_once_a_day(tmp_path: Path) -> None:
    events = [e | {"event_id": f"e{n % 2}"} for day in range(2) for n, e in enumerate(rows(6, day=day))]
    whole = read_events(parquet(events, tmp_path / "all"))
    cut = read_events([parquet([e], tmp_path / str(n)) for n, e in enumerate(reversed(events))])
    assert [(r["event_id"], r["event_time"].day) for r in whole.to_pylist()] == [
        ("e0", 4),
        ("e1", 4),
        ("e0", 5),
        ("e1", 5),
    ]
    assert cut.equals(whole)


def test_a_catalog_may_hold_line_breaks_and_a_stray_quote_costs_one_line(tmp_path: Path) -> None:
    text = b'item_id,title,description\n1,One,"two\nlines, one ""value"""\n2,"stray,x\n3,Three,\n4,Four,fine\n'
    raw = read_file(write(tmp_path / "c.csv", text), CATALOG_SCHEMA)
    kept = split_rows(raw, CATALOG_SCHEMA).kept.to_pylist()
    assert {r["item_id"]: r["description"] for r in kept} == {"1": 'two\nlines, one "value"', "3": None, "4": "fine"}
    assert [r.reason for r in raw.refused] == ["unparseable_line"]


def test_of_a_product_sent_twice_the_last_one_stays(tmp_path: Path) -> None:
    items = [{"item_id": "1", "title": "old"}, {"item_id": "1", "title": "new"}, {"item_id": "2", "title": " "}]
    found = read_catalog(catalog(tmp_path / "c.jsonl", items)).to_pylist()
    assert [(r["item_id"], r["title"], r["available"]) for r in found] == [("1", "new", True)]


USELESS = {
    "empty": (b"", "empty"),
    "json array": (b'[{"event_id": 1}]', "array"),
    "json array over lines": (b'[\n{"event_id": 1},\n{"event_id": 2}\n]\n', "array"),
    "json array of one": (b'[\n{"event_id": 1}\n]\n', "array"),
    "json array of two": (b'[{"event_id": 1},\n{"event_id": 2}\n]\n', "array"),
    "zip": (b"PK\x03\x04rest", "ZIP"),
    "utf-16": ("event_id,x".encode("utf-16"), "UTF-16"),
    "pickle": (b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x02os", "neither"),
    "other columns": (b"a,b\n1,2\n", "lacks the columns event_id"),
    "column twice": (b"event_id,event_id\n1,2\n", "twice"),
    "cut gzip": (gzip.compress(b"event_id\n" * 1000)[:30], "cut off"),
    "damaged parquet": (b"PAR1" + b"\0" * 50 + b"PAR1", "damaged"),
    "no usable row": (b"event_id,event_time,user_id,kind\n1,x,2,view\n", "none of the 1 rows"),
}


@pytest.mark.parametrize(("data", "says"), USELESS.values(), ids=USELESS.keys())
def test_a_useless_file_names_itself_and_the_remedy(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(UnreadableFile, match=says) as caught:
        read_events(write(tmp_path / "some.file", data))
    assert "some.file" in caught.value.what
    assert caught.value.remedy


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path) -> None:
    from ingestion.formats.table_files import read_raw

    path = write(tmp_path / "bomb.gz", b"a\n" + b"0" * 5_000_000, zipped=True)
    with pytest.raises(UnreadableFile, match="larger than"):
        read_raw(path, None, max_bytes=1_000_000)


@pytest.mark.parametrize("name", ["absent.csv", ".", "\0"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableFile):
        read_events(tmp_path / name)


@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.none() | st.text(max_size=12) | st.integers() | st.floats() | st.booleans()
                for name in EVENTS.names
            },
        ),
        min_size=1,
        max_size=30,
    )
)
def test_kept_and_quarantined_are_all_rows(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    lines = json_bytes([*rows(1), *({k: v for k, v in e.items() if not _huge(v)} for e in events)])
    raw = read_file(write(path, lines), EVENT_SCHEMA)
    split = split_rows(raw, EVENT_SCHEMA, now=NOW)
    assert raw.read == len(events) + 1
    assert split.kept.num_rows + len(split.bad) + len(raw.refused) == raw.read
    split.kept.validate(full=True)
    assert set(split.reasons.drop_null().to_pylist()) <= set(EVENT_SCHEMA.reasons)


def _huge(value: object) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63
