"""What is exported of a shopper is what an erasure would find: every place, every kind, nobody else's."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.lake import Lake
from contracts.errors import StoreUnavailable
from contracts.settings import Settings, read_settings
from recovery.erasure import export, places
from recovery.erasure.places import Copies, ErasurePlace, Logs, ObjectPlace
from recovery.erasure.rows import ErasureSubject
from tests.recovery.erasure.test_forget_logs import access, answer, event, write
from tests.recovery.erasure.test_forget_objects import ANNA, BERT, LATE, buckets, lake

__all__ = ["lake"]


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "home")


@pytest.fixture
def among(s: Settings, lake: Lake, tmp_path: Path) -> list[ErasurePlace]:
    """The places of a region that need no running service, with rows of two shoppers in each."""
    home = s.paths.home
    for user, request in ((ANNA, "r1"), (BERT, "r2")):
        write(home, f"event-log/2026-03-01/{request}.jsonl", event(user, 1))
        write(home, f"impression-log/2026-03-01/{request}-shown.jsonl", event(user, 2, request=request))
        write(home, f"answer-log/2026-03-01/{request}.jsonl", answer(f"cookie-{request}", request))
    write(home, "logs/edge-access.log", access("cookie-r1", "r1"), access("cookie-r2", "r2"))
    path = s.cache / "objects" / "copy" / "events.parquet"
    path.parent.mkdir(parents=True)
    day = lake.partitions("events")[-1]
    path.write_bytes(next((lake.fetch("events", day)).glob("*.parquet")).read_bytes())
    return [Logs(s), ObjectPlace(buckets(lake.store, tmp_path)), Copies(s)]  # type: ignore[arg-type]


def exported(s: Settings, among: list[ErasurePlace], name: str) -> tuple[export.ExportReport, list[dict[str, Any]]]:
    file = io.StringIO()
    report = export.export_region(s, ErasureSubject({name: LATE}), file, among=among)
    return report, [json.loads(line) for line in file.getvalue().splitlines()]


def test_every_kind_that_an_erasure_finds_is_exported(s: Settings, among: list[ErasurePlace]) -> None:
    found: Counter[str] = Counter()
    for place in among:
        found += place.look(ErasureSubject({ANNA: LATE}))
    report, lines = exported(s, among, ANNA)
    assert set(report.rows) == set(found) >= {
        "event log", "impression log", "answer log", "edge log", "lake events", "lake landing-events", "local copies",
        "lake shopper_activity", "lake shopper_sequence",
    }  # fmt: skip
    for kind in ("event log", "impression log", "answer log", "edge log", "local copies"):
        assert report.rows[kind] == found[kind]
    assert {line["kind"] for line in lines} == set(found)
    assert BERT not in json.dumps(lines)
    assert report.unreached == {}


def test_the_list_of_places_is_one_and_each_place_has_rows() -> None:
    """`places` is what both commands go through: a place that one of them does not know cannot be in it."""
    assert export.places is places.places
    made = [value for value in vars(places).values() if isinstance(value, type) and hasattr(value, "erase")]
    assert {Logs, ObjectPlace, Copies, places.Online} <= set(made)
    assert [place for place in made if not hasattr(place, "rows")] == []


class Silent:
    name = "a store"

    def look(self, whom: ErasureSubject) -> Counter[str]:
        raise StoreUnavailable("it does not answer", remedy="start it")

    def rows(self, whom: ErasureSubject) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from ()

    def erase(self, whom: ErasureSubject) -> None: ...


def test_a_place_that_does_not_answer_is_told_and_stops_no_other(s: Settings, among: list[ErasurePlace]) -> None:
    report, lines = exported(s, [Silent(), *among], ANNA)
    assert report.unreached.keys() == {"a store"}
    assert lines


def test_the_file_is_its_owners_alone_and_says_whose_it_is(
    s: Settings, among: list[ErasurePlace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "places", lambda _s: among)
    path = tmp_path / "out" / "shopper.jsonl"
    (report,) = export.export_shopper(s, ["primary"], ANNA, path, hashed=True)
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert path.stat().st_mode & 0o777 == 0o600
    assert (head["shopper"], head["regions"], len(lines)) == (ANNA, ["primary"], sum(report.rows.values()))
