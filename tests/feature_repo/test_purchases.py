"""What was bought is known however many actions follow: pushed as by the night's table, of either shape, erased."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.lake import DATA
from contracts.events import INTERACTIONS
from feature_repo import online
from feature_repo.purchases import MAX_ITEMS, NOTHING, Purchases, add, bought
from feature_repo.pushing import write_actions
from feature_repo.sequences import Action, History
from feature_repo.store import push_events
from feature_repo.tables import build
from ingestion.pseudonymize import Pseudonymizer
from recovery.erasure import online as erasure
from recovery.erasure.rows import ErasureSubject
from tests.feature_repo.builders import day, encode, event, filled, new_lake, products, random_events
from tests.feature_repo.conftest import OwnRedis
from tests.feature_repo.test_online_reader import read

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
US = int(NOW.timestamp()) * 1_000_000
SECOND = 1_000_000

actions = st.lists(
    st.builds(Action, st.integers(0, 30), st.sampled_from("abcdef"), st.sampled_from(INTERACTIONS)), max_size=30
)


def act(user: str, us: int, item: str, kind: str = "view") -> dict[str, Any]:
    return {"user_id": user, "event_time": us, "kind": kind, "item_id": item}


def fields(view: str, names: tuple[str, ...]) -> list[bytes]:
    return [online.time_field(view), *(online.field(view, name) for name in names)]


def owned(own: OwnRedis, user: str) -> list[str]:
    return read(own.settings, user)[0].purchased


def materialize_by_hand(own: OwnRedis, user: str, found: Purchases, at: int) -> bool:
    """Write a shopper's row as the night does: in one step, unless what is there is newer."""
    script = own.client.register_script(online.NEWEST_WINS)
    values = [online.pack_time(at), online.pack_strings(found.purchased), online.pack_integers(found.purchased_at)]
    pairs = zip(fields("shopper_purchases", Purchases._fields), values, strict=True)
    return bool(script(keys=[online.shopper_key("shop", user)], args=[x for pair in pairs for x in pair]))


def push_as_before(own: OwnRedis, user: str, history: History) -> None:
    """Write a shopper's row in the shape that the version before purchases were kept apart wrote."""
    values = [
        online.pack_time(history.times[-1]),
        online.pack_strings(history.items),
        online.pack_strings(history.kinds),
        online.pack_integers(history.times),
    ]
    names = fields("shopper_sequence", History._fields)
    own.client.hset(online.shopper_key("shop", user), mapping=dict(zip(names, values, strict=True)))


