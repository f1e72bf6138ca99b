"""Rebuilds the online store of a restored region: it is derived data, so it is never backed up.

The newest feature tables of each shop are materialized; then the events that the engines had accepted since are pushed
again. A shopper's history is a set in one order, so pushing an event twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from artifacts.lake import Lake
from artifacts.object_store import ObjectStore
from artifacts.publish import refs
from contracts.errors import FeatureError, Tampered
from contracts.settings import Settings
from feature_repo import store
from recovery.erasure.online import rewrite_log
from recovery.restore.recovery_point import Chosen
from recovery.shipping import event_log
from recovery.vault.vault import Vault

_BATCH = 500


def refill(s: Settings, chosen: Chosen, tell: Callable[[str], None]) -> str:
    """Empty the online store, refill it from tables and the unpacked log; return what was done. Raises FeatureError."""
    _empty(s)
    rows, days = 0, {}
    for source in _sources(s):
        tell(f"materializing {source}")
        days[source] = Lake.of(s, source).partitions(store.FIRST_VIEWS[0])[-1]
        rows += store.materialize(s, source, days[source]).rows
    pushed = 0
    for source, events in _events(s.paths.event_log, days, until=chosen.at):
        pushed += store.push_events(s, source, events)
    return f"{rows} rows of {len(days)} shops materialized, {pushed} histories pushed"


def unpack_event_log(s: Settings, vault: Vault, chosen: Chosen, tell: Callable[[str], None]) -> int:
    """Unpack the event log as far as the vault has it; return bytes written.

    This region's own event log is moved aside. A segment that cannot be read is left blank and reported, unless exactly
    the snapshot's state was asked for.
    """
    system, segments = chosen.snapshot.system, chosen.snapshot.events
    if chosen.exact:
        return event_log.unpack(vault, system, segments, s.paths.home)
    segments = event_log.list_segments(vault, system, segments, lenient=True)
    return event_log.unpack(vault, system, segments, s.paths.home, tell=tell)


def _empty(s: Settings) -> None:
    """Empty the online store: the origin of its content is unknown, and all is made again. Raises FeatureError."""
    import redis

    host, port = s.redis_address
    try:
        with redis.Redis(host=host, port=port, password=s.secret("redis_password"), socket_timeout=10) as client:
            client.flushdb()
            rewrite_log(client)
    except redis.RedisError as error:
        raise FeatureError("the online store does not answer", remedy="`caravan status` shows it") from error


def _sources(s: Settings) -> list[str]:
    """Return the shops that have every table that is read online, as far as every version built it."""
    found: dict[str, set[str]] = {}
    for name in refs(ObjectStore.of(s), "lake"):
        source, table, _ = name.removeprefix("lake/").split("/", 2)
        found.setdefault(source, set()).add(table)
    return sorted(source for source, tables in found.items() if tables >= set(store.FIRST_VIEWS))


def _events(
    folder: Path, days: dict[str, str], *, until: datetime | None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield batches of one shop's logged events, for the days that its feature tables do not cover. Raises Tampered."""
    waiting: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or line.isspace():
                    continue  # torn by a crash, and never acknowledged; or erased
                try:
                    event = json.loads(line)
                    source = str(event["source"])
                    event["event_time"] = datetime.fromisoformat(event["event_time"])
                except (ValueError, KeyError, TypeError):
                    raise Tampered(f"a line of {path.name} is no event", remedy="verify the snapshot") from None
                if path.parent.name < days.get(source, "") or (until is not None and event["event_time"] > until):
                    continue
                batch = waiting.setdefault(source, [])
                batch.append(event)
                if len(batch) == _BATCH:
                    yield source, waiting.pop(source)
    yield from waiting.items()
