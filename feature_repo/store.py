"""Writes the online store: materializes a day, and pushes a shopper's newest actions.

One Feast project per data source; registry in PostgreSQL, online store in Redis. Feast is imported only inside
functions: it takes many seconds, and pushing does without it.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from artifacts.lake import Lake
from contracts.errors import FeatureError
from contracts.events import CLOCK_SKEW, INTERACTIONS
from contracts.settings import Settings
from feature_repo import online
from feature_repo.registry import applied_store, lock, quiet
from feature_repo.sequences import EMPTY, Action, History, append
from feature_repo.staging import stage, staging_folder

#: Views that are read online. Text vectors are not: engines have them in memory, from the release.
ONLINE_VIEWS = ("shopper_sequence", "shopper_affinity", "shopper_activity", "item_popularity")
_PUSH_ATTEMPTS = 50
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class ViewReport:
    """The outcome for one view: `written` rows of `day`, or why nothing had to be written."""

    day: str | None
    rows: int
    outcome: str  # written | unchanged | newer online


@dataclass(frozen=True, kw_only=True)
class MaterializeReport:
    """The outcome of `materialize`. `end` is the newest instant that is online now."""

    source: str
    day: str
    end: datetime | None
    views: Mapping[str, ViewReport]
    seconds: float

    @property
    def rows(self) -> int:
        return sum(v.rows for v in self.views.values())


def materialize(
    s: Settings,
    source: str,
    day: str,
    *,
    now: Callable[[], datetime] = utc_now,
    force: bool = False,
    lake: Lake | None = None,
) -> MaterializeReport:
    """Bring the online store up to the end of `day`, never beyond `now`; a rerun converges and writes nothing twice.

    Feature partitions are snapshots, so the newest one not after `day` and `now` is what has to be online; days
    between the last materialized one and it are caught up in the same step. What is online, and from which
    partition, is noted in Redis beside the features: an online store that was lost is filled again. A day older
    than what is online changes nothing. `force` writes even what is noted as written.
    """
    started = time.monotonic()
    lake = lake or Lake.of(s, source)
    last = min(date.fromisoformat(day), now().astimezone(UTC).date() - timedelta(days=1)).isoformat()
    with lock(s, f"materialize:{source}"):
        store = applied_store(s, source)
        views = {view: _materialize_view(s, store, lake, view, last, force=force) for view in ONLINE_VIEWS}
    days = [v.day for v in views.values() if v.day]
    return MaterializeReport(
        source=source,
        day=day,
        end=_end(min(days)) if days else None,
        views=views,
        seconds=time.monotonic() - started,
    )


def _materialize_view(s: Settings, store: Any, lake: Lake, view: str, last: str, *, force: bool) -> ViewReport:
    import pyarrow.parquet as pq

    client, notes = _redis(s), f"caravan:materialized:{store.project}"
    noted = client.hget(notes, view)
    done = json.loads(noted) if noted else None
    days = [d for d in lake.partitions(view) if d <= last]
    if not days:
        raise FeatureError(
            f"{lake.source} has no {view} up to {last}",
            remedy=f"build it: `caravan features build --source {lake.source} --day {last}`",
        )
    day, digest = days[-1], lake.digest(view, days[-1])
    if done and not force:
        if done["day"] > day:
            return ViewReport(day=done["day"], rows=0, outcome="newer online")
        if done["day"] == day and done["digest"] == digest:
            return ViewReport(day=day, rows=0, outcome="unchanged")
    first, start = day, _end(day)
    if done and done["day"] < day:
        first = next(d for d in days if d > done["day"])
        start = _end(done["day"]) + _MICROSECOND
    files = stage(lake, staging_folder(s, lake.source), view, first, day)
    with quiet():
        store.materialize(start_date=start, end_date=_end(day), feature_views=[view])
    if not done or done["day"] <= day:
        client.hset(notes, view, json.dumps({"day": day, "digest": digest}))
    return ViewReport(day=day, rows=pq.read_metadata(files[-1]).num_rows, outcome="written")


def push_events(
    s: Settings, source: str, events: list[dict[str, Any]], *, now: Callable[[], datetime] = utc_now
) -> int:
    """Add accepted events to their shoppers' online sequences; return the number of sequences that changed.

    `events`: hashed `user_id`, `event_time` (datetime or microseconds), `kind`, `item_id`; kinds that are no
    interaction, and times ahead of the clock, are ignored. Safe from any number of threads and processes: the
    write happens only if the sequence is still the one that was read, else it is read again. The new timestamp is
    later than the one replaced, so a nightly run of an earlier day does not roll the sequence back, and not later
    than now, so the next one is not kept out. Raises FeatureError when the online store does not answer.
    """
    limit = (now() + CLOCK_SKEW - _EPOCH) // _MICROSECOND
    clock = (now() - _EPOCH) // _MICROSECOND
    pending: dict[str, list[Action]] = defaultdict(list)
    for event in events:
        at = event["event_time"]
        us = (at - _EPOCH) // _MICROSECOND if isinstance(at, datetime) else int(at)
        if event["kind"] in INTERACTIONS and event.get("item_id") and us <= limit:
            pending[event["user_id"]].append(Action(us, event["item_id"], event["kind"]))
    if not pending:
        return 0
    import redis

    try:
        return _push(_redis(s), online.project_name(source), pending, clock)
    except redis.RedisError as error:
        raise FeatureError(
            f"the online store did not take {len(events)} events: {type(error).__name__}",
            remedy="they are in the event log; check `caravan status`",
        ) from error


def _push(client: Any, project: str, pending: Mapping[str, list[Action]], clock: int) -> int:
    view = "shopper_sequence"
    fields = [online.time_field(view), *(online.field(view, name) for name in History._fields)]
    changed = 0
    for _ in range(_PUSH_ATTEMPTS):
        with client.pipeline(transaction=False) as pipe:
            pipe.script_load(online.IF_UNCHANGED)  # every time: a restarted Redis has forgotten it
            for user in pending:
                pipe.hmget(online.shopper_key(project, user), fields)
            script, *stored = pipe.execute()
        writing: list[str] = []
        with client.pipeline(transaction=False) as pipe:
            for user, found in zip(pending, stored, strict=True):
                before = History(*(online.unpack(v) or [] for v in found[1:])) if all(found) else EMPTY
                after = append(user, before, pending[user])
                if after == before:
                    continue
                previous = online.unpack_time(found[0]) if found[0] else 0
                at = max(previous + 1, min(after.times[-1], clock))
                fresh = [
                    online.pack_time(at),
                    online.pack_strings(after.items),
                    online.pack_strings(after.kinds),
                    online.pack_integers(after.times),
                ]
                expected = [x for pair in zip(fields, (v or b"" for v in found), strict=True) for x in pair]
                values = [x for pair in zip(fields, fresh, strict=True) for x in pair]
                pipe.evalsha(script, 1, online.shopper_key(project, user), len(fields), *expected, *values)
                writing.append(user)
            outcomes = pipe.execute()
        changed += sum(bool(done) for done in outcomes)
        pending = {u: pending[u] for u, done in zip(writing, outcomes, strict=True) if not done}
        if not pending:
            return changed
    raise FeatureError(
        f"{len(pending)} shoppers' sequences changed {_PUSH_ATTEMPTS} times while they were written",
        remedy="too many writers push events of the same shoppers; their events are in the event log",
    )


def _redis(s: Settings) -> Any:
    return _client(*s.redis_address, s.secret("redis_password"), s.request_deadline)


@cache
def _client(host: str, port: int, password: str, timeout: float) -> Any:
    """Return a Redis client of this process (thread-safe: it keeps a pool)."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(
        host=host,
        port=port,
        password=password,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),  # once: pooled connections die with a restart
    )


def _end(day: str) -> datetime:
    """Return 00:00 UTC of the day after `day`."""
    return datetime.combine(date.fromisoformat(day) + timedelta(days=1), datetime.min.time(), UTC)
