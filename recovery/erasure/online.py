"""Erases shoppers from the online store, and from the verified copies that a region keeps on its disk."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from artifacts.publish import VERIFIED
from contracts.errors import FeatureError, Tampered
from contracts.settings import Settings
from feature_repo import online
from feature_repo.registry import lock
from feature_repo.schemas import SCHEMAS
from feature_repo.store import ONLINE_VIEWS
from recovery.erasure.rows import NAMES, ErasureSubject, count

#: Cache folders that are being filled begin with a dot; one older than this many seconds was left by a crash.
_LEFT_AFTER = 3600.0
_REWRITE_WAIT = 60.0
#: Views that hold the times of a shopper's actions, the oldest first.
_DATED = {"shopper_sequence": "times", "shopper_purchases": "purchased_at"}
_BYTES = re.compile(NAMES.pattern.encode())


def keys(s: Settings, whom: ErasureSubject) -> list[bytes]:
    """Return every key of the online store that belongs to an erased shopper. Raises FeatureError."""
    import redis

    try:
        with closing(_client(s)) as client:
            return list(_keys(client, whom))
    except redis.RedisError as error:
        raise _silent() from error


def features(s: Settings, whom: ErasureSubject) -> Iterator[dict[str, Any]]:
    """Yield what the online store has under each of those keys: features by view. Raises FeatureError."""
    import redis

    names = {
        online.field(view, column.name): f"{view}.{column.name}" for view in ONLINE_VIEWS for column in SCHEMAS[view]
    } | {online.time_field(view): f"{view}.event_timestamp" for view in ONLINE_VIEWS}
    try:
        with closing(_client(s)) as client:
            for key in _keys(client, whom):
                shopper = next(name.decode() for name in _BYTES.findall(key) if name.decode() in whom.until)
                row: dict[str, Any] = {"user_id": shopper}
                for field, value in client.hgetall(key).items() if client.type(key) == b"hash" else ():
                    name = names.get(field, field.hex())
                    is_time = field.startswith(b"_ts:")
                    row[name] = _moment(online.unpack_time(value)) if is_time else online.unpack(value)
                yield row
    except redis.RedisError as error:
        raise _silent() from error


def remove(s: Settings, sources: Iterable[str], whom: ErasureSubject) -> None:
    """Remove those keys, then let the store rewrite its log on disk, which still has the values. Raises FeatureError.

    Works source by source under the lock of `materialize`: a run under way ends first, and the next one reads what the
    lake has now.
    """
    import redis

    try:
        with closing(_client(s)) as client:
            present = set(_keys(client, whom))
            for source in sources:
                project = online.project_name(source)
                own = present & {online.shopper_key(project, name) for name in whom.until}
                if own:
                    with lock(s, f"materialize:{source}"):
                        client.delete(*own)
                    present -= own
            if present:  # of a source that the lake no longer has
                client.delete(*present)
            rewrite_log(client)
    except redis.RedisError as error:
        raise _silent() from error


def _client(s: Settings) -> Any:
    import redis

    host, port = s.redis_address
    return redis.Redis(host=host, port=port, password=s.secret("redis_password"), socket_timeout=10)


def _keys(client: Any, whom: ErasureSubject) -> Iterator[bytes]:
    for key in client.scan_iter(count=1000):
        for name in _BYTES.findall(key):
            until = whom.until.get(name.decode())
            if until is not None and _is_old(client, key, until):
                yield key
                break


def _is_old(client: Any, key: bytes, until: datetime) -> bool:
    """Check whether any feature of a shopper dates from before `until`; one who came back has only newer ones."""
    if client.type(key) != b"hash":
        return True
    fields = client.hgetall(key)
    times = []
    for view in ONLINE_VIEWS:
        at = fields.get(online.time_field(view))
        if at is not None and view not in _DATED:  # of the day that ends at this time
            times.append(_moment(online.unpack_time(at)) - timedelta(days=1))
    for view, name in _DATED.items():
        actions = fields.get(online.field(view, name))
        times += [_moment(us) for us in (online.unpack(actions) or [] if actions else [])[:1]]
    return not times or min(times) <= until


def _moment(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def rewrite_log(client: Any) -> None:
    """Let the store rewrite its log on disk without the removed values, and wait for it. Raises FeatureError."""
    import redis

    if not client.info("persistence").get("aof_enabled"):
        return
    with suppress(redis.ResponseError):  # one is under way, which may have begun before: the next is scheduled
        client.bgrewriteaof()
    until = time.monotonic() + _REWRITE_WAIT
    while True:
        about = client.info("persistence")
        if not about["aof_rewrite_in_progress"] and not about.get("aof_rewrite_scheduled"):
            return
        if time.monotonic() > until:
            raise FeatureError("the online store still rewrites its log", remedy="run the same command again")
        time.sleep(0.1)


def _silent() -> FeatureError:
    return FeatureError("the online store does not answer", remedy="`caravan status` shows it")


def copies(cache: Path, whom: ErasureSubject) -> dict[Path, int]:
    """Return the files below a region's cache that hold rows of the erased, with the number of rows in each."""
    found = {}
    for path in sorted(cache.rglob("*")):
        # releases are as they were signed; the bucket has them too, and says so
        if path.is_symlink() or not path.is_file() or path.relative_to(cache).parts[0] == "releases":
            continue
        try:
            hidden = any(part.startswith(".") for part in path.relative_to(cache).parts)
            if hidden and time.time() - path.stat().st_mtime < _LEFT_AFTER:
                continue  # it is just being fetched or written
            rows = count(path, whom)
        except (FileNotFoundError, Tampered):
            continue  # gone meanwhile, or half a file, which nobody takes for whole
        if rows:
            found[path] = rows
    return found


def drop(cache: Path, found: Iterable[Path]) -> None:
    """Remove copies, which are fetched again when needed; a published directory whole, its verified mark first."""
    for path in found:
        top, *rest = path.relative_to(cache).parts
        if top == "objects" and len(rest) > 1:
            own = cache / top / rest[0]
            own.with_name(f"{own.name}{VERIFIED}").unlink(missing_ok=True)
            shutil.rmtree(own, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
