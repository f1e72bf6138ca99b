"""Feast's registry: the configuration, the definitions, and who may change them.

Each data source is a Feast project in a PostgreSQL schema of its own, because Feast reads every project of a
registry again after each write. Feast is imported only inside functions: it takes many seconds.
"""

from __future__ import annotations

import io
import json
import logging
import string
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from contracts.errors import FeatureError
from contracts.settings import Settings
from feature_repo import online
from feature_repo.engines import without_deprecations
from feature_repo.staging import staging_folder

REPOSITORY = Path(__file__).parent
#: Longest wait for another process that applies or materializes.
LOCK_TIMEOUT_S = 900


def environment(s: Settings, source: str) -> dict[str, str]:
    """The variables of feature_store.yaml, secrets included."""
    host, port = s.redis_address
    return {
        "CARAVAN_FEAST_PROJECT": online.project_name(source),
        "CARAVAN_FEAST_REGISTRY": f"{s.database_url('feast')}?options=-csearch_path%3D{_schema(source)}",
        "CARAVAN_FEAST_REDIS": f"{host}:{port},password={json.dumps(s.secret('redis_password'))}",
    }


def feature_store(s: Settings, source: str) -> Any:
    """A `feast.FeatureStore` of `source`, configured by feature_store.yaml."""
    import yaml
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    with closing(_connect(s)) as connection, connection.cursor() as cursor:
        # one statement at a time over all processes: two of them at once fail on the catalog's unique index
        cursor.execute(f"SELECT pg_advisory_xact_lock(1); CREATE SCHEMA IF NOT EXISTS {_schema(source)}")
    text = (REPOSITORY / "feature_store.yaml").read_text()
    # it takes the pattern of a file source for the name of a file that is not there
    logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
    config = yaml.safe_load(string.Template(text).substitute(environment(s, source)))
    try:
        return FeatureStore(config=RepoConfig(**config, repo_path=REPOSITORY))
    except Exception as error:
        raise FeatureError(
            f"the feature registry does not answer: {type(error).__name__}", remedy="check `caravan status`"
        ) from error


def apply(s: Settings, source: str) -> None:
    """Write the definitions of `source` into the registry. One process at a time: Feast's apply can lose a change."""
    from feature_repo.definitions import define

    with lock(s, f"apply:{source}"):
        feature_store(s, source).apply(define(staging_folder(s, source)).objects())


@contextmanager
def quiet() -> Iterator[None]:
    """Without Feast's coloured progress on standard output."""
    with redirect_stdout(io.StringIO()), without_deprecations():
        yield


@contextmanager
def lock(s: Settings, name: str) -> Iterator[None]:
    """Hold the PostgreSQL advisory lock `name` of the feature registry; it is freed even if this process dies."""
    import psycopg2

    with closing(_connect(s)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_TIMEOUT_S}s",))
        try:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"caravan-features:{name}",))
        except psycopg2.errors.LockNotAvailable as error:
            raise FeatureError(
                f"another process has held the feature store's lock `{name}` for {LOCK_TIMEOUT_S} s",
                remedy="let it end, or stop it",
            ) from error
        yield


def _connect(s: Settings) -> Any:
    """A connection to the registry's database; every execute is its own transaction."""
    import psycopg2

    url = s.database_url("feast").replace("postgresql+psycopg2://", "postgresql://")
    try:
        connection = psycopg2.connect(url, connect_timeout=10, application_name="caravan-features")
    except psycopg2.OperationalError as error:
        raise FeatureError("the feature registry does not answer", remedy="check `caravan status`") from error
    connection.autocommit = True
    return connection


def _schema(source: str) -> str:
    """The PostgreSQL schema of a source (whose name is letters, digits and hyphens only)."""
    return f"feast_{online.project_name(source)}"
