"""Nobody is nobody: by name at every door, by share at night; told, and never held against a day."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ingestion.landing.land import land
from ingestion.rules.nobody import crowds, is_nobody, somebody
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, NOW, catalog, csv_bytes, json_bytes, lake, parquet, rows, write
from tests.ingestion.validation.test_land_and_validate import DAY, clean, everything

NOBODY = (
    "undefined", "UNDEFINED", "null", "NaN", "None", "[object Object]", "[object Undefined]", "0", "0.0", "0000", "-1",
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "guest", "Guest", " guest ",
    "GUEST_USER", "guest-checkout", "anonymous", "anonymousUser", "anonymous-user", "anon", "(not set)", "n/a", "#N/A",
    "<NA>", "not logged in", "logged_out", "unknown", "unknown_user", "-", "--", "?", "...", "_", "{{user_id}}",
    "${user.id}", "<%= user %>", "%user_id%", "user_id", "userId", "customer", "visitor", "default", "true", "false",
    "gast", "Gast", "invité", "invitado", "anónimo", "ospite", "gość", "misafir", "гость", "ゲスト", "匿名",
    "游客", "अतिथि",
)  # fmt: skip
SOMEBODY = (
    "7", "10", "1", "-7", "100", "shopper-0000312", "guest-7f3a", "guest7", "guest_of_honour", "anonymous@example.com",
    "undefined1", "nullagvik", "nan.li", "Nani", "0x1f", "00120", "u_" + "0" * 31 + "1", "anna", "user-7", "uuid-1",
    "ff", "null@example.com", "{a}", "a|b", "x" * 128, "visitor-1", "no-one-else",
)  # fmt: skip


@pytest.mark.parametrize("name", NOBODY)
def test_a_name_for_no_one_is_nobodys(name: str) -> None:
    assert is_nobody(name)
    assert somebody(pa.array([name, None, "anna"])).to_pylist() == [False, True, True]


@pytest.mark.parametrize("name", SOMEBODY, ids=lambda n: n[:20])
def test_a_shopper_is_somebody(name: str) -> None:
    assert not is_nobody(name)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_guests_leave_no_history_and_the_day_says_how_many_they_are(tmp_path: Path, kind: str) -> None:
    where = lake(tmp_path)
    guests = [r | {"user_id": NOBODY[n % len(NOBODY)]} for n, r in enumerate(rows(80, prefix="g"))]
    if kind == "parquet":
        path = parquet(guests + rows(20), tmp_path / "e")
    else:
        path = write(tmp_path / "e", (csv_bytes if kind == "csv" else json_bytes)(guests + rows(20)))
    report = land(where, [path], catalog(tmp_path / "c"), pseudonymizer=KEY, now=NOW)
    assert report.quarantined == {"nobody": 80}
    day = validate_day(where, DAY)  # four fifths of it set aside, and not refused
    assert (day.read, day.kept, day.quarantined) == (100, 20, {"nobody": 80})
    assert "80 of 100 rows (80%) are nobody's" in str(day)
    assert {r["user_id"] for r in clean(where)} == {KEY.hash(f"clear-user-{n}") for n in range(7)}
    assert "invitado" not in everything(where)


def test_a_file_of_guests_alone_lands(tmp_path: Path) -> None:
    where = lake(tmp_path)
    guests = parquet([r | {"user_id": "guest"} for r in rows(30, prefix="g")], tmp_path / "g")
    report = land(
        where, [guests, parquet(rows(30), tmp_path / "e")], catalog(tmp_path / "c"), pseudonymizer=KEY, now=NOW
    )
    assert [(f.status, f.kept) for f in report.files[:2]] == [("landed", 0), ("landed", 30)]
    assert validate_day(where, DAY).quarantined == {"nobody": 30}


CROWDS = {
    "half of the traffic": ([5] * 100 + [500], 1),
    "two names for it": ([5] * 100 + [300, 250], 2),
    "a crawler": ([8] * 400 + [20_000], 1),
    "a busy person": ([5] * 100 + [90], 0),
    "the busiest of many": ([5] * 5_000 + [900], 0),
    "a small shop": ([5] * 10 + [900], 0),
    "a shop in which all are busy": ([100] * 30 + [400], 0),
    "a long tail": ([1] * 500 + [40] * 100 + [300], 0),
    "few actions": ([1] * 100 + [150], 0),
    "nobody at all": ([], 0),
}


@pytest.mark.parametrize("name", CROWDS)
def test_a_shopper_with_a_share_that_no_person_has_is_a_crowd(name: str) -> None:
    counts, found = CROWDS[name]
    users = pa.array([f"u{n}" for n, count in enumerate(counts) for _ in range(count)], pa.string())
    expected = [f"u{n}" for n in range(len(counts) - found, len(counts))]
    assert sorted(crowds(users).to_pylist()) == sorted(expected)


def test_an_unknown_name_of_a_crowd_is_set_aside_at_night(tmp_path: Path) -> None:
    where = lake(tmp_path)
    people = [r | {"user_id": f"p{n % 40}"} for n, r in enumerate(rows(160))]
    crowd = [r | {"user_id": "web-user"} for r in rows(240, prefix="c")]
    files = [parquet(crowd[:120] + people, tmp_path / "a"), parquet(crowd[120:], tmp_path / "b")]
    land(where, files, catalog(tmp_path / "c"), pseudonymizer=KEY, now=NOW)
    day = validate_day(where, DAY)
    assert (day.read, day.kept, day.quarantined) == (400, 160, {"nobody": 240})
    assert KEY.hash("web-user") not in {r["user_id"] for r in clean(where)}
