"""Feast over real PostgreSQL and Redis: what is online is the newest day, and never from the future."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from artifacts.lake import DATA, Lake
from contracts.errors import FeatureError
from contracts.settings import Settings
from feature_repo import online
from feature_repo.reader import SHOPPER_VIEWS, OnlineReader, ShopperFeatures, historical
from feature_repo.registry import REPOSITORY, apply, environment, feature_store
from feature_repo.schemas import features as features_of
from feature_repo.sequences import History
from feature_repo.staging import staging_folder
from feature_repo.store import ONLINE_VIEWS, materialize, push_events
from feature_repo.tables import build
from tests.fakes import MemoryStore
from tests.feature_repo.builders import (
    day,
    drop_registry,
    encode,
    event,
    filled,
    new_lake,
    products,
    publish,
    random_events,
)

pytestmark = [pytest.mark.stack, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

DAYS = 5
LATER = datetime(2026, 4, 1, tzinfo=UTC)


@dataclass
class Shop:
    """A source of its own, with the feature tables of days 1, 2 and 4."""

    s: Settings
    source: str
    lake: Lake

    def materialize(self, number: int, now: datetime = LATER, **options: Any) -> dict[str, str]:
        report = materialize(self.s, self.source, day(number), now=lambda: now, lake=self.lake, **options)
        return {view: did.outcome for view, did in report.views.items()}

    def shopper(self, user: str, now: datetime = LATER) -> ShopperFeatures:
        async def read() -> ShopperFeatures:
            reader = OnlineReader(self.s, self.source, now=lambda: now)
            try:
                return await reader.shopper(user, 2.0)
            finally:
                await reader.close()

        return asyncio.run(read())

    def table(self, name: str, number: int) -> dict[str, dict[str, Any]]:
        rows = pq.read_table(self.lake.fetch(name, day(number)) / DATA).to_pylist()
        return {next(iter(row.values())): row for row in rows}

    def assert_online(self, number: int) -> None:
        sequences, activities = self.table("shopper_sequence", number), self.table("shopper_activity", number)
        affinities, purchases = self.table("shopper_affinity", number), self.table("shopper_purchases", number)
        for user, activity in activities.items():
            found = self.shopper(user)
            assert found.items == sequences[user]["items"]
            assert found.times == sequences[user]["times"]
            assert found.purchased == purchases.get(user, {}).get("purchased", [])
            assert found.categories == affinities[user]["categories"]
            assert found.weights == affinities[user]["weights"]
            assert found.activity == {n: activity[n] for n in features_of("shopper_activity")}
            assert found.event_timestamp == activity["event_timestamp"]

    def wipe(self) -> None:
        import redis

        host, port = self.s.redis_address
        client = redis.Redis(host=host, port=port, password=self.s.secret("redis_password"))
        project = online.project_name(self.source).encode()
        for key in [k for k in client.scan_iter(count=1000) if k.endswith(project)]:  # the note as well
            client.delete(key)
        client.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = filled(
        new_lake(tmp_path_factory.mktemp("built"), "built"), random_events(11, days=DAYS, per_day=60), products(10)
    )
    for number in (1, 2, 4):
        build(lake, day(number), encode=encode)
    return lake


@pytest.fixture
def shop(stack: Settings, built: Lake, tmp_path: Path) -> Iterator[Shop]:
    source = f"t-{uuid.uuid4().hex[:12]}"
    store = MemoryStore()
    store.objects = {k.replace("/built/", f"/{source}/"): v for k, v in built.store.objects.items()}  # type: ignore
    shop = Shop(stack, source, Lake(store, source, tmp_path / "objects"))
    yield shop
    shop.wipe()
    drop_registry(stack, source)


def test_a_day_comes_online_once_and_days_are_caught_up(shop: Shop) -> None:
    assert set(shop.materialize(1).values()) == {"written"}
    shop.assert_online(1)
    assert set(shop.materialize(1).values()) == {"unchanged"}
    assert set(shop.materialize(4).values()) == {"written"}
    shop.assert_online(4)
    intervals = feature_store(shop.s, shop.source).get_feature_view("shopper_activity").materialization_intervals
    ends = [datetime.fromisoformat(day(n)).replace(tzinfo=UTC) + timedelta(days=1) for n in (1, 4)]
    assert [end for _, end in intervals] == ends
    assert intervals[1][0] > ends[0]


def test_newest_first_the_older_day_changes_nothing(shop: Shop) -> None:
    shop.materialize(4)
    assert set(shop.materialize(1).values()) == {"newer online"}
    assert set(shop.materialize(1, force=True).values()) == {"written"}
    shop.assert_online(4)  # even written by force, an older value does not replace a newer one
    assert set(shop.materialize(4).values()) == {"unchanged"}


def test_nothing_from_the_future_comes_online(shop: Shop) -> None:
    before_the_end = datetime.fromisoformat(day(4)).replace(tzinfo=UTC) + timedelta(hours=23)
    report = materialize(shop.s, shop.source, day(4), now=lambda: before_the_end, lake=shop.lake)
    assert report.end is not None
    assert report.end <= before_the_end
    shop.assert_online(2)
    with pytest.raises(FeatureError, match="has no shopper_sequence up to"):
        shop.materialize(4, now=before_the_end - timedelta(days=30))
    assert set(shop.materialize(4).values()) == {"written"}  # and a later run is not poisoned
    shop.assert_online(4)


def test_a_corrected_partition_comes_online(shop: Shop) -> None:
    shop.materialize(4)
    publish(shop.lake, "events", day(4), [event(4, 5, "u0", "purchase", "i9")])
    build(shop.lake, day(4), encode=encode)
    assert "written" in shop.materialize(4).values()
    shop.assert_online(4)


def test_a_lost_online_store_is_filled_again(shop: Shop) -> None:
    shop.materialize(4)
    shop.wipe()
    assert not shop.shopper("u0").known
    assert set(shop.materialize(4).values()) == {"written"}
    shop.assert_online(4)


def test_a_push_is_not_rolled_back_by_the_night(shop: Shop) -> None:
    shop.materialize(2)
    at = datetime.fromisoformat(day(5)).replace(tzinfo=UTC) + timedelta(hours=8)
    pushed = {"event_id": "x", "event_time": at, "user_id": "u0", "kind": "view", "item_id": "pushed"}
    push_events(shop.s, shop.source, [pushed], now=lambda: at)
    shop.materialize(4)  # the night of day 4 ends before the push
    assert shop.shopper("u0").items[-1] == "pushed"
    assert shop.shopper("u1").items == shop.table("shopper_sequence", 4)["u1"]["items"]


def test_what_was_bought_outlives_the_night_and_three_hundred_views(shop: Shop) -> None:
    shop.materialize(2)
    at = datetime.fromisoformat(day(3)).replace(tzinfo=UTC) + timedelta(hours=8)
    later = [at + timedelta(seconds=n) for n in range(301)]
    acts = [{"user_id": "u1", "event_time": t, "kind": "view", "item_id": f"v{n}"} for n, t in enumerate(later)]
    acts[0] |= {"kind": "purchase", "item_id": "bought"}
    push_events(shop.s, shop.source, acts, now=lambda: later[-1])
    before = shop.table("shopper_purchases", 2)["u1"]["purchased"]
    assert shop.shopper("u1").purchased == [*before, "bought"]
    rows = [event(3, 28_800_000_000 + n * 1_000_000, a["user_id"], a["kind"], a["item_id"]) for n, a in enumerate(acts)]
    publish(shop.lake, "events", day(3), rows)
    build(shop.lake, day(4), encode=encode)
    shop.materialize(4)  # ends after the push: the table replaces what was pushed
    assert shop.shopper("u1").purchased == shop.table("shopper_purchases", 4)["u1"]["purchased"]
    assert "bought" in shop.shopper("u1").purchased


def test_a_lake_of_an_older_version_comes_online_as_it_is(shop: Shop) -> None:
    store = shop.lake.store
    assert isinstance(store, MemoryStore)
    store.objects = {k: v for k, v in store.objects.items() if "/shopper_purchases/" not in k}
    outcomes = shop.materialize(4)
    assert outcomes.pop("shopper_purchases") == "not built"
    assert set(outcomes.values()) == {"written"}
    assert shop.shopper("u1").purchased  # those in the newest fifty actions
    build(shop.lake, day(4), encode=encode)
    shop.materialize(4)
    shop.assert_online(4)


def test_reading_and_pushing_agree_with_feast(shop: Shop) -> None:
    from feast.data_source import PushMode

    shop.materialize(4)
    store = feature_store(shop.s, shop.source)
    service = store.get_feature_service("recommender")
    assert [p.name for p in service.feature_view_projections] == list(SHOPPER_VIEWS)
    now = LATER - timedelta(hours=1)
    ours = {"event_id": "x", "event_time": now, "user_id": "u1", "kind": "click", "item_id": "i-new"}
    push_events(shop.s, shop.source, [ours, {**ours, "user_id": "only-pushed"}], now=lambda: now)
    theirs = History(["a", "b"], ["view", "purchase"], [1, 2])._asdict()
    frame = pd.DataFrame([{"user_id": "u2", **theirs, "event_timestamp": now, "created": now}])
    store.push("shopper_actions", frame, to=PushMode.ONLINE)
    users = [*shop.table("shopper_activity", 4), "only-pushed", "nobody"]
    answer = store.get_online_features(features=service, entity_rows=[{"user_id": u} for u in users]).to_dict()
    for n, user in enumerate(users):
        found = shop.shopper(user)
        for name in ("items", "kinds", "times", "categories", "weights"):
            assert getattr(found, name) == (answer[name][n] or []), (user, name)
        assert set(found.purchased) == {*(answer["purchased"][n] or []), *(["b"] if user == "u2" else [])}
        activity = {name: answer[name][n] for name in features_of("shopper_activity")}
        assert found.activity == {k: v for k, v in activity.items() if v is not None}
    assert shop.shopper("u2").items == ["a", "b"]
    assert shop.shopper("u1").items[-1] == "i-new"


def test_history_is_as_it_was_known_then(shop: Shop) -> None:
    """Point in time: every value is the one of the newest partition that ended by then; rows out are rows in."""
    views = {"shopper_activity": "views_30d", "shopper_sequence": "times", "shopper_affinity": "weights"}
    known = {view: {n: shop.table(view, n) for n in (1, 2, 4)} for view in views}
    start = datetime.fromisoformat(day(0)).replace(tzinfo=UTC)
    moments = [timedelta(days=d, microseconds=us) for d in range(8) for us in (-1, 0, 1)]
    asked = pd.DataFrame(
        [
            {"user_id": user, "event_timestamp": start + moment, "label": n}
            for n, moment in enumerate([*moments, *moments])  # every row twice
            for user in ("u0", "u3", "nobody")
        ]
    ).sample(frac=1, random_state=0)
    asked.index = range(100, 100 + len(asked))
    apply(shop.s, shop.source)
    joined = historical(shop.s, shop.source, asked, [f"{view}:{name}" for view, name in views.items()], lake=shop.lake)
    assert list(joined.index) == list(asked.index)
    assert list(joined["label"]) == list(asked["label"])
    for _, row in joined.iterrows():
        ended = [n for n in (1, 2, 4) if start + timedelta(days=n + 1) <= row["event_timestamp"]]
        for view, name in views.items():
            expected = known[view][ended[-1]].get(row["user_id"], {}).get(name) if ended else None
            got = row[name]
            if expected is None:
                assert got is None or got != got, (row, name)
            else:
                assert (list(got) if isinstance(expected, list) else got) == expected, (row, name)
            if name == "times" and expected:
                assert max(got) < row["event_timestamp"].timestamp() * 1e6


def test_history_of_what_is_not_there_is_an_error(shop: Shop) -> None:
    apply(shop.s, shop.source)
    asked = pd.DataFrame({"user_id": ["u0"], "event_timestamp": [LATER + timedelta(days=400)]})
    with pytest.raises(FeatureError, match="has no shopper_activity between"):
        historical(shop.s, shop.source, asked, ["shopper_activity:views_1d"], lake=shop.lake)
    with pytest.raises(FeatureError, match="no entity rows"):
        historical(shop.s, shop.source, asked.iloc[:0], ["shopper_activity:views_1d"], lake=shop.lake)


def test_a_home_that_was_moved_reads_from_its_new_place(shop: Shop, tmp_path: Path) -> None:
    """The registry keeps paths; those of the former place lead nowhere."""
    shop.materialize(1)
    shutil.rmtree(staging_folder(shop.s, shop.source))
    moved = replace(shop, s=shop.s.model_copy(update={"home": tmp_path / "elsewhere"}))
    asked = pd.DataFrame({"user_id": ["u0"], "event_timestamp": [datetime.fromisoformat(day(3)).replace(tzinfo=UTC)]})
    joined = historical(moved.s, moved.source, asked, ["shopper_activity:views_30d"], lake=moved.lake)
    assert joined["views_30d"].notna().all()
    assert set(moved.materialize(4).values()) == {"written"}
    moved.assert_online(4)


def test_concurrent_runs_of_several_days_end_with_the_newest(shop: Shop) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(shop.materialize, (4, 1, 2)))
    shop.assert_online(4)


def test_sources_do_not_meet(shop: Shop, tmp_path: Path) -> None:
    other = Shop(shop.s, f"{shop.source}-b", new_lake(tmp_path / "b", f"{shop.source}-b"))
    filled(other.lake, {day(4): [event(4, 1, "u0", "view", "theirs")]}, products(2))
    build(other.lake, day(4), encode=encode)
    shop.materialize(4)
    other.materialize(4)
    shop.assert_online(4)
    assert other.shopper("u0").items == ["theirs"]
    assert not other.shopper("u1").known
    other.wipe()
    drop_registry(other.s, other.source)


def test_views_and_services_are_what_the_tables_hold(shop: Shop) -> None:
    apply(shop.s, shop.source)
    apply(shop.s, shop.source)
    store = feature_store(shop.s, shop.source)
    views = {v.name: [f.name for f in v.features] for v in store.list_feature_views()}
    assert views == {name: features_of(name) for name in (*ONLINE_VIEWS, "item_text")}
    assert {s.name for s in store.list_feature_services()} == {"recommender", "search"}
    assert {v.name for v in store.list_feature_views() if v.online} == set(ONLINE_VIEWS)


@pytest.mark.slow
def test_feasts_own_command_line_reads_the_same_configuration(shop: Shop) -> None:
    apply(shop.s, shop.source)
    environ = {**os.environ, **environment(shop.s, shop.source), "CARAVAN_HOME": str(shop.s.home)}
    feast = Path(sys.executable).with_name("feast")
    command = [str(feast), "--chdir", str(REPOSITORY), "feature-views", "list"]
    listed = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert listed.returncode == 0, listed.stderr
    assert all(view in listed.stdout for view in ONLINE_VIEWS)


def test_every_module_but_definitions_is_hidden_from_feast() -> None:
    from feast.repo_operations import get_repo_files

    assert [p.name for p in get_repo_files(REPOSITORY)] == ["definitions.py"]