@given(actions, st.lists(actions, max_size=4), st.integers(1, 4))
def test_adding_in_parts_in_any_order_or_twice_is_adding_once(
    first: list[Action], more: list[list[Action]], limit: int
) -> None:
    everything = [*first, *(a for part in more for a in part)]
    once = add(NOTHING, everything, limit)
    found = NOTHING
    for part in [*more[::-1], first, *more]:
        found = add(found, part, limit)
    assert found == once
    assert len(set(once.purchased)) == len(once.purchased) <= limit
    assert list(zip(once.purchased_at, once.purchased, strict=True)) == sorted(
        zip(once.purchased_at, once.purchased, strict=True)
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    after=st.integers(0, 700),
    kinds=st.lists(st.sampled_from(INTERACTIONS), min_size=1, max_size=4),
    pieces=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_bought_is_known_however_many_actions_of_any_kind_follow(
    own_redis: OwnRedis, after: int, kinds: list[str], pieces: int, seed: int
) -> None:
    user, draw = uuid.uuid4().hex, random.Random(seed)
    later = [act(user, US - (after - n) * SECOND, f"i{draw.randrange(900)}", draw.choice(kinds)) for n in range(after)]
    rows = [act(user, US - 9_000 * SECOND, "bought", "purchase"), *later]
    for start in range(pieces):
        push_events(own_redis.settings, "shop", rows[start::pieces], now=lambda: NOW)  # and out of order
    expected = {row["item_id"] for row in rows if row["kind"] == "purchase"}
    assert set(owned(own_redis, user)) == expected
    assert "bought" in expected


@pytest.mark.parametrize("count", [MAX_ITEMS - 1, MAX_ITEMS, MAX_ITEMS + 1, MAX_ITEMS + 700])
def test_beyond_the_bound_what_was_bought_longest_ago_goes(own_redis: OwnRedis, count: int) -> None:
    user = f"bulk-{count}"
    rows = [act(user, US - (count - n), f"i{n}", "purchase") for n in range(count)]
    push_events(own_redis.settings, "shop", rows, now=lambda: NOW)
    assert owned(own_redis, user) == [f"i{n}" for n in range(max(0, count - MAX_ITEMS), count)]


@pytest.mark.parametrize("seed", range(3))
def test_pushed_and_built_at_night_are_the_same(own_redis: OwnRedis, tmp_path: Path, seed: int) -> None:
    events = random_events(seed, days=4, per_day=300)
    lake = filled(new_lake(tmp_path), events, products(12))
    build(lake, day(3), encode=encode)
    table = {r["user_id"]: r for r in pq.read_table(lake.fetch("shopper_purchases", day(3)) / DATA).to_pylist()}
    rows = [e for of in events.values() for e in of]
    random.Random(seed).shuffle(rows)
    source, later = f"parity-{seed}", datetime(2026, 3, 20, tzinfo=UTC)
    for start in range(0, len(rows), 97):
        push_events(own_redis.settings, source, rows[start : start + 97], now=lambda: later)
    names = fields("shopper_purchases", Purchases._fields)[1:]
    for user in {e["user_id"] for e in rows}:
        values = own_redis.client.hmget(online.shopper_key(online.project_name(source), user), names)
        pushed = Purchases(*(online.unpack(value) if value else [] for value in values))
        row = table.get(user, {})
        assert pushed == Purchases(row.get("purchased", []), row.get("purchased_at", []))
    assert table


@pytest.mark.parametrize("views", [0, 1, 49, 50, 51, 300])
def test_a_row_of_an_older_version_keeps_what_its_history_says_was_bought(own_redis: OwnRedis, views: int) -> None:
    user = f"older-{views}"
    push_as_before(
        own_redis, user, History(["x", "p"], ["view", "purchase"], [US - 9_000 * SECOND, US - 8_000 * SECOND])
    )
    assert owned(own_redis, user) == ["p"]  # before anything was pushed in the new shape
    rows = [act(user, US - n * SECOND, f"v{n}") for n in range(views)]
    push_events(own_redis.settings, "shop", rows, now=lambda: NOW)
    assert owned(own_redis, user) == ["p"]


def test_the_nights_table_is_taken_over_what_views_alone_came_after(own_redis: OwnRedis) -> None:
    """A shopper who looks around after midnight, before the night has run, still gets all that was ever bought."""
    user, midnight = "nightly", US - 3_600 * SECOND
    push_as_before(own_redis, user, History(["p"], ["purchase"], [midnight - SECOND]))
    push_events(own_redis.settings, "shop", [act(user, US - 5, "v")], now=lambda: NOW)
    whole = Purchases(["long-ago", "p"], [5, midnight - SECOND])
    assert materialize_by_hand(own_redis, user, whole, midnight)
    assert owned(own_redis, user) == ["long-ago", "p"]
    push_events(own_redis.settings, "shop", [act(user, US - 4, "q", "purchase")], now=lambda: NOW)
    assert not materialize_by_hand(own_redis, user, whole, midnight)  # the same night again undoes no purchase
    assert owned(own_redis, user) == ["long-ago", "p", "q"]


def test_what_was_bought_does_not_age(own_redis: OwnRedis) -> None:
    user = "fresh"
    materialize_by_hand(own_redis, user, Purchases(["p"], [5]), US - 90 * 86_400 * SECOND)
    push_events(own_redis.settings, "shop", [act(user, US, "v")], now=lambda: NOW)
    (found,) = read(own_redis.settings, user)
    assert (found.stale, found.event_timestamp, found.purchased) == (False, NOW, ["p"])


def test_either_record_counts_once() -> None:
    assert bought(["a", "b"], ["b", "c", "d"], ["purchase", "purchase", "view"]) == ["a", "b", "c"]


def test_a_push_that_fails_halfway_is_whole_or_nothing(own_redis: OwnRedis) -> None:
    """History and purchases are one write: another writer between reading and writing makes both be read again."""

    class Meddling:
        """A client that lets another engine push between the first read and the first write."""

        def __init__(self, client: Any) -> None:
            self.client, self.pipelines = client, 0

        def pipeline(self, **options: Any) -> Any:
            self.pipelines += 1
            if self.pipelines == 2:
                write_actions(self.client, "shop", {"raced": [Action(US, "theirs", "purchase")]}, US)
            return self.client.pipeline(**options)

    client = Meddling(own_redis.client)
    write_actions(client, "shop", {"raced": [Action(US, "ours", "purchase")]}, US)
    (found,) = read(own_redis.settings, "raced")
    assert sorted(found.items) == sorted(found.purchased) == ["ours", "theirs"]


@pytest.mark.parametrize("kinds", [("purchase",), ("view",), ("purchase", "view"), ("purchase",) * 60, ("view",) * 60])
@pytest.mark.parametrize("shape", ["pushed", "table", "older"])
def test_an_erased_shopper_leaves_no_key(own_redis: OwnRedis, kinds: tuple[str, ...], shape: str) -> None:
    key = Pseudonymizer("a key of the tests").hash
    gone, stays = key(uuid.uuid4().hex), key(uuid.uuid4().hex)
    for user in (gone, stays):
        made = [Action(US - n * SECOND, f"i{n}", kind) for n, kind in enumerate(kinds)]
        if shape == "pushed":
            rows = [act(user, a.time, a.item, a.kind) for a in made]
            push_events(own_redis.settings, "shop", rows, now=lambda: NOW)
        elif shape == "table":
            materialize_by_hand(own_redis, user, add(NOTHING, [*made, Action(5, "p", "purchase")]), US)
        else:
            push_as_before(own_redis, user, History.of(sorted(made)[-50:]))
    s = own_redis.settings
    whom = ErasureSubject({gone: NOW + timedelta(minutes=5)})
    assert len(erasure.keys(s, whom)) == 1
    erasure.remove(s, (), whom)
    assert erasure.keys(s, whom) == []
    assert not [name for name in own_redis.client.scan_iter() if gone.encode() in name]
    assert [name for name in own_redis.client.scan_iter() if stays.encode() in name]


@pytest.mark.parametrize(("bought_at", "goes"), [(-1, True), (0, True), (1, False), (86_400, False)])
def test_a_shopper_who_came_back_is_told_by_the_time_of_the_first_purchase(
    own_redis: OwnRedis, bought_at: int, goes: bool
) -> None:
    user = Pseudonymizer("a key of the tests").hash(uuid.uuid4().hex)
    materialize_by_hand(own_redis, user, Purchases(["p"], [US + bought_at * SECOND]), US + 5 * 86_400 * SECOND)
    found = erasure.keys(own_redis.settings, ErasureSubject({user: NOW}))
    assert bool(found) is goes


def test_events_without_an_item_buy_nothing(own_redis: OwnRedis) -> None:
    rows = [act("odd", US, "", "purchase"), event(0, 5, "odd", "purchase", None), act("odd", US, "q", "impression")]
    assert push_events(own_redis.settings, "shop", rows, now=lambda: NOW) == 0
    assert owned(own_redis, "odd") == []
