"""Cases 06, 07, 11 and 46: values as programs write them, read with one meaning at every door. Without a stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import CaravanError
from ingestion.landing.land import land
from ingestion.landing.table_reader import read_file
from ingestion.pseudonymize import Pseudonymizer
from ingestion.rules.one_event import judge_event
from ingestion.rules.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from ingestion.rules.split import split_rows
from recovery.restore.recovery_point import Point
from tests.cases.case import Case, Given, Looks
from tests.ingestion.builders import lake

KEY = Pseudonymizer("a key of the cases")


def _forms(day: date, second: int) -> dict[str, datetime]:
    """Return forms of ISO 8601, and the instant that each means."""
    at = datetime(day.year, day.month, day.day, 13, 7, second, tzinfo=UTC)
    year, week, weekday = day.isocalendar()
    clock = f"13:07:{second:02d}"
    return {
        f"{day}T{clock},250Z": at + timedelta(milliseconds=250),
        f"{day:%Y%m%d}T1307{second:02d}Z": at,
        f"{day}T24:00:00Z": datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC),
        f"{year}-W{week:02d}-{weekday}T{clock}Z": at,
        f"{day:%Y-%j}T{clock}Z": at,
        f"{day}T13:07Z": at.replace(second=0),
        f"{day}T{clock}+00": at,
        f"{day}T16:37:{second:02d}+0330": at,
    }


def check_iso(looks: Looks, given: Given) -> None:
    """The same rows in a file and over HTTP: one verdict, one instant."""
    forms = _forms(given.day(given.draw.randint(3, 30)), given.draw.randint(1, 59))
    rows = [
        {"event_id": f"e{n}", "event_time": text, "user_id": "u-1", "kind": "view", "item_id": "i-1"}
        for n, text in enumerate(forms)
    ]
    head = ",".join(rows[0])
    lines = [",".join(f'"{value}"' for value in row.values()) for row in rows]
    path = given.write("iso.csv", "\n".join([head, *lines]) + "\n")
    split = split_rows(read_file(path, EVENT_SCHEMA), EVENT_SCHEMA, now=given.now)
    in_file = {r["event_id"]: r["event_time"] for r in split.kept.to_pylist()}
    for row, (text, right) in zip(rows, forms.items(), strict=True):
        event, reason = judge_event(dict(row), given.now)
        at_http = event["event_time"] if event else reason
        if (in_file.get(row["event_id"]), at_http) != (right, right):
            looks.equal(text, (right, right), (in_file.get(row["event_id"]), at_http))
    looks.holds(f"{len(forms)} forms, file and HTTP alike", not looks.wrong)


def check_floats(looks: Looks, given: Given) -> None:
    """Identifiers that a data frame made floats: CSV and Parquet meet the catalog's whole numbers alike."""
    first = given.draw.randint(2, 900)
    ids = [float(first + n % 7) for n in range(60)]
    columns = {
        "event_id": [f"e{n}" for n in range(60)], "event_time": [given.at(2, n) for n in range(60)],
        "user_id": [float(50 + n // 5) for n in range(60)], "kind": ["view"] * 60, "item_id": ids,
    }  # fmt: skip
    table = pa.table(columns)
    pq.write_table(table, given.folder / "e.parquet")
    rows = [",".join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
    given.write("e.csv", "\n".join([",".join(columns), *rows]) + "\n")
    catalog = given.write("c.csv", "item_id,title\n" + "".join(f"{first + n},Board {n}\n" for n in range(7)))
    items = split_rows(read_file(catalog, CATALOG_SCHEMA), CATALOG_SCHEMA).kept["item_id"].to_pylist()
    for name in ("e.csv", "e.parquet"):
        kept = split_rows(read_file(given.folder / name, EVENT_SCHEMA), EVENT_SCHEMA, now=given.now).kept
        looks.equal(f"{name} kept", 60, kept.num_rows)
        looks.equal(f"{name} items only in events", [], sorted(set(kept["item_id"].to_pylist()) - set(items)))


def check_nan(looks: Looks, given: Given) -> None:
    """Python's json.dumps writes NaN: that is no value, and the row stays."""
    count = given.draw.randint(20, 40)
    events = [
        {
            "event_id": f"e{n}", "event_time": given.at(2, n), "user_id": f"u{n % 5}",
            "kind": "purchase" if n % 2 else "view", "item_id": "i1", "value": float("nan") if n % 2 else 9.5,
        }
        for n in range(count)
    ]  # fmt: skip
    items = [{"item_id": "i1", "title": "Yew board", "price": float("nan")}, {"item_id": "i2", "title": "Fir board"}]
    paths = [
        given.write(name, "".join(json.dumps(row) + "\n" for row in rows))
        for name, rows in (("e.jsonl", events), ("c.jsonl", items))
    ]
    where = lake(given.folder)
    report = land(where, paths[:1], paths[1], pseudonymizer=KEY, now=given.now)
    looks.equal("kept", count + 2, report.kept)
    looks.equal("quarantined", {}, report.quarantined)
    split = split_rows(read_file(paths[0], EVENT_SCHEMA), EVENT_SCHEMA, now=given.now)
    looks.equal("values empty", count // 2, split.kept["value"].null_count)


def check_points(looks: Looks, given: Given) -> None:
    """Moments with and without offset, a day without hyphens, the future, blanks."""
    past = (given.now - timedelta(minutes=given.draw.randint(10, 600))).replace(second=0, microsecond=0)
    nepal = timezone(timedelta(hours=5, minutes=45))
    taken = {
        f"{past:%Y-%m-%dT%H:%M}": past,
        f"{past.astimezone(nepal):%Y-%m-%dT%H:%M}+05:45": past,
        f" {past:%Y-%m-%dT%H:%M}Z ": past,
        f"{past:%Y-%m-%d}": datetime.combine(past.date(), datetime.min.time(), UTC),
        "1999-01-01T00:00": datetime(1999, 1, 1, tzinfo=UTC),
    }
    for text, right in taken.items():
        looks.equal(repr(text), f"{right:%Y-%m-%d %H:%M}", _said(lambda t=text: f"{Point.parse(t).at:%Y-%m-%d %H:%M}"))
    said = Point.parse(f"{past:%Y-%m-%dT%H:%M}").describe()
    looks.holds("without an offset it says UTC", "UTC" in said and "no offset" in said, said)
    refused = {
        f"{past:%Y%m%d}": "can be a day or the number of a snapshot",
        f"{past.year + 70}-01-01T00:00": "has not been yet",
        f"{past.year}-02-30T10:00": "no recovery point",
    }
    for text, words in refused.items():
        found = _said(lambda t=text: Point.parse(t).describe())
        looks.holds(f"{text} is refused:", words in found, found)


def _said(read: Callable[[], str]) -> str:
    try:
        return read()
    except CaravanError as error:
        return error.what


CASES = (
    Case("06", "ISO 8601", "one verdict and one instant at both doors", "nothing", check_iso),
    Case("07", "float ids in CSV", "items meet the catalog, CSV as Parquet", "nothing", check_floats),
    Case("11", "NaN in JSON lines", "rows stay, the value is empty", "nothing", check_nan),
    Case("46", "restore to which moment", "UTC, said; what could be two things is refused", "nothing", check_points),
)
