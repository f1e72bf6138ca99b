"""Opens and writes Feast's registry: its configuration, the definitions, and the lock of those that change them.

Each data source is a Feast project in a PostgreSQL schema of its own, because Feast reads every project of a
registry again after each write. Feast is imported only inside functions: it takes many seconds.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import math
import os
import socket
import string
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from contracts.errors import FeatureError
from contracts.settings import Settings
from feature_repo import online
from feature_repo.engines import without_deprecations
from feature_repo.staging import staging_folder

REPOSITORY = Path(__file__).parent
#: Longest wait for another process that applies or materializes; and between two lines about it, and two looks.
LOCK_TIMEOUT_S, TELL_EVERY_S, LOOK_EVERY_S = 900.0, 30.0, 0.2
CONNECT_TIMEOUT_S = 10
#: A lock's place in PostgreSQL's own list: one number of 64 bits, as two of 32.
_HOLDER = """
SELECT activity.application_name, activity.backend_start
FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1 AND activity.datname = current_database()
  AND (held.classid::bigint << 32) | held.objid::bigint = hashtextextended(%s, 0)
"""
log = logging.getLogger(__name__)


def environment(s: Settings, source: str) -> dict[str, str]:
    """Return the variables of feature_store.yaml, secrets included."""
    host, port = s.redis_address
    return {
        "CARAVAN_FEAST_PROJECT": online.project_name(source),
        "CARAVAN_FEAST_REGISTRY": f"{s.database_url('feast')}?options=-csearch_path%3D{_schema(source)}",
        "CARAVAN_FEAST_REDIS": f"{host}:{port},password={json.dumps(s.secret('redis_password'))}",
    }


def feature_store(s: Settings, source: str) -> Any:
    """Open the `feast.FeatureStore` of `source`, configured by feature_store.yaml."""
    import yaml
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    with closing(_connect(s)) as connection, connection.cursor() as cursor:
        # one statement at a time over all processes: two of them at once fail on the catalog's unique index
        cursor.execute(f"SELECT pg_advisory_xact_lock(1); CREATE SCHEMA IF NOT EXISTS {_schema(source)}")
    text = (REPOSITORY / "feature_store.yaml").read_text()
    # it mistakes the pattern of a file source for the name of a missing file
    logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
    _close_duckdb_at_exit()
    config = yaml.safe_load(string.Template(text).substitute(environment(s, source)))
    try:
        return FeatureStore(config=RepoConfig(**config, repo_path=REPOSITORY))
    except Exception as error:
        raise FeatureError(
            f"the feature registry does not answer: {type(error).__name__}", remedy="check `caravan status`"
        ) from error


@cache
def _close_duckdb_at_exit() -> None:
    """Have the connection that Feast opens through Ibis closed before the interpreter ends.

    It and a Python function that it registered refer to each other: DuckDB's binding cannot free such a pair, and
    reports it, object by object, on standard error.
    """
    import ibis

    def close() -> None:
        backend, ibis.options.default_backend = ibis.options.default_backend, None
        if backend is not None:
            backend.disconnect()

    atexit.register(close)


def apply(s: Settings, source: str) -> None:
    """Write the definitions of `source` into the registry. One process at a time: Feast's apply can lose a change."""
    from feature_repo.definitions import define

    with lock(s, f"apply:{source}"):
        feature_store(s, source).apply(define(staging_folder(s, source)).objects())


def applied_store(s: Settings, source: str) -> Any:
    """Open a store of `source` whose registered views read what is staged here; write the definitions if they do not.

    The registry keeps absolute paths: a home that was moved, or a registry restored in another region, has those of
    the place before.
    """
    from feature_repo.definitions import define

    store = feature_store(s, source)
    found = _paths(store.list_feature_views())
    if any(found.get(view) != path for view, path in _paths(define(staging_folder(s, source)).views).items()):
        apply(s, source)
        store = feature_store(s, source)
    return store


def _paths(views: Iterable[Any]) -> dict[str, str]:
    """Return where each view's rows are read, by its name."""
    return {view.name: view.batch_source.path for view in views}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Feast's coloured progress off standard output."""
    with redirect_stdout(io.StringIO()), without_deprecations():
        yield


@contextmanager
def lock(s: Settings, name: str) -> Iterator[None]:
    """Hold the PostgreSQL advisory lock `name` of the feature registry; it is freed even if this process dies.

    Logs which process it waits for. Raises FeatureError, naming that process, after LOCK_TIMEOUT_S.
    """
    with closing(_connect(s)) as connection, connection.cursor() as cursor:
        _acquire(cursor, name)
        yield


def _acquire(cursor: Any, name: str) -> None:
    key, began, told = f"caravan-features:{name}", time.monotonic(), -math.inf
    while True:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,))
        if cursor.fetchone()[0]:
            return
        waited = time.monotonic() - began
        if waited >= LOCK_TIMEOUT_S or time.monotonic() - told >= TELL_EVERY_S:
            cursor.execute(_HOLDER, (key,))
            found = cursor.fetchone()
            who = f"{found[0]}, connected since {found[1]:%Y-%m-%d %H:%M:%S %Z}," if found else "another process"
            if waited >= LOCK_TIMEOUT_S:
                raise FeatureError(
                    f"{who} has held the feature store's lock `{name}` for {waited:.0f} s",
                    remedy="let it end, or stop it",
                )
            log.info("waits for the feature store's lock `%s`: %s has it", name, who)
            told = time.monotonic()
        time.sleep(LOOK_EVERY_S)


def _connect(s: Settings) -> Any:
    """Connect to the registry's database; every execute is its own transaction."""
    import psycopg2

    url = s.database_url("feast").replace("postgresql+psycopg2://", "postgresql://")
    me = f"caravan-features process {os.getpid()} on {socket.gethostname()}"[:63]  # the server keeps no more
    try:
        connection = psycopg2.connect(url, connect_timeout=CONNECT_TIMEOUT_S, application_name=me)
    except psycopg2.OperationalError as error:
        raise FeatureError("the feature registry does not answer", remedy="check `caravan status`") from error
    connection.autocommit = True
    return connection


def _schema(source: str) -> str:
    """Return the PostgreSQL schema of a source (whose name is letters, digits and hyphens only)."""
    return f"feast_{online.project_name(source)}"
