"""Reads features: as they were at a point in time, and as they are now for one shopper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from artifacts.lake import Lake
from contracts.errors import FeatureError
from contracts.settings import Settings
from feature_repo import online
from feature_repo.purchases import bought
from feature_repo.registry import applied_store, quiet
from feature_repo.schemas import features as features_of
from feature_repo.staging import stage, staging_folder
from feature_repo.store import utc_now

if TYPE_CHECKING:
    import pandas as pd

#: The views of the feature service `recommender`.
SHOPPER_VIEWS = ("shopper_sequence", "shopper_purchases", "shopper_affinity", "shopper_activity")


def historical(
    s: Settings, source: str, entities: pd.DataFrame, features: list[str], *, lake: Lake | None = None
) -> pd.DataFrame:
    """Join to `entities` the newest value of each feature that was known at the row's `event_timestamp`.

    `entities`: key columns and `event_timestamp` (time zone aware). `features`: "view:feature". Rows out are rows
    in, in the same order; a value not known then, or older than the view's look-back, is missing. A row created after
    the moment asked about is never used. Raises FeatureError.
    """
    import pandas as pd

    from feature_repo.definitions import LOOK_BACK

    if entities.empty:
        raise FeatureError("no entity rows to join features to", remedy="pass at least one row")
    lake = lake or Lake.of(s, source)
    times = pd.to_datetime(entities["event_timestamp"], utc=True)
    first, last = (times.min() - LOOK_BACK - timedelta(days=1)).date(), times.max().date()
    for view in {f.partition(":")[0] for f in features}:
        if not stage(lake, staging_folder(s, source), view, first.isoformat(), last.isoformat()):
            raise FeatureError(
                f"{source} has no {view} between {first} and {last}",
                remedy=f"build it: `caravan features build --source {source} --day {last}`",
            )
    row = "__row"
    asked = entities.assign(event_timestamp=times, **{row: range(len(entities))})
    with quiet():
        job = applied_store(s, source).get_historical_features(
            entity_df=asked, features=features, filter_by_created_timestamp=True
        )
        joined: pd.DataFrame = job.to_df()
    if len(joined) != len(entities) or joined[row].nunique() != len(entities):
        raise FeatureError(
            f"the point-in-time join returned {len(joined)} rows for {len(entities)}",
            remedy="the offline store has to be duckdb, see feature_repo/feature_store.yaml",
        )
    joined = joined.sort_values(row).drop(columns=row)
    joined.index = entities.index
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopperFeatures:
    """What is known online about one shopper; all empty when nothing is. Lists are oldest or best first."""

    items: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # microseconds since 1970
    purchased: list[str] = field(default_factory=list)  # ever, each item once
    categories: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    activity: dict[str, float] = field(default_factory=dict)
    event_timestamp: datetime | None = None  # of the oldest view read that ages; a purchase stays one
    stale: bool = False  # older than settings.feature_age_limit
    known: bool = False


class OnlineReader:
    """Reads one shopper's features in one round trip, straight from Feast's layout in Redis.

    Belongs to one event loop. `close` it at the end.
    """

    def __init__(self, s: Settings, source: str, *, now: Callable[[], datetime] = utc_now) -> None:
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._project = online.project_name(source)
        self._deadline = s.online_read_deadline
        self._age_limit = timedelta(seconds=s.feature_age_limit)
        self._now = now
        self._views = {view: features_of(view) for view in SHOPPER_VIEWS}
        self._fields = [
            name
            for view, names in self._views.items()
            for name in (online.time_field(view), *(online.field(view, n) for n in names))
        ]
        online.load_values()  # load now, not within a shopper's deadline
        host, port = s.redis_address
        self._redis: Any = redis.asyncio.Redis(
            host=host,
            port=port,
            password=s.secret("redis_password"),
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),  # once: pooled connections die with a restart
            socket_connect_timeout=s.request_deadline,
        )

    async def shopper(self, user_id: str, deadline: float | None = None) -> ShopperFeatures:
        """Read the features of `user_id` (hashed) within `deadline` seconds.

        Raises FeatureError when Redis does not answer in time.
        """
        import redis

        limit = self._deadline if deadline is None else deadline
        try:
            async with asyncio.timeout(limit):
                found = await self._redis.hmget(online.shopper_key(self._project, user_id), self._fields)
        except (TimeoutError, redis.RedisError, OSError) as error:
            raise FeatureError(
                f"the online store did not answer within {limit * 1000:.0f} ms ({type(error).__name__})",
                remedy="the answer falls back; check `caravan status`",
            ) from error
        return self._decode(found)

    def _decode(self, found: list[bytes | None]) -> ShopperFeatures:
        values = iter(found)
        read: dict[str, dict[str, Any]] = {}
        times: list[int] = []
        purchased_at: list[int] = []
        for view, names in self._views.items():
            at = next(values)
            raw = [next(values) for _ in names]
            read[view] = {n: online.unpack(v) if v is not None else None for n, v in zip(names, raw, strict=True)}
            if at is not None:
                (purchased_at if view == "shopper_purchases" else times).append(online.unpack_time(at))
        if not times and not purchased_at:
            return ShopperFeatures()
        at_oldest = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=min(times or purchased_at))
        sequence, affinity = read["shopper_sequence"], read["shopper_affinity"]
        items, kinds = sequence["items"] or [], sequence["kinds"] or []
        return ShopperFeatures(
            items=items,
            kinds=kinds,
            times=sequence["times"] or [],
            purchased=bought(read["shopper_purchases"]["purchased"] or [], items, kinds),
            categories=affinity["categories"] or [],
            weights=affinity["weights"] or [],
            activity={n: v for n, v in read["shopper_activity"].items() if v is not None},
            event_timestamp=at_oldest,
            stale=self._now() - at_oldest > self._age_limit,
            known=True,
        )

    async def close(self) -> None:
        await self._redis.aclose()
