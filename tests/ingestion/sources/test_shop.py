"""The synthetic shop: the same from the same seed, broken where asked, and worth a model of sequences."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import DataError, SchemaChanged
from contracts.events import INTERACTIONS, KINDS
from ingestion.landing.land import land
from ingestion.landing.table_reader import read_catalog, read_events, read_judgments
from ingestion.sources.shop import BREAKS, generate
from ingestion.sources.shop_world import ShopPlan
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, lake

PLAN = ShopPlan(days=6, shoppers=600, items=200, seed=11, end=date(2024, 5, 12))


def test_the_same_plan_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    one, two = generate(PLAN, tmp_path / "1"), generate(PLAN, tmp_path / "2")
    other = generate(replace(PLAN, seed=12), tmp_path / "3")
    for a, b, c in zip(
        [*one.events, one.catalog], [*two.events, two.catalog], [*other.events, other.catalog], strict=True
    ):
        assert a.read_bytes() == b.read_bytes() != c.read_bytes()


def test_it_is_clean_and_looks_like_a_shop(tmp_path: Path) -> None:
    made = generate(PLAN, tmp_path)
    events, catalog, judged = read_events(made.events), read_catalog(made.catalog), read_judgments(made.judgments)
    assert events.num_rows == made.counts["events"]
    assert set(events.column("kind").to_pylist()) == set(KINDS)
    assert set(events.column("item_id").drop_null().to_pylist()) <= set(catalog.column("item_id").to_pylist())
    assert set(judged.column("item_id").to_pylist()) <= set(catalog.column("item_id").to_pylist())
    titles = dict(zip(catalog.column("item_id").to_pylist(), catalog.column("title").to_pylist(), strict=True))
    assert len(set(titles.values())) > 0.99 * len(titles)
    first = {r["item_id"]: r["created_at"] for r in catalog.to_pylist()}
    assert all(r["item_id"] is None or first[r["item_id"]].date() <= r["event_time"].date() for r in events.to_pylist())
    per_file = [pq.read_table(f, columns=["event_time"]).column(0).cast(pa.date32()).unique() for f in made.events]
    assert all(len(days) == 1 for days in per_file)


def test_the_last_item_says_more_than_popularity(tmp_path: Path) -> None:
    made = generate(replace(PLAN, days=10, shoppers=1500), tmp_path)
    sessions: dict[str, list[str]] = defaultdict(list)
    for row in read_events(made.events).to_pylist():
        if row["kind"] in INTERACTIONS[:2]:
            sessions[row["session_id"]].append(row["item_id"])
    walks = list(sessions.values())
    train, test = walks[: len(walks) * 4 // 5], walks[len(walks) * 4 // 5 :]
    popular = [item for item, _ in Counter(i for walk in train for i in walk).most_common(10)]
    follows: dict[str, Counter[str]] = defaultdict(Counter)
    for walk in train:
        for here, there in pairwise(walk):
            follows[here][there] += 1
    pairs = [(a, b) for walk in test for a, b in pairwise(walk)]
    by_popularity = sum(b in popular for _, b in pairs) / len(pairs)
    by_last = sum(b in [i for i, _ in follows[a].most_common(10)] for a, b in pairs) / len(pairs)
    assert by_last > 2 * by_popularity


def test_a_shop_can_be_continued(tmp_path: Path) -> None:
    before = generate(PLAN, tmp_path / "1")
    after = generate(replace(PLAN, days=1, end=date(2024, 5, 13), opening=PLAN.first), tmp_path / "2")
    old = {r["item_id"]: r for r in pq.read_table(before.catalog).to_pylist()}
    new = {r["item_id"]: r for r in pq.read_table(after.catalog).to_pylist()}
    assert old.items() <= new.items()
    assert len(new) > len(old)


def test_what_is_broken_on_purpose_is_found_under_its_reason(tmp_path: Path) -> None:
    made = generate(replace(PLAN, bad_rows=0.1, missing_column="position"), tmp_path / "files")
    where = lake(tmp_path)
    report = land(where, made.events, made.catalog, made.judgments, pseudonymizer=KEY)
    assert report.read == report.kept + sum(report.quarantined.values())
    assert set(report.quarantined) == set(BREAKS.values())
    assert sum(report.quarantined.values()) == pytest.approx(0.1 * made.counts["events"], rel=0.2)
    with pytest.raises(SchemaChanged, match="position"):
        validate_day(where, PLAN.end.isoformat())


def test_a_tiny_shop_has_days_without_an_event_and_without_a_file(tmp_path: Path) -> None:
    generate(replace(PLAN, days=12), tmp_path / "files")  # another shop lies there
    made = generate(replace(PLAN, days=12, shoppers=1, items=20, bad_rows=0.5), tmp_path / "files")
    assert 0 < len(made.events) < 12
    assert sorted((tmp_path / "files" / "events").iterdir()) == made.events
    report = land(lake(tmp_path), made.events, made.catalog, made.judgments, pseudonymizer=KEY)
    assert not report.refused
    assert report.read == made.counts["events"] + made.counts["items"] + made.counts["judgments"]


def test_drift_changes_what_is_looked_at(tmp_path: Path) -> None:
    calm, moved = generate(PLAN, tmp_path / "1"), generate(replace(PLAN, drift=True), tmp_path / "2")

    def overlap(files: list[Path]) -> float:
        early, late = (
            {i for i, _ in Counter(read_events(part).column("item_id").drop_null().to_pylist()).most_common(30)}
            for part in (files[:3], files[-2:])
        )
        return len(early & late) / 30

    assert overlap(moved.events) < overlap(calm.events) - 0.2


def test_plans_that_can_not_be() -> None:
    for wrong in ({"days": 0}, {"items": 3}, {"bad_rows": 1.5}, {"missing_column": "x"}, {"opening": date(2025, 1, 1)}):
        with pytest.raises(DataError):
            replace(PLAN, **wrong)  # type: ignore[arg-type]
