"""Pushed actions: known at once, never lost, never rolled back, never from the future."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import FeatureError
from contracts.settings import Settings, read_settings
from feature_repo import online
from feature_repo.sequences import Action, History, recent
from feature_repo.store import push_events
from tests.feature_repo.conftest import OwnRedis

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
US = int(NOW.timestamp()) * 1_000_000


def act(user: str, us: int, item: str, kind: str = "view") -> dict[str, Any]:
    return {"event_id": f"{user}-{us}", "event_time": us, "user_id": user, "kind": kind, "item_id": item}


def stored(s: Settings, client: Any, user: str, source: str = "shop") -> tuple[int, History]:
    view = "shopper_sequence"
    fields = [online.time_field(view), *(online.field(view, name) for name in History._fields)]
    found = client.hmget(online.shopper_key(online.project_name(source), user), fields)
    return online.unpack_time(found[0]), History(*(online.unpack(v) for v in found[1:]))


def test_a_new_shopper_is_known_at_once(own_redis: OwnRedis) -> None:
    s, client = own_redis.settings, own_redis.client
    events = [act("new", US - 1, "b"), act("new", US - 2, "a"), {**act("new", US, "", "search"), "query": "x"}]
    assert push_events(s, "shop", events, now=lambda: NOW) == 1
    assert stored(s, client, "new") == (US - 1, History(["a", "b"], ["view", "view"], [US - 2, US - 1]))
    assert push_events(s, "shop", events, now=lambda: NOW) == 0  # the same events again change nothing


def test_times_may_be_datetimes(own_redis: OwnRedis) -> None:
    event = {**act("dated", 0, "a"), "event_time": NOW - timedelta(microseconds=7)}
    push_events(own_redis.settings, "shop", [event], now=lambda: NOW)
    assert stored(own_redis.settings, own_redis.client, "dated")[0] == US - 7


def test_an_action_from_the_future_is_passed_over_and_never_blocks_later_ones(own_redis: OwnRedis) -> None:
    s, client = own_redis.settings, own_redis.client
    assert push_events(s, "shop", [act("early", US + 86_400_000_000, "x")], now=lambda: NOW) == 0
    ahead = US + 60_000_000  # a clock that is a minute ahead is let through, but counts as now
    assert push_events(s, "shop", [act("early", ahead, "a")], now=lambda: NOW) == 1
    assert stored(s, client, "early") == (US, History(["a"], ["view"], [ahead]))


def test_a_late_action_still_moves_the_timestamp_on(own_redis: OwnRedis) -> None:
    """So that materializing the same partition again does not undo it."""
    s, client = own_redis.settings, own_redis.client
    push_events(s, "shop", [act("late", US - 5, "b")], now=lambda: NOW)
    push_events(s, "shop", [act("late", US - 9, "a")], now=lambda: NOW)
    assert stored(s, client, "late") == (US - 4, History(["a", "b"], ["view", "view"], [US - 9, US - 5]))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("uv"), st.integers(0, 80), st.sampled_from("abc")), max_size=30), max_size=5
    )
)
def test_any_batches_end_in_the_newest_actions(own_redis: OwnRedis, batches: list[list[tuple[str, int, str]]]) -> None:
    s, client = own_redis.settings, own_redis.client
    client.delete(online.shopper_key("any", "u"), online.shopper_key("any", "v"))
    for batch in batches:
        push_events(s, "any", [act(user, US - us, item) for user, us, item in batch], now=lambda: NOW)
    for user in "uv":
        mine = [Action(US - us, item, "view") for batch in batches for u, us, item in batch if u == user]
        if mine:
            assert stored(s, client, user, "any")[1] == recent(user, mine)


def test_concurrent_pushes_lose_nothing(own_redis: OwnRedis) -> None:
    s, client = own_redis.settings, own_redis.client
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda n: push_events(s, "shop", [act("busy", US - n, f"i{n}"), act(f"calm{n}", US, "a")], now=lambda: NOW),
            range(40),
        ):
            pass
    assert stored(s, client, "busy")[1] == recent("busy", (Action(US - n, f"i{n}", "view") for n in range(40)))


@pytest.mark.slow
def test_concurrent_processes_lose_nothing(own_redis: OwnRedis) -> None:
    s, client = own_redis.settings, own_redis.client
    host, port = s.redis_address
    program = f"""
        import sys
        from contracts.settings import read_settings
        from feature_repo.store import push_events
        s = read_settings(redis_host="{host}:{port}", redis_password="{s.secret("redis_password")}")
        for n in range(int(sys.argv[1]), 48, 4):
            event = dict(event_id=str(n), event_time={US} - n, user_id="p", kind="view", item_id=f"i{{n}}")
            push_events(s, "shop", [event])
        assert "feast" not in sys.modules, "pushing must not import Feast"
    """
    children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(part)]) for part in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert stored(s, client, "p")[1] == recent("p", (Action(US - n, f"i{n}", "view") for n in range(48)))


def test_no_redis_is_an_error_of_ours() -> None:
    s = read_settings(redis_host="127.0.0.1:1", redis_password="x")
    with pytest.raises(FeatureError, match="online store"):
        push_events(s, "shop", [act("u", US, "a")], now=lambda: NOW)
