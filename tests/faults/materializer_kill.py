"""The materializer killed with SIGKILL at a random moment: what can be read is whole, and the rerun converges.

Case `seed + n` is made from that number alone. Every case has a source of its own, materializes one day in full,
then starts the next one in a child process and kills it after a random share of the time that a whole run takes.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq

from artifacts.lake import DATA, Lake
from contracts.settings import Settings, read_settings
from feature_repo import online
from feature_repo.schemas import features as features_of
from feature_repo.store import materialize
from feature_repo.tables import build
from tests.faults.outcome import Outcome
from tests.faults.regions import region
from tests.feature_repo.builders import day, drop_registry, encode, event, filled, products

SHOPPERS = 400
ITEMS = 20
NOW = datetime(2026, 4, 1, tzinfo=UTC)
VIEWS = ("shopper_sequence", "shopper_purchases", "shopper_affinity", "shopper_activity")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Rows = dict[str, dict[str, dict[str, Any]]]


def run(seed: int, count: int, s: Settings | None = None) -> Outcome:
    """Try `count` kills on the region of `s` (by default one that runs already, or one started for this)."""
    s = s or region()
    outcome = Outcome(count=count)
    for case in range(seed, seed + count):
        outcome.failures += [f"seed {case}: {problem}" for problem in one(case, s)]
    return outcome


def one(seed: int, s: Settings) -> list[str]:
    """One kill; the sentences that say what was wrong afterwards."""
    draw = random.Random(seed)
    source = f"kill-{uuid.uuid4().hex[:10]}"
    lake = Lake.of(s, source)
    days = {day(d): _events(draw, d) for d in range(2)}
    filled(lake, days, products(ITEMS))
    for name in days:
        build(lake, name, encode=encode)
    old, new = (_tables(lake, name) for name in days)

    _child(s, source, None).join()  # the server has imported Feast by now
    started = time.monotonic()
    _child(s, source, 0).join()
    whole = time.monotonic() - started
    problems = [f"the first day is not online: {p}" for p in _differences(s, source, [old])]

    child = _child(s, source, 1)
    time.sleep(draw.uniform(0, whole))
    survived = not child.is_alive()
    if child.pid and not survived:
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    problems += [f"after the kill: {p}" for p in _differences(s, source, [old, new])]
    report = materialize(s, source, day(1), now=lambda: NOW)
    problems += [f"after the rerun: {p}" for p in _differences(s, source, [new])]
    again = materialize(s, source, day(1), now=lambda: NOW)
    if again.rows or {v.day for v in again.views.values()} != {day(1)}:
        problems.append(f"a further run is not without effect: {again} after {report}")
    _forget(s, source)
    return problems


def _events(draw: random.Random, number: int) -> list[dict[str, Any]]:
    return [
        event(number, draw.randrange(86_400_000_000), f"u{u}", kind, f"i{draw.randrange(ITEMS)}")
        for u in range(SHOPPERS)
        for kind in draw.choices(("view", "add_to_cart", "purchase"), k=6)
    ]


def _tables(lake: Lake, name: str) -> Rows:
    """view -> shopper -> row of the day's partition."""
    rows = {view: pq.read_table(lake.fetch(view, name) / DATA).to_pylist() for view in VIEWS}
    return {view: {row["user_id"]: row for row in of} for view, of in rows.items()}


def _differences(s: Settings, source: str, allowed: list[Rows]) -> list[str]:
    """Shoppers whose online row, timestamp included, is not wholly that of one of the `allowed` days."""
    client = _redis(s)
    problems = []
    for view in VIEWS:
        names = features_of(view)
        fields = [online.time_field(view), *(online.field(view, n) for n in names)]
        users = sorted(allowed[-1][view])
        with client.pipeline(transaction=False) as pipe:
            for user in users:
                pipe.hmget(online.shopper_key(online.project_name(source), user), fields)
            answers = pipe.execute()
        for user, (at, *values) in zip(users, answers, strict=True):
            found = None  # nothing at all, as for a shopper without a row
            if at or any(values):
                found = {n: online.unpack(v) if v else None for n, v in zip(names, values, strict=True)}
                found["event_timestamp"] = _EPOCH + timedelta(microseconds=online.unpack_time(at) if at else 0)
            if found not in [_shown(rows[view].get(user)) for rows in allowed]:
                problems.append(f"{view} of {user} is of no single day")
    client.close()
    return problems[:3]


def _shown(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return {k: v for k, v in row.items() if k not in ("user_id", "created")} if row else None


def _child(s: Settings, source: str, number: int | None) -> Any:
    """A process of its own that materializes day `number`, if any, forked from one that has imported Feast."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["feast", "feature_repo.definitions", "tests.faults.materializer_kill"])
    process = context.Process(target=_materialize, args=(str(s.home), s.port_offset, source, number))
    process.start()
    return process


def _materialize(home: str, offset: int, source: str, number: int | None) -> None:
    if number is not None:
        materialize(read_settings(home=home, port_offset=offset), source, day(number), now=lambda: NOW)


def _redis(s: Settings) -> Any:
    import redis

    host, port = s.redis_address
    return redis.Redis(host=host, port=port, password=s.secret("redis_password"))


def _forget(s: Settings, source: str) -> None:
    """Remove the case from the online store and the registry."""
    drop_registry(s, source)
    client = _redis(s)
    project = online.project_name(source).encode()
    for key in [k for k in client.scan_iter(count=1000) if k.endswith(project)]:
        client.delete(key)
    client.close()
