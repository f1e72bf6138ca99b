"""Reading one shopper: in one round trip, within the deadline, with the age; trouble is a FeatureError."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import FeatureError, SettingsError
from contracts.settings import Settings, read_settings
from feature_repo import online
from feature_repo.reader import OnlineReader, ShopperFeatures
from feature_repo.store import push_events
from tests.feature_repo.conftest import OwnRedis

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def read(s: Settings, *users: str, now: datetime = NOW, deadline: float | None = 1.0) -> list[ShopperFeatures]:
    async def all_of_them() -> list[ShopperFeatures]:
        reader = OnlineReader(s, "shop", now=lambda: now)
        try:
            return [await reader.shopper(user, deadline) for user in users]
        finally:
            await reader.close()

    return asyncio.run(all_of_them())


def push(s: Settings, user: str, item: str) -> None:
    event = {"event_id": item, "event_time": NOW, "user_id": user, "kind": "view", "item_id": item}
    push_events(s, "shop", [event], now=lambda: NOW)


def test_an_unknown_shopper_has_no_features(own_redis: OwnRedis) -> None:
    assert read(own_redis.settings, "nobody") == [ShopperFeatures()]


def test_a_shopper_known_only_from_pushes(own_redis: OwnRedis) -> None:
    push(own_redis.settings, "pushed", "i1")
    (found,) = read(own_redis.settings, "pushed")
    assert (found.items, found.kinds, found.categories, found.activity) == (["i1"], ["view"], [], {})
    assert found.known
    assert found.event_timestamp == NOW


def test_the_age_is_checked(own_redis: OwnRedis) -> None:
    s = own_redis.settings
    push(s, "aged", "i1")
    limit = timedelta(seconds=s.feature_age_limit)
    assert [read(s, "aged", now=NOW + age)[0].stale for age in (limit, limit + timedelta(microseconds=1))] == [
        False,
        True,
    ]


@pytest.fixture
def hanging(own_redis: OwnRedis) -> Iterator[OwnRedis]:
    yield own_redis
    own_redis.process.send_signal(signal.SIGCONT)


def test_a_hanging_store_costs_the_deadline_and_later_reads_are_right(hanging: OwnRedis) -> None:
    s = hanging.settings
    for user in ("a", "b", "c"):
        push(s, user, f"only-{user}")

    async def session() -> None:
        reader = OnlineReader(s, "shop", now=lambda: NOW)
        assert (await reader.shopper("a", 1.0)).items == ["only-a"]
        hanging.process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        results = await asyncio.gather(*(reader.shopper(u, 0.05) for u in "abc"), return_exceptions=True)
        assert time.monotonic() - started < 2.0
        assert all(isinstance(r, FeatureError) for r in results)
        hanging.process.send_signal(signal.SIGCONT)
        # an answer to a question that was given up must never reach another shopper
        for _ in range(5):
            for user in "cba":
                assert (await reader.shopper(user, 2.0)).items == [f"only-{user}"]
        await reader.close()

    asyncio.run(session())


def test_no_redis_is_an_error_within_the_deadline() -> None:
    s = read_settings(redis_host="127.0.0.1:1", redis_password="x")
    started = time.monotonic()
    with pytest.raises(FeatureError, match="did not answer"):
        read(s, "u", deadline=0.05)
    assert time.monotonic() - started < 2


def test_a_wrong_password_is_an_error(own_redis: OwnRedis) -> None:
    host, port = own_redis.settings.redis_address
    s = read_settings(redis_host=f"{host}:{port}", redis_password="wrong")
    with pytest.raises(FeatureError):
        read(s, "u")


@pytest.mark.parametrize("source", ["shop; DROP SCHEMA x; --", "Shop", "", "../x", "shop\n", "a_shop", "s" * 42])
def test_what_is_no_name_of_a_source_reaches_no_statement(source: str) -> None:
    with pytest.raises(SettingsError, match="no name for a shop"):
        online.project_name(source)
